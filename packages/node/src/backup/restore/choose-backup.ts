/**
 * The backup that a target is restored from: of all that lie on the way to it the newest, because
 * the fewest entries follow it, and no gap that can be avoided lies between.
 */
import { HoldfastError } from '@holdfast/base';
import type { TimelineSpan } from '../archive/archive-history.ts';

/** A backup as listings show it, with the cluster it is of. */
export interface BackupCandidate {
  readonly clusterId: string;
  readonly backupId: string;
  readonly timeline: string;
  readonly index: number;
}

/** A span as far as the choice needs it. */
export type SpanOfChoice = Pick<TimelineSpan, 'throughIndex'> & {
  readonly timeline: Pick<TimelineSpan['timeline'], 'clusterId' | 'timeline'>;
};

/**
 * @throws HoldfastError BACKUP_NOT_FOUND (none is of this history), RESTORE_TARGET naming the
 *   oldest that can be used
 */
export function chooseBackup<Candidate extends BackupCandidate>(
  spans: readonly SpanOfChoice[],
  backups: readonly Candidate[],
  index: number,
): Candidate {
  const usable = backups.filter((backup) =>
    spans.some(
      ({ throughIndex, timeline }) =>
        timeline.clusterId === backup.clusterId &&
        timeline.timeline === backup.timeline &&
        backup.index <= (throughIndex ?? backup.index),
    ),
  );
  const sorted = usable.sort((left, right) => left.index - right.index);
  const found = sorted.findLast((backup) => backup.index <= index);
  if (found !== undefined) return found;
  const oldest = sorted[0];
  if (oldest === undefined) {
    throw new HoldfastError(
      'BACKUP_NOT_FOUND',
      `none of the ${backups.length} backups is of the history that leads to index ${index}`,
      { details: { index } },
    );
  }
  throw new HoldfastError(
    'RESTORE_TARGET',
    `no backup is as old as index ${index}: the oldest one that can be used is ` +
      `${oldest.backupId}, of index ${oldest.index}; choose a target from there on`,
    { details: { index, backupId: oldest.backupId, backupIndex: oldest.index } },
  );
}
