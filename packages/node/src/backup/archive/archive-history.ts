/**
 * Which timelines make up one history. Each but the first names its parent and the last index that
 * they share; followed back to the beginning, they cover the log of the newest one without overlap.
 */
import type { LogIndex } from '@holdfast/base';
import { HoldfastError, logIndex } from '@holdfast/base';
import type { TimelineObject } from '@holdfast/storage';
import { timelineKey } from '@holdfast/storage';
import type { ArchiveStore } from './archive-store.ts';
import { TIMELINE_COUNT_MAX } from './find-timeline.ts';

export interface TimelineSpan {
  /** Of this timeline. */
  readonly store: ArchiveStore;
  readonly timeline: TimelineObject;
  /** Its own entries begin after this index. */
  readonly afterIndex: LogIndex;
  /** The last of its entries that belongs to the history; null for the newest timeline. */
  readonly throughIndex: LogIndex | null;
}

/**
 * Spans of the history that ends in the timeline of `store`, oldest first.
 * @throws HoldfastError BACKUP_NOT_FOUND naming the missing timeline, BACKUP_CORRUPT
 */
export async function readHistory(store: ArchiveStore): Promise<readonly TimelineSpan[]> {
  const spans: TimelineSpan[] = [];
  let through = Number.POSITIVE_INFINITY;
  for (let present: ArchiveStore | null = store; present !== null; ) {
    const timeline = await readPresent(present);
    const { parent } = timeline;
    const afterIndex = logIndex(parent?.index ?? 0);
    // A child that leaves its parent before the parent's own beginning shares nothing with it.
    if (afterIndex < through) {
      const throughIndex = Number.isFinite(through) ? logIndex(through) : null;
      spans.unshift({ store: present, timeline, afterIndex, throughIndex });
    }
    through = Math.min(through, afterIndex);
    if (spans.length > TIMELINE_COUNT_MAX) throw tooMany(present);
    present = parent === null ? null : present.of(parent.clusterId, parent.timeline);
  }
  return spans;
}

async function readPresent(store: ArchiveStore): Promise<TimelineObject> {
  const timeline = await store.readTimeline();
  if (timeline !== null) return timeline;
  const key = timelineKey(store.clusterId, store.timeline);
  throw new HoldfastError(
    'BACKUP_NOT_FOUND',
    `${store.sinkName} has no object ${key}: the archive of this timeline was never begun there, ` +
      'or lost it; name another store, cluster or timeline',
    { details: { key } },
  );
}

const tooMany = (store: ArchiveStore): HoldfastError =>
  new HoldfastError(
    'BACKUP_CORRUPT',
    `the timelines in ${store.sinkName} lead back over more than ${TIMELINE_COUNT_MAX} parents`,
    { details: { key: timelineKey(store.clusterId, store.timeline) } },
  );
