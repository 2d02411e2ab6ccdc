/**
 * Tries a backup by restoring it: the shipped code lays it, and the archive behind it to the end,
 * into a directory of its own; a throwaway node is started on that, alone, under ids of its own,
 * and asked for what it has. Nothing is written to the store, and the directory is removed at the
 * end.
 *
 *   manifest and chain     every object is verified as it is fetched
 *   state of the backup    counts and digests of the laid checkpoint equal the manifest's; loading
 *                          computes the digests anew from the rows
 *   state at the end       the log ends with the chain sum that the archive has; the node serves it
 */
import type { Clock, GroupId } from '@holdfast/base';
import { HoldfastError, toHoldfastError } from '@holdfast/base';
import type {
  BackupCollection,
  BackupManifest,
  FileSystem,
  RestoreTestResult,
} from '@holdfast/storage';
import { joinPath, logChunkKey, logChunkPrefix } from '@holdfast/storage';
import type { Pause } from '../../replica/slices.ts';
import type { CollectionStates } from '../../state/collection-state.ts';
import { describeCheckpoint } from '../backup-facts.ts';
import { backupSource } from '../restore/backup-source.ts';
import type { LaidDirectory, RestoreStep } from '../restore/lay-directory.ts';
import { layDirectory } from '../restore/lay-directory.ts';
import type { FoundRestore, RestoreStore } from '../restore/plan-from-store.ts';
import { archiveOfPlan, backupOfPlan, planFromStore } from '../restore/plan-from-store.ts';
import { NOTHING_KNOWN } from './restore-test-store.ts';

/** A node on the laid directory, that nobody else knows. */
export interface ThrowawayNode {
  collections(): Promise<CollectionStates>;
  stateDigest(): Promise<{ readonly digest: string; readonly appliedIndex: number }>;
  close(): Promise<void>;
}

export type RestoreTestStep = RestoreStep | { readonly kind: 'room' | 'compare' | 'open' };

export interface RestoreTestOptions {
  readonly store: RestoreStore;
  readonly clusterId: string;
  /** Null: the newest that leads to the end of the archive. */
  readonly backupId: string | null;
  readonly group: GroupId;
  readonly fileSystem: FileSystem;
  /** There already; the test works in a new directory in it. */
  readonly scratchDirectory: string;
  readonly openNode: (directory: string) => Promise<ThrowawayNode>;
  /** 32 hex digits, never the same twice. */
  readonly mintHexId: () => string;
  readonly clock: Clock;
  readonly pause: Pause;
  readonly by: string;
  readonly onStep?: (step: RestoreTestStep) => void;
  readonly signal?: AbortSignal;
}

/** The name that the throwaway node has; its addresses are nominal. */
export const THROWAWAY_NODE_ID = 'embedded';
const NOMINAL_ADDRESS = '127.0.0.1:7201';

/** Never rejects: what goes wrong is the result. */
export async function testRestore(options: RestoreTestOptions): Promise<RestoreTestResult> {
  const { by, clock, clusterId } = options;
  const [startedMs, startedMonotonicMs] = [clock.wallMs(), clock.monotonicMs()];
  const known: Partial<RestoreTestResult>[] = [];
  let failure: RestoreTestResult['failure'] = null;
  try {
    await run(options, (facts) => void known.push(facts));
  } catch (thrown) {
    const { code, message } = toHoldfastError(thrown);
    failure = { code, message };
  }
  const durationMs = Math.round(clock.monotonicMs() - startedMonotonicMs);
  const times = { startedMs: Math.round(startedMs), durationMs };
  return Object.assign({ ...NOTHING_KNOWN, clusterId, ...times, by, failure }, ...known);
}

async function run(
  options: RestoreTestOptions,
  note: (facts: Partial<RestoreTestResult>) => void,
): Promise<void> {
  const { clusterId, fileSystem, mintHexId, onStep, scratchDirectory, store } = options;
  const found = await planFromStore(store, {
    ...{ clusterId, timeline: null, backupId: options.backupId, target: { kind: 'latest' } },
    members: [{ nodeId: THROWAWAY_NODE_ID, address: NOMINAL_ADDRESS, clientAddress: null }],
    ...{ group: options.group, createdMs: options.clock.wallMs(), mintHexId },
  });
  const { backup, entryCount, plan } = found;
  const { sizeBytes } = backup;
  note({ backupId: backup.backupId, timeline: plan.parent.timeline, sizeBytes });
  note({ backupIndex: plan.backupIndex, lastIndex: plan.parent.index, entryCount });
  onStep?.({ kind: 'room' });
  await refuseWithoutRoom(options, found);
  const directory = joinPath(scratchDirectory, `restore-test-${mintHexId()}`);
  fileSystem.makeDirectory(directory);
  try {
    const laid = await lay(options, found, directory);
    onStep?.({ kind: 'compare' });
    await compareCheckpoint(options, backup, directory);
    onStep?.({ kind: 'open' });
    note(await openAndCompare(options, found, laid, directory));
  } finally {
    fileSystem.removeTree(directory);
  }
}

async function lay(
  { clock, fileSystem, onStep, signal, store }: RestoreTestOptions,
  { plan }: FoundRestore,
  directory: string,
): Promise<LaidDirectory> {
  const { manifest, reader } = await backupOfPlan(store, plan);
  return layDirectory({
    ...{ fileSystem, directory, plan, nodeId: THROWAWAY_NODE_ID, hasher: store.hasher, clock },
    source: backupSource(reader, manifest, fileSystem),
    archive: archiveOfPlan(store, plan),
    ...(onStep === undefined ? {} : { onStep }),
    ...(signal === undefined ? {} : { signal }),
  });
}

/** Chunks are compressed; entries are written once more when the log is opened. */
const LOG_SIZE_FACTOR = 8;
/** Log files made ahead of time, and small things. */
const SLACK_SIZE_BYTES = 96 * 1024 * 1024;

/** A test that fills the disk of a node that serves would be worse than no test. */
async function refuseWithoutRoom(options: RestoreTestOptions, found: FoundRestore): Promise<void> {
  const { fileSystem, scratchDirectory } = options;
  const logSizeBytes = await storedLogSizeBytes(options, found);
  const neededBytes = found.backup.sizeBytes + LOG_SIZE_FACTOR * logSizeBytes + SLACK_SIZE_BYTES;
  const freeBytes = fileSystem.freeBytes(scratchDirectory);
  if (neededBytes <= freeBytes / 2) return;
  throw new HoldfastError(
    'DISK_FULL',
    `trying backup ${found.backup.backupId} needs ${neededBytes} bytes in ${scratchDirectory}, ` +
      `and may take half of the ${freeBytes} that are free there: free space, or name another ` +
      'place (backupVerifyDirectory, --scratch)',
    { details: { neededBytes, freeBytes, directory: scratchDirectory } },
  );
}

async function storedLogSizeBytes(
  { store, signal }: RestoreTestOptions,
  { plan }: FoundRestore,
): Promise<number> {
  if (plan.parent.index === plan.backupIndex) return 0;
  let sizeBytes = 0;
  for (const { timeline } of await archiveOfPlan(store, plan).history()) {
    const prefix = logChunkPrefix(timeline.clusterId, timeline.timeline);
    const after = logChunkKey(timeline.clusterId, timeline.timeline, plan.backupIndex);
    const listing = store.sink.list(prefix, after, signal === undefined ? {} : { signal });
    for await (const object of listing) sizeBytes += object.sizeBytes;
  }
  return sizeBytes;
}

async function compareCheckpoint(
  { fileSystem, pause }: RestoreTestOptions,
  { backupId, collections, root }: BackupManifest,
  directory: string,
): Promise<void> {
  const checkpoint = { root, directory, files: [], sizeBytes: 0, release: () => undefined };
  const facts = await describeCheckpoint(fileSystem, checkpoint, pause);
  refuseOthers(backupId, `index ${root.meta.index}`, collections, facts.collections);
}

async function openAndCompare(
  { openNode }: RestoreTestOptions,
  { backup, entryCount }: FoundRestore,
  laid: LaidDirectory,
  directory: string,
): Promise<Partial<RestoreTestResult>> {
  const node = await openNode(directory);
  try {
    const { appliedIndex, collections } = await node.collections();
    if (appliedIndex < laid.lastIndex) {
      const message =
        `backup ${backup.backupId}: the restored node stands at index ${appliedIndex}, ` +
        `its log ends at ${laid.lastIndex}`;
      throw new HoldfastError('BACKUP_CORRUPT', message, { details: { appliedIndex } });
    }
    if (entryCount === 0) {
      const where = `index ${appliedIndex}, as served`;
      refuseOthers(backup.backupId, where, backup.collections, collections);
    }
    const { digest } = await node.stateDigest();
    const vectorCount = collections.reduce((sum, one) => sum + one.vectorCount, 0);
    return { digest, vectorCount, collectionCount: collections.length };
  } finally {
    await node.close();
  }
}

type Counted = Pick<BackupCollection, 'digest' | 'name' | 'uid' | 'vectorCount'>;

/** @throws HoldfastError BACKUP_CORRUPT naming the first collection that differs */
export function refuseOthers(
  backupId: string,
  where: string,
  expected: readonly Counted[],
  actual: readonly Counted[],
): void {
  const byUid = new Map(actual.map((one) => [one.uid, one]));
  const text = (one: Counted | undefined): string =>
    one === undefined ? 'not there' : `${one.vectorCount} vectors, digest ${one.digest}`;
  const uids = [...new Set([...expected, ...actual].map(({ uid }) => uid))];
  for (const uid of uids.sort((left, right) => left - right)) {
    const wanted = expected.find((one) => one.uid === uid);
    const found = byUid.get(uid);
    if (text(wanted) === text(found)) continue;
    const name = wanted?.name ?? found?.name ?? '';
    throw new HoldfastError(
      'BACKUP_CORRUPT',
      `backup ${backupId} at ${where}: collection ${name} should be ${text(wanted)}, and is ` +
        `${text(found)}: use another backup`,
      { details: { backupId, collection: name } },
    );
  }
}
