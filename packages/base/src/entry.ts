/**
 * What raft hands to storage, and the one byte form of an entry: encoded once, then forwarded
 * unchanged to the disk and to every peer.
 *
 * Chain: `sum = hash(previous.sum, term, index, type, data)`. Two logs that agree on (index, sum)
 * agree on everything up to index; same (index, term) with another sum is a broken disk or a bug.
 */
import { assert } from './assert.ts';
import type { ConfState } from './conf.ts';
import { HoldfastError } from './errors.ts';
import type { LogIndex, NodeId, Term } from './ids.ts';
import { logIndex, term } from './ids.ts';

export const ENTRY_SUM_SIZE_BYTES = 16;
/** Sum of the empty log: the chain starts here. */
export const EMPTY_LOG_SUM: Uint8Array = new Uint8Array(ENTRY_SUM_SIZE_BYTES);

export type EntryType = 'normal' | 'noop' | 'conf';

export interface Entry {
  readonly index: LogIndex;
  readonly term: Term;
  readonly type: EntryType;
  /** Owned by the entry: never mutated after the entry was made. */
  readonly data: Uint8Array;
  /** 16 bytes; chains to the entry before. */
  readonly sum: Uint8Array;
}

/**
 * Term and vote are durable together, no later than the entries of that term. `commit` is a hint.
 */
export interface HardState {
  readonly term: Term;
  readonly vote: NodeId | null;
  readonly commit: LogIndex;
}

/** Where the log starts after compaction or a snapshot install. The bytes never enter the core. */
export interface SnapshotMeta {
  readonly index: LogIndex;
  readonly term: Term;
  /** Chain sum of the entry at `index`. */
  readonly sum: Uint8Array;
  readonly conf: ConfState;
  /** Log index of the entry that made `conf`; 0 for the first configuration. */
  readonly confIndex: LogIndex;
  /** Names the checkpoint that holds the state: unique per node and checkpoint. */
  readonly id: string;
}

/** Synchronous, pure, 16 bytes out. Injected: the raft core knows no hash library. */
export type EntryHasher = (
  previousSum: Uint8Array,
  term: Term,
  index: LogIndex,
  type: EntryType,
  data: Uint8Array,
) => Uint8Array;

const TYPE_TO_CODE = { normal: 1, noop: 2, conf: 3 } as const satisfies Record<EntryType, number>;
const CODE_TO_TYPE: ReadonlyMap<number, EntryType> = new Map([
  [1, 'normal'],
  [2, 'noop'],
  [3, 'conf'],
]);

export const entryTypeCode = (type: EntryType): number => TYPE_TO_CODE[type];

/** index u64, term u64, sum 16, type u8, three reserved zero bytes, data length u32. */
export const ENTRY_HEADER_SIZE_BYTES = 40;

export const entrySizeBytes = (entry: Entry): number =>
  ENTRY_HEADER_SIZE_BYTES + entry.data.byteLength;

/** Writes `entry` at `offset` of `target` and returns the offset after it. */
export function encodeEntry(entry: Entry, target: Uint8Array, offset: number): number {
  assert(entry.sum.byteLength === ENTRY_SUM_SIZE_BYTES, 'entry sum must be 16 bytes', {
    index: entry.index,
  });
  const view = new DataView(target.buffer, target.byteOffset, target.byteLength);
  writeU64(view, offset, entry.index);
  writeU64(view, offset + 8, entry.term);
  target.set(entry.sum, offset + 16);
  view.setUint32(offset + 32, TYPE_TO_CODE[entry.type], true);
  view.setUint32(offset + 36, entry.data.byteLength, true);
  target.set(entry.data, offset + ENTRY_HEADER_SIZE_BYTES);
  return offset + entrySizeBytes(entry);
}

/**
 * Reads one entry. The data is a view of `source`: copy it if the source is reused.
 * @throws HoldfastError ENTRY_MALFORMED when the bytes are not an entry
 */
export function decodeEntry(source: Uint8Array, offset: number): { entry: Entry; end: number } {
  if (offset + ENTRY_HEADER_SIZE_BYTES > source.byteLength)
    throw malformed('header is cut', offset);
  const view = new DataView(source.buffer, source.byteOffset, source.byteLength);
  const type = CODE_TO_TYPE.get(view.getUint32(offset + 32, true));
  if (type === undefined) throw malformed('type is unknown', offset);
  const dataSize = view.getUint32(offset + 36, true);
  const end = offset + ENTRY_HEADER_SIZE_BYTES + dataSize;
  if (end > source.byteLength) throw malformed('data is cut', offset);
  const entry: Entry = {
    index: logIndex(readU64(view, offset)),
    term: term(readU64(view, offset + 8)),
    type,
    data: source.subarray(offset + ENTRY_HEADER_SIZE_BYTES, end),
    sum: source.slice(offset + 16, offset + 32),
  };
  if (entry.index === 0) throw malformed('index is zero', offset);
  return { entry, end };
}

/** Writes a safe integer as u64 little-endian. */
export function writeU64(view: DataView, offset: number, value: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, 'u64 must be a safe integer', { value });
  view.setUint32(offset, value % 0x1_0000_0000, true);
  view.setUint32(offset + 4, Math.floor(value / 0x1_0000_0000), true);
}

/** @throws HoldfastError ENTRY_MALFORMED when the value is not a safe integer */
export function readU64(view: DataView, offset: number): number {
  const value = view.getUint32(offset + 4, true) * 0x1_0000_0000 + view.getUint32(offset, true);
  if (!Number.isSafeInteger(value)) throw malformed('integer is out of range', offset);
  return value;
}

export function sumsEqual(left: Uint8Array, right: Uint8Array): boolean {
  if (left.byteLength !== right.byteLength) return false;
  for (let i = 0; i < left.byteLength; i++) if (left[i] !== right[i]) return false;
  return true;
}

function malformed(what: string, offset: number): HoldfastError {
  return new HoldfastError('ENTRY_MALFORMED', `entry ${what}`, { details: { offset } });
}
