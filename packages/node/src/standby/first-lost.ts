/** Whether an archive can be followed from its first entry, as far as listings tell. */
import { HoldfastError } from '@holdfast/base';
import type { ArchiveReader } from '../backup/archive/archive-reader.ts';
import type { BackupSink } from '../backup/sinks/sink.ts';

export interface LostEntries {
  readonly timeline: string;
  readonly firstIndex: number;
  /** For a message. */
  readonly what: string;
}

/**
 * The first entries that a history is known to lack, whichever of its timelines they are of; null:
 * it begins at its first entry, every timeline where it leaves its parent, and no gap is told.
 * @throws HoldfastError BACKUP_NOT_FOUND, BACKUP_CORRUPT, SINK_*
 */
export async function firstLost(
  reader: Pick<ArchiveReader, 'gaps' | 'history'>,
): Promise<LostEntries | null> {
  for (const { afterIndex, store, throughIndex } of await reader.history()) {
    const { timeline } = store;
    const firstIndex = afterIndex + 1;
    const found = await store.firstLogIndexAfter(afterIndex);
    if (found === firstIndex) continue;
    // The newest timeline has no entries of its own yet; who has none at all cannot be followed.
    if (found === null && throughIndex === null && afterIndex > 0) continue;
    return { timeline, firstIndex, what: `since ${timeline} lacks entry ${firstIndex}` };
  }
  const [gap] = await reader.gaps();
  if (gap === undefined) return null;
  const { firstIndex, lastIndex, timeline } = gap;
  const what = `since entries ${firstIndex} to ${lastIndex} of ${timeline} never reached it`;
  return { timeline, firstIndex, what };
}

export function notFollowable(
  clusterId: string,
  sink: Pick<BackupSink, 'name'>,
  { firstIndex, timeline, what }: LostEntries,
): HoldfastError {
  return new HoldfastError(
    'RESTORE_TARGET',
    `the archive of cluster ${clusterId} in ${sink.name} cannot be followed from its first ` +
      `entry, ${what}: make the standby from a backup (holdfast restore plan --standby)`,
    { details: { clusterId, firstIndex, timeline } },
  );
}
