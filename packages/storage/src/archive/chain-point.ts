/**
 * Where a chain of archived objects stands after one of them: all that the next one must agree
 * with. Two chains protect the archive: `sum` is the log's own (finds broken disks and bugs, and
 * ties the archive to the logs of the nodes), `hash` is SHA-256 over whole objects (finds forgers).
 */
import type { LogIndex, Term } from '@holdfast/base';
import { EMPTY_LOG_SUM, HoldfastError, logIndex, sumsEqual, term } from '@holdfast/base';

export const ARCHIVE_HASH_SIZE_BYTES = 32;

export interface ChainPoint {
  /** Last entry that is covered; 0 before the first. */
  readonly index: LogIndex;
  readonly term: Term;
  /** Chain sum of that entry, 16 bytes. */
  readonly sum: Uint8Array;
  /** Of the object that covers it, 32 bytes. */
  readonly hash: Uint8Array;
  /** Log time there: the greatest time stamp so far; 0 before the first. */
  readonly timestampMs: number;
}

/** Before the first entry of a log; `hash` is that of the timeline object. */
export const emptyChainPoint = (hash: Uint8Array): ChainPoint => ({
  index: logIndex(0),
  term: term(0),
  sum: EMPTY_LOG_SUM,
  hash,
  timestampMs: 0,
});

/** `index` is the first entry that cannot be trusted. */
export function archiveCorrupt(
  key: string,
  index: number,
  what: string,
  cause?: unknown,
): HoldfastError {
  const message =
    `${key} is damaged at index ${index}: ${what}; bring it back from another copy of the store, ` +
    `or choose a target before index ${index}`;
  return new HoldfastError('BACKUP_CORRUPT', message, {
    details: { key, index },
    ...(cause === undefined ? {} : { cause }),
  });
}

/** What an object says of the position before it. */
export interface ChainLink {
  readonly firstIndex: LogIndex;
  readonly termBefore: Term;
  readonly sumBefore: Uint8Array;
  readonly hashBefore: Uint8Array;
  readonly timestampBeforeMs: number;
}

/** @throws HoldfastError BACKUP_CORRUPT when the object `key` does not continue from `point` */
export function checkFollows(link: ChainLink, point: ChainPoint, key: string): void {
  const { firstIndex } = link;
  const refuse = (what: string): HoldfastError =>
    archiveCorrupt(key, firstIndex, `${what} before it`);
  if (firstIndex !== point.index + 1) {
    throw archiveCorrupt(key, point.index + 1, `it begins at index ${firstIndex}`);
  }
  if (!sumsEqual(link.sumBefore, point.sum)) throw refuse('it does not continue the entries');
  if (link.termBefore !== point.term) throw refuse('it names another term for the entry');
  if (!sumsEqual(link.hashBefore, point.hash)) throw refuse('it does not continue the object');
  if (link.timestampBeforeMs !== point.timestampMs) throw refuse('it names another log time');
}
