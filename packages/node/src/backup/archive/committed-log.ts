/** What the archiver needs of a log: its committed part, read again whenever it is needed. */
import type { Entry, LogIndex } from '@holdfast/base';
import { logIndex } from '@holdfast/base';
import type { GroupLog, LogBase } from '@holdfast/storage';

export interface CommittedLog {
  /** Nothing up to here ever changes. */
  committedIndex(): LogIndex;
  /** The entry before the first that can be read. */
  base(): LogBase;
  /** Chain sum of an entry that the log has, or of its base; null for any other. */
  sumAt(index: LogIndex): Uint8Array | null;
  /** True when the entries from `firstIndex` on have more than so many bytes. */
  isLongerThan(firstIndex: LogIndex, sizeBytes: number): boolean;
  /**
   * Committed entries from `firstIndex` (at most committedIndex) on, at least one, cut after
   * `sizeBytesMax`. @throws HoldfastError (as a rejection) WAL_CORRUPT
   */
  read(firstIndex: LogIndex, sizeBytesMax: number): Promise<readonly Entry[] | 'compacted'>;
}

/**
 * `log` as an archive may see it that begins behind `point`: what is before it belongs to another
 * history. `point` is asked again each time; null: all of the log.
 */
export const behindPoint = (log: CommittedLog, point: () => LogBase | null): CommittedLog => {
  const base = (): LogBase => {
    const [own, from] = [log.base(), point()];
    return from === null || own.index >= from.index ? own : from;
  };
  return {
    base,
    committedIndex: () => log.committedIndex(),
    sumAt: (index) => (index < base().index ? null : log.sumAt(index)),
    isLongerThan: (firstIndex, sizeBytes) => log.isLongerThan(firstIndex, sizeBytes),
    read: async (firstIndex, sizeBytesMax) =>
      firstIndex <= base().index ? 'compacted' : log.read(firstIndex, sizeBytesMax),
  };
};

export const committedPartOf = (
  log: Pick<GroupLog, 'base' | 'entries' | 'firstIndexWithin' | 'lastIndex' | 'sum'>,
  committedIndex: () => LogIndex,
): CommittedLog => {
  // A node may know of a commit before the entries are durable here.
  const committed = (): LogIndex => logIndex(Math.min(committedIndex(), log.lastIndex()));
  return {
    committedIndex: committed,
    base: () => log.base(),
    sumAt(index) {
      if (index > log.lastIndex()) return null;
      const sum = log.sum(index);
      return typeof sum === 'string' ? null : sum;
    },
    isLongerThan: (firstIndex, sizeBytes) => log.firstIndexWithin(sizeBytes) > firstIndex,
    read: async (firstIndex, sizeBytesMax) =>
      log.entries(firstIndex, logIndex(committed() + 1), sizeBytesMax),
  };
};
