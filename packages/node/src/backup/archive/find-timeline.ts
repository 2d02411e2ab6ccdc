/**
 * Which timeline a cluster writes its log to: the sink knows it. A restore or a promotion begins
 * one there before the cluster starts; a cluster that began empty has none yet, and begins `main`.
 */
import type { ClusterId } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import type { TimelineObject, TimelineParent } from '@holdfast/storage';
import { isTimelineName, timelinePrefix } from '@holdfast/storage';
import type { BackupSink, SinkReadOptions } from '../sinks/sink.ts';
import type { ArchiveStore } from './archive-store.ts';

/** Of a cluster that was not made out of another. */
export const FIRST_TIMELINE = 'main';
/** Every promotion adds one. */
export const TIMELINE_COUNT_MAX = 1_000;

export interface FoundTimeline {
  readonly timeline: string;
  readonly parent: TimelineParent | null;
}

/**
 * The timeline that no other one of this cluster continues.
 * @throws HoldfastError BACKUP_CORRUPT when two could be it, or one cannot be read; SINK_*
 */
export async function findTimeline(
  sink: BackupSink,
  clusterId: ClusterId,
  storeOf: (timeline: string) => Pick<ArchiveStore, 'readTimeline'>,
  options: SinkReadOptions = {},
): Promise<FoundTimeline> {
  const found = await readTimelines(sink, clusterId, storeOf, options);
  const newest = found.filter(({ timeline }) => !found.some((other) => isChild(other, timeline)));
  const [only, ...others] = newest;
  if (only === undefined && found.length === 0) return { timeline: FIRST_TIMELINE, parent: null };
  if (only === undefined || others.length > 0) {
    const names = (newest.length > 0 ? newest : found).map(({ timeline }) => timeline).join(', ');
    throw new HoldfastError(
      'BACKUP_CORRUPT',
      `cluster ${clusterId} has several newest timelines in ${sink.name} (${names}), so nobody ` +
        'can say which one its log belongs to: give this cluster a store of its own',
      { details: { clusterId } },
    );
  }
  return { timeline: only.timeline, parent: only.parent };

  function isChild({ parent }: TimelineObject, timeline: string): boolean {
    return parent !== null && parent.clusterId === clusterId && parent.timeline === timeline;
  }
}

/** All of this cluster. @throws HoldfastError BACKUP_CORRUPT, SINK_* */
export async function readTimelines(
  sink: BackupSink,
  clusterId: ClusterId,
  storeOf: (timeline: string) => Pick<ArchiveStore, 'readTimeline'>,
  options: SinkReadOptions = {},
): Promise<readonly TimelineObject[]> {
  const found: TimelineObject[] = [];
  for (const timeline of await listTimelines(sink, clusterId, options)) {
    const object = await storeOf(timeline).readTimeline();
    if (object !== null) found.push(object);
  }
  return found;
}

async function listTimelines(
  sink: BackupSink,
  clusterId: ClusterId,
  options: SinkReadOptions,
): Promise<readonly string[]> {
  const prefix = timelinePrefix(clusterId);
  const names: string[] = [];
  for await (const { key } of sink.list(prefix, undefined, options)) {
    const name = key.slice(prefix.length);
    // Anything else under the prefix is not ours.
    if (!isTimelineName(name)) continue;
    names.push(name);
    if (names.length <= TIMELINE_COUNT_MAX) continue;
    const message = `${sink.name} has more than ${TIMELINE_COUNT_MAX} timelines of one cluster`;
    throw new HoldfastError('BACKUP_CORRUPT', message, { details: { clusterId } });
  }
  return names;
}
