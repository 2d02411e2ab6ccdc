/** One backup of this node's present state to several stores, from checkpoint to outcomes. */

import { HoldfastError } from '@holdfast/base';
import { PRODUCT_VERSION } from '../product-version.ts';
import type { TransferBudget } from '../replica/transfer-budget.ts';
import type { ArchiveStore } from './archive/archive-store.ts';
import { findTimeline } from './archive/find-timeline.ts';
import { archivedLogIn } from './archived-log.ts';
import { throwIfAborted } from './backup-abort.ts';
import type { BackupUnderWay, BackupWishes } from './backup-api.ts';
import { describeCheckpoint } from './backup-facts.ts';
import type { SinkOutcome } from './backup-fan-out.ts';
import { backUpToAll } from './backup-fan-out.ts';
import type { BackupOutcome } from './backup-writer.ts';
import type { PinnedCheckpoint } from './checkpoint-source.ts';
import { pinCheckpoint } from './checkpoint-source.ts';
import { FileFactsCache } from './file-facts.ts';
import { makeBackup } from './make-backup.ts';
import { archiveStoreIn, type NodeBackupOptions } from './node-backup-options.ts';
import type { BackupProgress } from './progress.ts';
import { sealingHere } from './sealing/file-frames.ts';
import type { BackupSink } from './sinks/sink.ts';
import { StoreLock } from './store-lock.ts';

export interface NodeBackupOrder {
  readonly about: Omit<BackupUnderWay, 'progress'>;
  readonly wishes: BackupWishes;
  readonly sinks: readonly BackupSink[];
  /** Of all backups of the node; null: no limit. */
  readonly budget: TransferBudget | null;
  readonly signal: AbortSignal;
  readonly onProgress: (sink: string, progress: BackupProgress) => void;
}

/** @throws HoldfastError CHECKPOINT_CORRUPT, FILE_IO, ...: then there is none in any store */
export async function backUpNode(
  options: NodeBackupOptions,
  order: NodeBackupOrder,
): Promise<readonly SinkOutcome[]> {
  const { replica } = options;
  await sealGrowing(options);
  const root = await replica.checkpoint();
  const letGo = replica.pin(root);
  let pinned: PinnedCheckpoint;
  try {
    pinned = await pinCheckpoint(options, order.about.backupId, root);
  } finally {
    letGo();
  }
  try {
    return await toAll(options, order, pinned);
  } finally {
    pinned.release();
  }
}

/** Without it the backup is as good, only larger. */
async function sealGrowing({ logger, replica }: NodeBackupOptions): Promise<void> {
  try {
    await replica.sealGrowing?.();
  } catch (thrown) {
    if (!(thrown instanceof HoldfastError)) throw thrown;
    logger.info({ code: thrown.code }, 'a backup is made of growing rows as they are');
  }
}

async function toAll(
  options: NodeBackupOptions,
  { about, budget, onProgress, signal, sinks, wishes }: NodeBackupOrder,
  checkpoint: PinnedCheckpoint,
): Promise<readonly SinkOutcome[]> {
  const { backupId, type } = about;
  const { baseBackupId = null, isVerifyingExisting = false } = wishes;
  const { clock, fileSystem, identity, pause, stores } = options;
  const facts = await describeCheckpoint(fileSystem, checkpoint, pause);
  const sealing = options.sealing ?? sealingHere(fileSystem, pause);
  const cache = new FileFactsCache((file) => sealing.examine(file));
  const { compression, concurrency, keys } = stores;
  const common = { fileSystem, clock, pause, sealing, concurrency, isVerifyingExisting, signal };
  const seal = { compression, keys, random: options.randomBytes };
  const toOne = async (sink: BackupSink, lock: StoreLock): Promise<BackupOutcome> => {
    const storeOf = (timeline: string): ArchiveStore =>
      archiveStoreIn(options, sink, timeline, signal);
    const { timeline } = await findTimeline(sink, identity.clusterId, storeOf, { signal });
    const description = {
      ...{ clusterId: identity.clusterId, timeline, nodeId: identity.nodeId },
      ...{ productVersion: PRODUCT_VERSION, dataFormatVersion: identity.formatVersion },
      ...facts,
    };
    const parts = {
      ...{ ...common, sink, seal, budget, confirm: () => lock.confirm() },
      onProgress: (progress: BackupProgress) => {
        lock.touch();
        onProgress(sink.name, progress);
      },
    };
    const archive = stores.archive === null ? null : archivedLogIn(storeOf);
    const order = { backupId, type, checkpoint, facts: cache, description, baseBackupId };
    return makeBackup(parts, { ...order, archive });
  };
  return backUpToAll(sinks, (sink) =>
    withLock(options, { sink, backupId, signal }, (lock) => toOne(sink, lock)),
  );
}

/** Nobody removes anything from the store meanwhile. */
async function withLock<T>(
  { clock, identity, timers }: NodeBackupOptions,
  { backupId, signal, sink }: { sink: BackupSink; backupId: string; signal: AbortSignal },
  body: (lock: StoreLock) => Promise<T>,
): Promise<T> {
  const { clusterId, nodeId } = identity;
  let lock: StoreLock | null = null;
  try {
    const holder = { id: backupId, owner: nodeId };
    lock = await StoreLock.takeForBackup({ sink, clusterId, clock, timers, signal, ...holder });
    return await body(lock);
  } catch (error) {
    const isAborted = error instanceof HoldfastError && error.code === 'ABORTED';
    if (isAborted) throwIfAborted(signal);
    throw error;
  } finally {
    await lock?.release();
  }
}
