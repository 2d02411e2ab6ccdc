/**
 * A file in a store that no backup names, as one that was broken off leaves it, old enough to go:
 * a removal must take it and nothing else.
 */
import { utimesSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { deriveSeed, SeededRandom } from '@holdfast/base';
import { openSinkForTests } from '@holdfast/node/testing';
import { fileKey } from '@holdfast/storage';
import type { RemovalView } from '../checker/archive.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { readText, type TextAnswer } from '../cluster/node-http.ts';

/** What no backup names goes after a day. */
const AGE_MS = 3 * 24 * 3_600_000;
const ANSWER_TIMEOUT_MS = 120_000;

interface PruneAnswer {
  readonly sinks: readonly {
    readonly kind: 'success' | 'failure';
    readonly blockedBy?: readonly unknown[];
  }[];
}

interface Refusal {
  readonly error?: { readonly definite?: boolean };
}

/** Puts one there, and lets the leader remove what nobody needs. `store` is the URL of a folder. */
export async function removeGarbage(
  cluster: Pick<Cluster, 'addressOf' | 'leader'>,
  store: string,
  { clusterId, seed }: { readonly clusterId: string; readonly seed: number },
): Promise<RemovalView> {
  const random = new SeededRandom(deriveSeed(seed, 'garbage'));
  const digits = Array.from({ length: 64 }, () => random.nextBelow(16).toString(16));
  const key = fileKey(clusterId, digits.join(''));
  const sink = await openSinkForTests(store, random);
  try {
    const nothing = { sizeBytes: 0, read: async () => new Uint8Array(0) };
    await sink.put(key, nothing, { ifAbsent: true });
    const old = new Date(Date.now() - AGE_MS);
    utimesSync(join(fileURLToPath(store), `${key}.object`), old, old);
    const leader = await cluster.leader();
    const answer = leader === null ? 'refused' : await prune(cluster.addressOf(leader.nodeName));
    return { answer, isGarbageLeft: (await sink.head(key)) !== null };
  } finally {
    await sink.close();
  }
}

async function prune(address: string): Promise<RemovalView['answer']> {
  const options = { body: {}, timeoutMs: ANSWER_TIMEOUT_MS };
  return meaningOf(await readText(address, '/api/v1/admin/backups/prune', options));
}

/** What an answer to a removal says of what was done; null: none came. */
export function meaningOf(answer: TextAnswer | null): RemovalView['answer'] {
  if (answer === null) return 'unknown';
  const body: unknown = JSON.parse(answer.text);
  if (answer.status !== 200) {
    return (body as Refusal).error?.definite === true ? 'refused' : 'unknown';
  }
  const { sinks } = body as PruneAnswer;
  // What one store lacks because it failed on the way nobody can tell.
  if (sinks.some(({ kind }) => kind === 'failure')) return 'unknown';
  // Before anything, or on the way: a manifest that cannot be read ends it.
  return sinks.some(({ blockedBy = [] }) => blockedBy.length > 0) ? 'unknown' : 'done';
}
