/**
 * When all is quiet: every sealed file has the same bytes on every replica, the digests are equal,
 * and everything that was acknowledged is read back; then all nodes are killed and started from
 * their disks, and it is read back once more.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expectEqualDigests } from '../cluster/agreement.ts';
import type { ProcessCluster } from '../cluster/process-cluster.ts';
import { waitFor } from '../wait.ts';
import type { TortureClients } from './clients.ts';
import { listVictimFiles } from './victim-files.ts';

/** Replicas write sealed files at their own checkpoints. */
const EQUAL_FILES_TIMEOUT_MS = 120_000;

/** Path to sha256, of every sealed segment of one node. */
export function sealedFiles(cluster: ProcessCluster, nodeName: string): Map<string, string> {
  const directory = cluster.dataDirectoryOf(nodeName);
  const files = listVictimFiles(directory).filter(({ kind }) => kind === 'segment');
  return new Map(
    files.map(({ path }) => {
      const bytes = readFileSync(join(directory, path));
      return [path, createHash('sha256').update(bytes).digest('hex')];
    }),
  );
}

/** What is wrong, in words; nothing when all is well. */
export async function finalChecks(
  cluster: ProcessCluster,
  clients: TortureClients,
): Promise<readonly string[]> {
  const failures: string[] = [];
  const check = async (what: string, run: () => Promise<unknown>): Promise<void> => {
    try {
      await run();
    } catch (thrown) {
      failures.push(`${what}: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
    }
  };
  await check('digests', () => expectEqualDigests(cluster));
  await check('sealed files', () => equalSealedFiles(cluster));
  await check('last read', () => clients.readAll());
  await cluster.killAll();
  await cluster.startAll();
  await check('start after all were killed', () => cluster.waitUntilReady());
  await check('digests after the start', () => expectEqualDigests(cluster));
  await check('read after the start', () => clients.readAll());
  return failures;
}

async function equalSealedFiles(cluster: ProcessCluster): Promise<void> {
  const what = 'the sealed files of all replicas to be equal';
  const isEqual = () => {
    const [first, ...others] = cluster.nodeNames.map((name) => textOf(cluster, name));
    return others.every((other) => other === first) ? true : null;
  };
  try {
    await waitFor({ what, timeoutMs: EQUAL_FILES_TIMEOUT_MS, pollIntervalMs: 1_000 }, isEqual);
  } catch (thrown) {
    const lists = cluster.nodeNames.map((name) => `${name}: ${textOf(cluster, name)}`);
    throw new Error(`they differ: ${lists.join(' / ')}`, { cause: thrown });
  }
}

const textOf = (cluster: ProcessCluster, nodeName: string): string =>
  [...sealedFiles(cluster, nodeName)].map(([path, hash]) => `${path} ${hash}`).join(', ');
