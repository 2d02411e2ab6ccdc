/**
 * Reads a log back from the disk and proves that it is one chain: each entry is the next one, of no
 * older term, and its sum follows from the sum before and its own bytes. An entry that was edited,
 * swapped, lost or put in is named by its index. Only what is committed is looked at: the rest may
 * be replaced meanwhile.
 */
import type { Entry, EntryHasher, LogIndex } from '@holdfast/base';
import { HoldfastError, logIndex, sumsEqual } from '@holdfast/base';
import type { GroupLog } from '@holdfast/storage';
import type { Pause } from '../replica/slices.ts';
import type { LogFlaw, LogVerifyReport } from './log-check-api.ts';

export type VerifiedLog = Pick<
  GroupLog,
  'base' | 'damage' | 'entries' | 'firstIndex' | 'lastIndex' | 'sum' | 'term'
>;

export interface VerifyLogOptions {
  readonly log: VerifiedLog;
  /** Nothing up to here ever changes. */
  readonly committedIndex: LogIndex;
  readonly hasher: EntryHasher;
  readonly pause: Pause;
  readonly signal?: AbortSignal;
}

/** Read and hashed in one turn of the event loop: others wait for no longer than that. */
const SLICE_SIZE_BYTES = 256 * 1024;
/** More are not told: the log is beyond being read one entry at a time. */
export const FLAW_COUNT_MAX = 100;

/**
 * From `from` (at least the first entry that is kept) to the committed end.
 * @throws HoldfastError ABORTED, FILE_IO; damage is part of the report
 */
export async function verifyLog(
  options: VerifyLogOptions,
  from: LogIndex,
): Promise<LogVerifyReport> {
  const { log, pause, signal } = options;
  const fromIndex = Math.max(from, log.firstIndex());
  const flaws: LogFlaw[] = [];
  let [next, verifiedEntryCount] = [fromIndex, 0];
  while (flaws.length < FLAW_COUNT_MAX) {
    if (signal?.aborted === true) throw new HoldfastError('ABORTED', 'the check was broken off');
    // It may have been compacted, or replaced by a snapshot, since the last turn.
    next = Math.max(next, log.firstIndex());
    const through = Math.min(options.committedIndex, log.lastIndex());
    if (next > through) break;
    const slice = readSlice(log, next, through);
    if (slice.kind === 'entries') {
      const found = checkChain(options, next, slice.entries);
      flaws.push(...found.slice(0, FLAW_COUNT_MAX - flaws.length));
      verifiedEntryCount += slice.entries.length - found.length;
      next += slice.entries.length;
    } else if (slice.kind === 'bad') {
      flaws.push(slice.flaw);
      next = slice.flaw.lastIndex + 1;
    }
    await pause();
  }
  return {
    isValid: flaws.length === 0,
    ...{ fromIndex, throughIndex: next - 1, verifiedEntryCount, errors: flaws },
    firstBadIndex: flaws[0]?.index ?? null,
    isCutShort: flaws.length >= FLAW_COUNT_MAX,
  };
}

type Slice =
  | { readonly kind: 'entries'; readonly entries: readonly Entry[] }
  | { readonly kind: 'bad'; readonly flaw: LogFlaw }
  | { readonly kind: 'compacted' };

function readSlice(log: VerifiedLog, next: number, through: number): Slice {
  const hole = log.damage().find(({ high, low }) => low <= next && high >= next);
  if (hole !== undefined) {
    const place = `${hole.file} at offset ${hole.offset}: ${hole.what}`;
    return { kind: 'bad', flaw: flawOf(next, Math.min(hole.high, through), place) };
  }
  try {
    const high = logIndex(through + 1);
    const entries = log.entries(logIndex(next), high, SLICE_SIZE_BYTES);
    if (entries === 'compacted') return { kind: 'compacted' };
    if (entries.length > 0) return { kind: 'entries', entries };
    return { kind: 'bad', flaw: flawOf(next, next, 'it is missing') };
  } catch (thrown) {
    if (!(thrown instanceof HoldfastError) || thrown.code !== 'WAL_CORRUPT') throw thrown;
    return beforeBad(log, next, thrown);
  }
}

/** One read takes many records: those before the one that is bad are good. */
function beforeBad(log: VerifiedLog, next: number, error: HoldfastError): Slice {
  const { index } = error.details;
  const isFurther = typeof index === 'number' && index > next;
  if (!isFurther) return { kind: 'bad', flaw: flawOf(next, next, placeOf(error), error) };
  const entries = log.entries(logIndex(next), logIndex(index), SLICE_SIZE_BYTES);
  return entries === 'compacted' ? { kind: 'compacted' } : { kind: 'entries', entries };
}

function placeOf(error: HoldfastError): string {
  const { file, offset, what } = error.details;
  return typeof what === 'string' ? `${file} at offset ${offset}: ${what}` : error.message;
}

/** At most one flaw per entry. */
function checkChain(
  { hasher, log }: VerifyLogOptions,
  first: number,
  entries: readonly Entry[],
): readonly LogFlaw[] {
  const flaws: LogFlaw[] = [];
  const before = logIndex(first - 1);
  let [sum, term] = [log.sum(before), log.term(before)];
  for (const [i, entry] of entries.entries()) {
    const expected = first + i;
    const flaw = (what: string): void => void flaws.push(flawOf(expected, expected, what));
    if (entry.index !== expected) flaw(`entry ${entry.index} stands in its place`);
    else if (typeof term === 'number' && entry.term < term) flaw('its term goes back');
    // Behind an entry that is lost nobody knows what it must continue.
    else if (typeof sum !== 'string') {
      const { data, index, type } = entry;
      const follows = hasher(sum, entry.term, index, type, data);
      if (!sumsEqual(follows, entry.sum)) flaw('its sum does not follow from the entry before');
    }
    [sum, term] = [entry.sum, entry.term];
  }
  return flaws;
}

function flawOf(index: number, lastIndex: number, what: string, cause?: HoldfastError): LogFlaw {
  const entries = index === lastIndex ? `entry ${index}` : `entries ${index} to ${lastIndex}`;
  const message =
    `WAL ${entries} chain broken: ${what}; a running node fetches what is bad from its peers ` +
    '(holdfast scrub now), a stopped one when it is started; without peers restore a backup to ' +
    `index ${Math.max(0, index - 1)}`;
  return { index, lastIndex, message, cause: cause ?? null };
}
