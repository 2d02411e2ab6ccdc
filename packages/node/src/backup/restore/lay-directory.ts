/**
 * Makes the data directory of one node of a restored cluster, out of a backup and the archive. It
 * works in a new directory only, marked as unfinished from before the first step to after the last;
 * whatever goes wrong, nothing else was touched and no node starts on what is there:
 *
 *   RESTORING            which plan, for which node
 *   files of the backup  fetched, verified, each durable under its name
 *   CHECKPOINT           the root of the backup, as it was
 *   wal/                 behind the checkpoint: archived entries, and the new configuration
 *   identity.json        of the new cluster
 *   RESTORED             what it was made of
 *   RESTORING removed
 *
 * A restore that was cut off begins anew: what it left is removed, if it is of the same plan.
 */
import type { Clock, EntryHasher, LogIndex } from '@holdfast/base';
import { failpoint, HoldfastError } from '@holdfast/base';
import { checkpointFiles } from '@holdfast/shard-worker';
import type { CheckpointRoot, FileSystem, NodeIdentity, WalOptions } from '@holdfast/storage';
import {
  DATA_FORMAT_VERSION,
  formatDataDirectory,
  joinPath,
  parentDirectory,
  removeTemporaryFiles,
  toHex,
  WAL_DIRECTORY_NAME,
  writeCheckpointRoot,
  writeIdentity,
} from '@holdfast/storage';
import { manifestReferences } from '../../replica/checkpointer.ts';
import type { ArchiveReader } from '../archive/archive-reader.ts';
import { forEachBounded } from '../bounded.ts';
import type { RestoredLog } from './restore-log.ts';
import { restoreLog } from './restore-log.ts';
import type { RestorePlan } from './restore-plan.ts';
import { restorePlanDigest } from './restore-plan.ts';
import { writeRestored } from './restored-record.ts';
import {
  markRestoring,
  RESTORING_FILE_NAME,
  readRestoring,
  unmarkRestoring,
} from './restoring-marker.ts';

/** One file of a backup, relative to a data directory. */
export interface RestoreFile {
  readonly path: string;
  readonly sizeBytes: number;
}

/** What a restore takes from a backup. */
export interface RestoreSource<File extends RestoreFile = RestoreFile> {
  readonly backupId: string;
  readonly root: CheckpointRoot;
  /** Every file that the root needs. */
  readonly files: readonly File[];
  /**
   * Writes one file under `path`, verified and durable, and makes its directory.
   * @throws HoldfastError BACKUP_CORRUPT, BACKUP_KEY_WRONG, SINK_*, FILE_IO
   */
  fetchFile(file: File, path: string): Promise<void>;
}

export type RestoreStep =
  | {
      readonly kind: 'files';
      readonly done: number;
      readonly total: number;
      readonly bytesDone: number;
      readonly bytesTotal: number;
    }
  | { readonly kind: 'entries'; readonly index: LogIndex; readonly through: LogIndex }
  | { readonly kind: 'done' };

export interface LayOptions {
  readonly fileSystem: FileSystem;
  /** Must be empty, not there, or left by the same restore. */
  readonly directory: string;
  readonly plan: RestorePlan;
  /** Which of the plan's members this is. */
  readonly nodeId: string;
  readonly source: RestoreSource;
  readonly archive: Pick<ArchiveReader, 'entries'>;
  readonly hasher: EntryHasher;
  readonly clock: Clock;
  readonly wal?: Partial<WalOptions>;
  readonly onStep?: (step: RestoreStep) => void;
  /** Between two files and two batches. */
  readonly signal?: AbortSignal;
}

/** What was laid: equal on all nodes of a plan. */
export interface LaidDirectory {
  readonly planDigest: string;
  readonly checkpointIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly lastTerm: number;
  readonly lastSum: string;
  readonly entryCount: number;
}

/** Files are small or large; a few at once hide the latency of a store. */
const FETCH_CONCURRENCY = 4;

/**
 * Complete and durable when it resolves; a rejected one may be called again.
 * @throws HoldfastError DATA_DIR_FOREIGN (nothing was written), CONFIG_INVALID (not a member),
 *   BACKUP_CORRUPT, ARCHIVE_GAP, RESTORE_TARGET, SINK_*, FILE_IO, ABORTED
 */
export async function layDirectory(options: LayOptions): Promise<LaidDirectory> {
  const { clock, directory, fileSystem, nodeId, plan, source } = options;
  const [startedMs, startedMonotonicMs] = [clock.wallMs(), clock.monotonicMs()];
  const identity = identityOf(options);
  const planDigest = restorePlanDigest(plan);
  checkSource(options);
  const failedCount = clearOwn(options, planDigest);
  fileSystem.makeDirectory(directory);
  failpoint('restore.before-marker');
  markRestoring(fileSystem, directory, { planDigest, nodeId, failedCount });
  failpoint('restore.after-marker');
  await fetchFiles(options);
  failpoint('restore.after-files');
  checkFiles(options);
  failpoint('restore.before-root');
  writeCheckpointRoot(fileSystem, directory, source.root);
  failpoint('restore.after-root');
  const log = await layLog(options);
  failpoint('restore.before-identity');
  layIdentity(fileSystem, directory, identity);
  writeRestored(fileSystem, directory, {
    ...{ planDigest, nodeId, sourceClusterId: plan.parent.clusterId, backupId: plan.backupId },
    ...{ backupIndex: plan.backupIndex, targetIndex: plan.parent.index, failedCount },
    ...{ targetKind: plan.target.kind, entryCount: log.entryCount },
    ...{ fileCount: source.files.length, sizeBytes: sizeOf(source.files) },
    startedMs: Math.round(startedMs),
    durationMs: Math.round(clock.monotonicMs() - startedMonotonicMs),
  });
  failpoint('restore.before-unmarking');
  unmarkRestoring(fileSystem, directory);
  failpoint('restore.after-unmarking');
  options.onStep?.({ kind: 'done' });
  return {
    planDigest,
    checkpointIndex: source.root.meta.index,
    ...{ lastIndex: log.lastIndex, lastTerm: log.lastTerm, entryCount: log.entryCount },
    lastSum: toHex(log.lastSum),
  };
}

function identityOf({ nodeId, plan }: LayOptions): NodeIdentity {
  const own = plan.members.find((member) => member.nodeId === nodeId);
  if (own === undefined) {
    throw new HoldfastError(
      'CONFIG_INVALID',
      `node ${nodeId} is not in the plan of the restore, which names ` +
        `${plan.members.map((member) => member.nodeId).join(', ')}`,
    );
  }
  return {
    clusterId: plan.clusterId,
    nodeId: own.nodeId,
    incarnation: own.incarnation,
    formatVersion: DATA_FORMAT_VERSION,
    group: plan.group,
    epoch: 1,
    firstConfiguration: plan.members,
  };
}

function checkSource({ plan, source }: LayOptions): void {
  const { index } = source.root.meta;
  if (source.backupId === plan.backupId && index === plan.backupIndex) return;
  throw new HoldfastError(
    'BACKUP_CORRUPT',
    `the plan is of backup ${plan.backupId} at index ${plan.backupIndex}, the store gives ` +
      `${source.backupId} at ${index}: make a new plan`,
    { details: { backupId: source.backupId, index } },
  );
}

/** The plan of a node that restores itself, which goes on with it after it was cut off. */
export const RESTORE_PLAN_FILE_NAME = 'restore-plan.json';
/** Made by mkfs at the root of every ext file system, and put there for the node to start. */
const HARMLESS_NAMES: readonly string[] = [
  ...['lost+found', 'cluster.secret', RESTORE_PLAN_FILE_NAME],
];

const sizeOf = (files: readonly RestoreFile[]): number =>
  files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);

/**
 * Removes what a cut-off restore of the same plan left; refuses anything else. Returns how many
 * attempts that were.
 */
function clearOwn({ directory, fileSystem, nodeId }: LayOptions, planDigest: string): number {
  if (!fileSystem.exists(directory)) return 0;
  if (!fileSystem.isDirectory(directory)) throw foreign(directory, 'is no directory');
  removeTemporaryFiles(fileSystem, directory);
  const names = fileSystem.list(directory).filter((name) => !HARMLESS_NAMES.includes(name));
  if (names.length === 0) return 0;
  const marker = readRestoring(fileSystem, directory);
  if (marker === null) throw foreign(directory, `holds "${names[0]}"`);
  if (marker.planDigest !== planDigest || marker.nodeId !== nodeId) {
    throw foreign(directory, `is left from another restore, of node ${marker.nodeId}`);
  }
  failpoint('restore.before-clearing');
  // The marker goes last: without it what is left would look like somebody's data.
  for (const name of names) {
    const path = joinPath(directory, name);
    if (fileSystem.isDirectory(path)) fileSystem.removeTree(path);
  }
  for (const name of fileSystem.list(directory)) {
    const path = joinPath(directory, name);
    if (!HARMLESS_NAMES.includes(name) && name !== RESTORING_FILE_NAME) fileSystem.remove(path);
  }
  fileSystem.syncDirectory(directory);
  return marker.failedCount + 1;
}

async function fetchFiles(options: LayOptions): Promise<void> {
  const { directory, fileSystem, onStep, signal, source } = options;
  const { files } = source;
  const bytesTotal = sizeOf(files);
  let [done, bytesDone] = [0, 0];
  await forEachBounded(files, FETCH_CONCURRENCY, async (file) => {
    refuseAborted(signal);
    failpoint('restore.before-file');
    await source.fetchFile(file, joinPath(directory, file.path));
    done += 1;
    bytesDone += file.sizeBytes;
    onStep?.({ kind: 'files', done, total: files.length, bytesDone, bytesTotal });
  });
  for (const parent of new Set(files.map(({ path }) => parentDirectory(path)))) {
    fileSystem.syncDirectory(joinPath(directory, parent));
  }
}

/** Every file that the checkpoint names is there. Their content was verified as it came. */
function checkFiles({ directory, fileSystem, source }: LayOptions): void {
  const { backupId, root } = source;
  const named = [
    root.metaFile,
    ...checkpointFiles(fileSystem, directory, manifestReferences(root)),
  ];
  for (const { path } of named) {
    if (fileSystem.exists(joinPath(directory, path))) continue;
    throw new HoldfastError('BACKUP_CORRUPT', `backup ${backupId} lacks the file ${path}`, {
      details: { backupId, path },
    });
  }
}

async function layLog(options: LayOptions): Promise<RestoredLog> {
  const { archive, directory, fileSystem, hasher, onStep, plan, signal, source, wal } = options;
  const { root } = source;
  const through = plan.parent.index;
  const batches = archive.entries(root.meta, through);
  const entries = {
    async *[Symbol.asyncIterator]() {
      for await (const batch of batches) {
        refuseAborted(signal);
        yield batch;
      }
    },
  };
  const log = await restoreLog({
    ...{ fileSystem, plan, root, entries, hasher },
    directory: joinPath(directory, WAL_DIRECTORY_NAME),
    ...(wal === undefined ? {} : { wal }),
    onProgress: (index) => onStep?.({ kind: 'entries', index, through }),
  });
  failpoint('restore.after-log');
  fileSystem.syncDirectory(directory);
  return log;
}

/** As `cluster init` would, but that the directories are filled already. */
function layIdentity(fileSystem: FileSystem, directory: string, identity: NodeIdentity): void {
  writeIdentity(fileSystem, directory, identity);
  formatDataDirectory(fileSystem, directory, identity);
}

function refuseAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return;
  throw new HoldfastError('ABORTED', 'the restore was aborted; what it laid does not count');
}

const foreign = (directory: string, what: string): HoldfastError =>
  new HoldfastError('DATA_DIR_FOREIGN', `${directory} ${what}: restore into an empty directory`, {
    details: { directory },
  });
