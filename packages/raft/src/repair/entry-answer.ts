/**
 * The other side of a repair: what a replica answers to who asks for entries. It answers from its
 * durable log whatever its own state is, also while its own log is being repaired.
 */
import type { Entry, LogIndex, Term } from '@holdfast/base';
import type { RaftMessageBody } from '../messages.ts';

/** A range of the own log whose bytes are lost; `high` is inclusive. */
export interface LostRange {
  readonly low: LogIndex;
  readonly high: LogIndex;
  /** Term and chain sum of the entry at `high` where the disk still knows them. */
  readonly lastTerm: Term | null;
  readonly lastSum: Uint8Array | null;
}

/** What repair reads of a log: durable entries only, damaged ones excepted. */
export interface RepairLog {
  firstIndex(): LogIndex;
  /** Counts damaged entries. */
  lastIndex(): LogIndex;
  term(index: LogIndex): Term | 'compacted' | 'unavailable';
  sum(index: LogIndex): Uint8Array | 'compacted' | 'unavailable';
  entries(low: LogIndex, high: LogIndex, sizeBytesMax: number): readonly Entry[] | 'compacted';
  /** Sorted, apart from each other. */
  damage(): readonly LostRange[];
}

export interface Responder {
  /** The last index that a leader has handed out, durable or not; null when it does not lead. */
  readonly leaderLastIndex: LogIndex | null;
}

type EntryRequest = Extract<RaftMessageBody, { readonly kind: 'entryRequest' }>;
type EntryResponse = Extract<RaftMessageBody, { readonly kind: 'entryResponse' }>;

/** One answer in memory and on the wire; the asker comes back for more. */
export const ENTRY_ANSWER_SIZE_BYTES_MAX = 1024 * 1024;

/** @throws HoldfastError WAL_CORRUPT when an entry rotted since the log was opened */
export function answerEntryRequest(
  log: RepairLog,
  request: EntryRequest,
  responder: Responder,
): EntryResponse {
  const firstIndex = log.firstIndex();
  const durableLast = log.lastIndex();
  const { requestId, low, high } = request;
  const end = Math.min(high, durableLast + 1);
  const damaged = log.damage().find((range) => range.high >= low);
  const intactEnd = damaged === undefined ? end : Math.min(end, damaged.low);
  const readable = low < firstIndex || low >= intactEnd ? [] : readRun(log, low, intactEnd);
  const next = low + readable.length;
  const isDamaged = damaged !== undefined && next >= damaged.low && damaged.low < end;
  return {
    kind: 'entryResponse',
    requestId,
    low,
    entries: readable,
    firstIndex,
    lastIndex: responder.leaderLastIndex ?? durableLast,
    isDamaged,
    isLeader: responder.leaderLastIndex !== null,
  };
}

function readRun(log: RepairLog, low: LogIndex, end: number): readonly Entry[] {
  const entries = log.entries(low, end as LogIndex, ENTRY_ANSWER_SIZE_BYTES_MAX);
  return entries === 'compacted' ? [] : entries;
}
