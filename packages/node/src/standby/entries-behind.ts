/** The entries behind a cut: from the log, and from the archive where the log was compacted. */
import type { Entry } from '@holdfast/base';
import { HoldfastError, logIndex } from '@holdfast/base';
import type { GroupLog, SiteEpoch } from '@holdfast/storage';
import { ArchiveReader } from '../backup/archive/archive-reader.ts';
import type { ArchiveStore } from '../backup/archive/archive-store.ts';

const READ_SIZE_BYTES = 1024 * 1024;

type ReadableLog = Pick<GroupLog, 'base' | 'entries' | 'lastIndex'>;

/**
 * From the entry behind `epoch.index` to `throughIndex`. `log`: null when only the archive is
 * there.
 * @throws HoldfastError ARCHIVE_GAP, BACKUP_CORRUPT, SINK_*, WAL_CORRUPT
 */
export async function* entriesBehind(
  epoch: Pick<SiteEpoch, 'index' | 'term' | 'sum'>,
  log: ReadableLog | null,
  archive: () => ArchiveStore | null,
  throughIndex: number = Number.MAX_SAFE_INTEGER,
): AsyncGenerator<readonly Entry[], void, undefined> {
  let next = epoch.index + 1;
  if (log === null || log.base().index >= next) {
    const store = archive();
    if (store === null) throw compacted(next);
    // All that was archived: an archive alone does not say where its log ends.
    const through = log === null ? 'end' : log.base().index;
    for await (const { entries } of new ArchiveReader(store).entries(epoch, through)) {
      yield entries;
      next = (entries.at(-1)?.index ?? next) + 1;
    }
  }
  if (log === null) return;
  const last = Math.min(log.lastIndex(), throughIndex);
  while (next <= last) {
    const read = log.entries(logIndex(next), logIndex(last + 1), READ_SIZE_BYTES);
    if (read === 'compacted') throw compacted(next);
    yield read;
    next = (read.at(-1)?.index ?? last) + 1;
  }
}

const compacted = (index: number): HoldfastError =>
  new HoldfastError(
    'LOG_COMPACTED',
    `entry ${index} is not in this log any more: name the store of its archive`,
    { details: { index } },
  );
