/**
 * What a damaged log takes, and what may close its damage. Entries that take the place of lost
 * ones must fill one whole damaged range
 * and connect, by the hash chain, the entry before it with the entry after it, or with the sum
 * that a confirmation kept of the last one. Between two known sums nothing else fits.
 */
import type { Entry, EntryHasher, GroupId, LogIndex } from '@holdfast/base';
import { assert, entrySizeBytes, HoldfastError, logIndex, sumsEqual } from '@holdfast/base';
import type { DurableGroupLog } from './durable-group-log.ts';
import { RECORD_HEADER_SIZE_BYTES } from './record.ts';
import { walCorrupt } from './record-source.ts';
import type { DamagedRange, LogAppend, LogBase } from './types.ts';

/** @throws HoldfastError REPAIR_REFUSED saying which entry does not fit; WAL_CORRUPT, FILE_IO */
export function checkRepair(
  log: DurableGroupLog,
  entries: readonly Entry[],
  hasher: EntryHasher,
): void {
  const { group } = log;
  const low = entries[0]?.index ?? 0;
  const range = log.damage().find((one) => one.low === low);
  if (range === undefined) throw refuse(group, low, 'no damaged range begins there');
  const expectedCount = range.high - range.low + 1;
  if (entries.length !== expectedCount) {
    throw refuse(group, low, `the range ${range.low} to ${range.high} must be filled as a whole`);
  }
  let previous = log.nameOf(low - 1);
  for (const [i, entry] of entries.entries()) {
    const index = range.low + i;
    if (entry.index !== index) throw refuse(group, index, 'entries have a gap');
    if (previous === null) throw refuse(group, index, 'the entry before is not known');
    if (entry.term < previous.term) throw refuse(group, index, 'its term goes back');
    const sum = hasher(previous.sum, entry.term, entry.index, entry.type, entry.data);
    if (!sumsEqual(sum, entry.sum)) throw refuse(group, index, 'it breaks the hash chain');
    const known = log.nameOf(index);
    if (known !== null && !sumsEqual(known.sum, entry.sum)) {
      throw refuse(group, index, 'it is not the entry that was lost');
    }
    previous = entry;
  }
  checkEnd(log, range, entries.at(-1)!, hasher);
}

/** The entry behind the range must continue it. At the end of the log the name was checked. */
function checkEnd(
  log: DurableGroupLog,
  range: DamagedRange,
  last: Entry,
  hasher: EntryHasher,
): void {
  if (range.high === log.lastIndex()) return;
  const next = logIndex(range.high + 1);
  const [entry] = log.entries(next, logIndex(next + 1), 1) as readonly Entry[];
  if (entry === undefined) throw refuse(log.group, next, 'the entry after the range is not there');
  const sum = hasher(last.sum, entry.term, entry.index, entry.type, entry.data);
  if (sumsEqual(sum, entry.sum)) return;
  throw refuse(log.group, last.index, `entry ${next}, which is intact, does not follow it`);
}

/**
 * Each must be the very entry that the log knows, so that writing it again changes nothing.
 * @throws HoldfastError REPAIR_REFUSED saying which entry is not
 */
export function checkRewrite(
  log: DurableGroupLog,
  commit: number,
  entries: readonly Entry[],
  hasher: EntryHasher,
): void {
  const { group } = log;
  for (const { index, term, sum, type, data } of entries) {
    if (!log.isPresent(index)) throw refuse(group, index, 'the log does not hold it');
    // What may still be truncated must not be found again behind the truncation.
    if (index > commit) throw refuse(group, index, 'it is not known to be committed');
    const [before, known] = [log.nameOf(index - 1), log.nameOf(index)];
    const isKnown = known !== null && known.term === term && sumsEqual(known.sum, sum);
    if (!isKnown || before === null) throw refuse(group, index, 'the log holds another one');
    if (!sumsEqual(hasher(before.sum, term, index, type, data), sum)) {
      throw refuse(group, index, 'it breaks the hash chain');
    }
  }
}

/** While a log has damage only a snapshot that replaces all of it is appended. */
export function checkWritable({ group, snapshot }: LogAppend, log: DurableGroupLog): void {
  const isReplacement = snapshot !== null && snapshot.index >= log.lastIndex();
  assert(log.isHardStateKnown(), 'a log whose term and vote are lost takes no append', { group });
  assert(!log.hasDamage || isReplacement, 'a damaged log takes no append', { group });
}

/** Dropping what is committed, or a log without damage, is a bug of the caller. */
export function checkDiscard(log: DurableGroupLog, from: LogIndex): void {
  const { group } = log;
  const committed = Math.max(log.base().index, log.hardState()?.commit ?? 0);
  const isInside = from > committed && from <= log.lastIndex();
  const isDamaged = log.damage().some(({ high }) => high >= from);
  assert(isDamaged, 'only damage is discarded', { group, from });
  assert(isInside, 'what is committed is never discarded', { group, from, committed });
}

/** The base must fit what is left of the log around it. @throws HoldfastError WAL_CORRUPT */
export function checkBaseOfDamaged(
  log: DurableGroupLog,
  base: LogBase,
  hasher: EntryHasher,
  directory: string,
): void {
  const { group } = log;
  assert(base.index <= log.lastIndex(), 'base must be inside the log', { group, ...base });
  const fail = (what: string): HoldfastError =>
    walCorrupt(directory, 0, base.index, `group ${group}: ${what}`);
  const known = log.nameOf(base.index);
  if (known !== null) {
    if (!sumsEqual(known.sum, base.sum)) throw fail('the log holds another entry than the base');
    return;
  }
  const next = logIndex(base.index + 1);
  if (!log.isPresent(next)) return;
  const [entry] = log.entries(next, logIndex(next + 1), 1) as readonly [Entry];
  const sum = hasher(base.sum, entry.term, entry.index, entry.type, entry.data);
  if (!sumsEqual(sum, entry.sum)) throw fail('the next entry does not follow the base');
}

/** Each chunk becomes one frame: about one batch at most. */
export function chunksOf(
  entries: readonly Entry[],
  sizeBytesMax: number,
): readonly (readonly Entry[])[] {
  const chunks: Entry[][] = [];
  let size = Number.POSITIVE_INFINITY;
  for (const entry of entries) {
    const entrySize = RECORD_HEADER_SIZE_BYTES + entrySizeBytes(entry);
    size += entrySize;
    if (size > sizeBytesMax) {
      chunks.push([]);
      size = entrySize;
    }
    chunks.at(-1)!.push(entry);
  }
  return chunks;
}

function refuse(group: GroupId, index: number, what: string): HoldfastError {
  const message = `group ${group}, entry ${index} cannot repair the log: ${what}; ask another peer`;
  return new HoldfastError('REPAIR_REFUSED', message, { details: { group, index, what } });
}
