/** Retention of whole stores: the policy of the settings or of a command, store by store. */
import type { Clock, ClusterId, Timers } from '@holdfast/base';
import { toHoldfastError } from '@holdfast/base';
import type { KeyRing } from '@holdfast/storage';
import type { ArchiveStore } from './archive/archive-store.ts';
import { readTimelines } from './archive/find-timeline.ts';
import type { PruneOutcome } from './backup-api.ts';
import type { PruneReport, TimelineFacts } from './prune.ts';
import { prune } from './prune.ts';
import type { RetentionPolicy } from './retention.ts';
import type { BackupSink } from './sinks/sink.ts';
import type { LockHolder } from './store-lock.ts';
import { StoreLock } from './store-lock.ts';

const DAY_MS = 86_400_000;
/** No put takes that long: at 64 KiB/s, the least there is, it would have sent 10 GiB. */
export const ABANDONED_AGE_MS = 2 * DAY_MS;

export interface StorePruneOptions {
  readonly sink: BackupSink;
  readonly clusterId: ClusterId;
  readonly keys: KeyRing;
  readonly clock: Clock;
  readonly timers: Timers;
  /** Who asks. */
  readonly holder: LockHolder;
  readonly policy: RetentionPolicy;
  readonly storeOf: (timeline: string) => Pick<ArchiveStore, 'readTimeline'>;
  readonly isDryRun: boolean;
  readonly signal?: AbortSignal;
}

/**
 * As `prune`, alone in the store, with the timelines that it has; then what crashes have left
 * unseen in it. A dry run keeps nobody away.
 * @throws as prune; BACKUP_CORRUPT; OVERLOADED while a backup is made, or one has begun since
 */
export async function pruneStore(options: StorePruneOptions): Promise<PruneReport> {
  const { clock, clusterId, holder, isDryRun, signal, sink, timers } = options;
  if (isDryRun) return pruneTimelines(options, async () => undefined);
  const lock = await StoreLock.takeForPrune({
    ...{ sink, clusterId, clock, timers, signal, ...holder },
  });
  try {
    const report = await pruneTimelines(options, () => lock.confirm());
    if (report.blockedBy.length > 0) return report;
    const abort = signal === undefined ? {} : { signal };
    const removedLeftoverCount = await sink.removeAbandoned?.(ABANDONED_AGE_MS, abort);
    return { ...report, removedLeftoverCount: removedLeftoverCount ?? 0 };
  } finally {
    await lock.release();
  }
}

async function pruneTimelines(
  options: StorePruneOptions,
  confirm: () => Promise<void>,
): Promise<PruneReport> {
  const { clusterId, signal, sink, storeOf } = options;
  const reading = signal === undefined ? {} : { signal };
  const found = await readTimelines(sink, clusterId, storeOf, reading);
  const timelines = found.map(({ parent, timeline }): TimelineFacts => {
    // What a cluster was restored from is the other cluster's to keep.
    const isOurs = parent !== null && parent.clusterId === clusterId;
    return { timeline, parent: isOurs ? parent : null };
  });
  return prune({ ...options, timelines, confirm });
}

/** One after the other; one that fails keeps none of the others from it. */
export async function pruneStores(
  sinks: readonly BackupSink[],
  optionsOf: (sink: BackupSink) => StorePruneOptions,
): Promise<readonly PruneOutcome[]> {
  const outcomes: PruneOutcome[] = [];
  for (const sink of sinks) {
    try {
      const report = await pruneStore(optionsOf(sink));
      outcomes.push({ kind: 'success', sink: sink.name, report });
    } catch (thrown) {
      outcomes.push({ kind: 'failure', sink: sink.name, error: toHoldfastError(thrown) });
    }
  }
  return outcomes;
}

/** Everything of the last `days` can be gone back to; of older backups the newest few stay. */
export const policyOfDays = (days: number, { keepLast }: RetentionPolicy): RetentionPolicy => ({
  ...{ keepHourly: 0, keepDaily: 0, keepWeekly: 0, keepMonthly: 0, keepLast },
  ...{ keepWithinMs: days * DAY_MS, logRetentionMs: days * DAY_MS },
});
