/**
 * When all is quiet: every sealed file has the same bytes on every replica, the digests are equal,
 * and everything that was acknowledged is read back; then all nodes are killed, their directories
 * checked as they lie there, and started from their disks, and it is read back once more.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expectEqualDigests } from '../cluster/agreement.ts';
import type { ProcessCluster } from '../cluster/process-cluster.ts';
import { serverEntryPath } from '../cluster/server-command.ts';
import { waitFor } from '../wait.ts';
import type { TortureClients } from './clients.ts';
import { listVictimFiles } from './victim-files.ts';

/** Replicas write sealed files at their own checkpoints. */
const EQUAL_FILES_TIMEOUT_MS = 120_000;
const FSCK_TEXT_LENGTH_MAX = 2_000;

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
  // Before anybody can repair it at the start: what was called repaired is so on disk.
  for (const nodeName of cluster.nodeNames) {
    await check(`fsck of ${nodeName}`, () => fsck(cluster.dataDirectoryOf(nodeName)));
  }
  await cluster.startAll();
  await check('start after all were killed', () => cluster.waitUntilReady());
  await check('digests after the start', () => expectEqualDigests(cluster));
  await check('read after the start', () => clients.readAll());
  return failures;
}

/** Waits for files that some have and others have not yet; two that differ will always differ. */
async function equalSealedFiles(cluster: ProcessCluster): Promise<void> {
  const what = 'all replicas to have the same sealed files';
  const compare = () => {
    const [first, ...others] = cluster.nodeNames.map((name) => sealedFiles(cluster, name));
    if (first === undefined) return null;
    const differing = [...first].filter(([path, hash]) => {
      return others.some((other) => (other.get(path) ?? hash) !== hash);
    });
    if (differing.length > 0) return differing.map(([path]) => path);
    const isSame = others.every(
      (other) => other.size === first.size && [...first.keys()].every((path) => other.has(path)),
    );
    return isSame ? [] : null;
  };
  const options = { what, timeoutMs: EQUAL_FILES_TIMEOUT_MS, pollIntervalMs: 1_000 };
  const differing = await waitFor(options, compare);
  if (differing.length > 0) throw new Error(`replicas differ in ${differing.join(', ')}`);
}

/** The product's own check of a stopped node. @throws Error with what it printed */
async function fsck(dataDirectory: string): Promise<void> {
  const run = promisify(execFile);
  try {
    await run(process.execPath, [serverEntryPath(), 'fsck', dataDirectory]);
  } catch (thrown) {
    const printed = thrown instanceof Error && 'stdout' in thrown ? String(thrown.stdout) : '';
    throw new Error(printed.slice(0, FSCK_TEXT_LENGTH_MAX), { cause: thrown });
  }
}
