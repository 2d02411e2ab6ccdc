/** `holdfast backup verify --restore` and `--results`: a backup tried by restoring it. */
import { randomBytes } from 'node:crypto';
import { hostname, tmpdir } from 'node:os';
import { DEFAULT_GROUP_ID } from '@holdfast/base';
import { createEntryHasher, NodeFileSystem, type RestoreTestResult } from '@holdfast/storage';
import type { RestoreTestStep } from '../backup/verification/restore-test.ts';
import { testRestore } from '../backup/verification/restore-test.ts';
import { listRestoreTests, storeRestoreTest } from '../backup/verification/restore-test-store.ts';
import { openThrowaway } from '../backup/verification/throwaway-node.ts';
import { SYSTEM_CLOCK } from '../system-time.ts';
import { type CliIo, EXIT_FAILED, ExitWith } from './io.ts';
import type { OpenStore } from './store-flags.ts';

export interface RestoreTestFlags {
  readonly backupId?: string;
  /** The directory that is worked in; default: that of the system for temporary files. */
  readonly scratch?: string;
  readonly json?: boolean;
  /** False: what comes of it is not kept in the store. */
  readonly keepResult?: boolean;
}

/** @throws ExitWith when the backup is not good */
export async function tryBackup(
  { sealing, sink }: OpenStore,
  clusterId: string,
  { backupId = 'latest', json = false, keepResult = true, scratch = tmpdir() }: RestoreTestFlags,
  io: CliIo,
): Promise<void> {
  const result = await testRestore({
    store: { sealing, sink, hasher: createEntryHasher() },
    ...{ clusterId, backupId: backupId === 'latest' ? null : backupId, group: DEFAULT_GROUP_ID },
    ...{ fileSystem: new NodeFileSystem(), scratchDirectory: scratch, openNode: openThrowaway },
    ...{ mintHexId: () => randomBytes(16).toString('hex'), clock: SYSTEM_CLOCK },
    ...{ pause: () => new Promise(setImmediate), by: `holdfast backup verify on ${hostname()}` },
    onStep: (step) => showStep(step, io),
  });
  if (keepResult) await storeRestoreTest({ sink, sealing, clusterId }, result);
  if (json) io.out(`${JSON.stringify(result)}\n`);
  else io.out(`${describeResult(result)}\n`);
  if (result.failure !== null) throw new ExitWith(EXIT_FAILED);
}

/** Newest first; exit code 1 when the newest is bad. */
export async function showResults(
  { sealing, sink }: OpenStore,
  clusterId: string,
  { json = false }: RestoreTestFlags,
  io: CliIo,
): Promise<void> {
  const results = await listRestoreTests({ sink, sealing, clusterId });
  if (json) io.out(`${JSON.stringify(results, null, 2)}\n`);
  else if (results.length === 0) io.out('no backup of this cluster was tried yet\n');
  else for (const result of results) io.out(`${describeResult(result)}\n`);
  if (results[0]?.failure != null) throw new ExitWith(EXIT_FAILED);
}

function describeResult(result: RestoreTestResult): string {
  const { backupId, by, digest, durationMs, entryCount, failure, lastIndex } = result;
  const when = new Date(result.startedMs).toISOString();
  const what = backupId === null ? 'no backup' : `backup ${backupId}`;
  if (failure !== null) {
    return `${when}  ${what}  FAILED ${failure.code}: ${failure.message} (${by})`;
  }
  return (
    `${when}  ${what}  good: ${entryCount} entries replayed to index ${lastIndex}, ` +
    `${result.vectorCount} vectors in ${result.collectionCount} collections, digest ${digest}, ` +
    `${(durationMs / 1_000).toFixed(1)} s (${by})`
  );
}

/** Said once each; of files a line for every tenth. */
function showStep(step: RestoreTestStep, io: CliIo): void {
  if (step.kind === 'room') io.err('looking for room\n');
  else if (step.kind === 'compare') io.err('comparing counts and digests with the manifest\n');
  else if (step.kind === 'open') io.err('starting a node on it\n');
  else if (step.kind === 'entries') io.err(`log: index ${step.index} of ${step.through}\n`);
  else if (step.kind === 'files') {
    const { done, total } = step;
    const isTenth = Math.floor((done * 10) / total) !== Math.floor(((done - 1) * 10) / total);
    if (isTenth) io.err(`files: ${done} of ${total}\n`);
  }
}
