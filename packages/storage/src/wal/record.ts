/**
 * One record of a batch: 56-byte header, then the payload. The header repeats index, term and sum
 * of an entry, so that an entry with a damaged payload is still known by name, and holds its own
 * offset, so that records are found again behind damage and no payload passes for one.
 *   length u32, type u8, three zero bytes, group u32, payload checksum u32,
 *   index u64, term u64, sum 16 bytes, own offset u32, header checksum u32
 * Records are encoded without checksums by the thread that appends, and sealed by the thread that
 * writes, because only the writer knows the file and its mask.
 */
import type { GroupId, LogIndex, Term } from '@holdfast/base';
import {
  assert,
  ENTRY_SUM_SIZE_BYTES,
  groupId,
  logIndex,
  must,
  readU64,
  term,
  writeU64,
} from '@holdfast/base';
import { crc32c } from '../checksum.ts';

export const RECORD_HEADER_SIZE_BYTES = 56;
const SUM_END = 48;
const HEADER_CHECKSUM_OFFSET = 52;

/** Codes are stored in files and never change. */
const TYPE_CODES = {
  /** Payload: term, vote, commit. */
  hardState: 1,
  /** Every entry with index >= the header's index is gone. */
  truncate: 2,
  /** Payload: the entry as base encodes it. */
  entry: 3,
  /** The log restarts after the header's index, term, sum. Payload: the rest of SnapshotMeta. */
  snapshot: 4,
  /** Entries up to the header's index, term, sum are compacted away. */
  base: 5,
  /** First in a new file, one per group: the whole state so far, entries excepted. */
  fileState: 6,
  /** Payload: an entry that takes the place of one that this log has lost. */
  repair: 7,
} as const;

export type RecordType = keyof typeof TYPE_CODES;
const TYPE_BY_CODE: ReadonlyMap<number, RecordType> = new Map(
  (Object.keys(TYPE_CODES) as RecordType[]).map((type) => [TYPE_CODES[type], type]),
);

export interface RecordFields {
  readonly type: RecordType;
  readonly group: GroupId;
  readonly index: number;
  readonly term: number;
  readonly sum: Uint8Array;
}

export interface WalRecord {
  readonly type: RecordType;
  readonly group: GroupId;
  readonly index: LogIndex;
  readonly term: Term;
  /** Views of the source. */
  readonly sum: Uint8Array;
  readonly payload: Uint8Array;
  /** Where the header starts in the file. */
  readonly offset: number;
  readonly sizeBytes: number;
}

/** What a valid header says of a record, whatever became of its payload. */
export interface RecordName {
  readonly type: RecordType;
  readonly group: GroupId;
  readonly index: LogIndex;
  readonly term: Term;
  readonly sum: Uint8Array;
}

export type RecordOutcome =
  | { readonly kind: 'record'; readonly record: WalRecord }
  | {
      readonly kind: 'damaged';
      readonly what: string;
      readonly offset: number;
      /** Present when the header verifies: only the payload is lost. */
      readonly name: RecordName | null;
      /** Bytes of the record by its header; 0 without a name. */
      readonly sizeBytes: number;
    }
  /** The bytes verify and were written by a newer version. */
  | { readonly kind: 'unknownType'; readonly offset: number };

/** Writes a header without checksums; returns the offset of the payload. */
export function encodeRecordHeader(
  fields: RecordFields,
  payloadSizeBytes: number,
  target: Uint8Array,
  offset: number,
): number {
  assert(fields.sum.byteLength === ENTRY_SUM_SIZE_BYTES, 'record sum must be 16 bytes', {
    type: fields.type,
    index: fields.index,
  });
  const view = new DataView(target.buffer, target.byteOffset, target.byteLength);
  view.setUint32(offset, payloadSizeBytes, true);
  view.setUint32(offset + 4, TYPE_CODES[fields.type], true);
  view.setUint32(offset + 8, fields.group, true);
  writeU64(view, offset + 16, fields.index);
  writeU64(view, offset + 24, fields.term);
  target.set(fields.sum, offset + 32);
  return offset + RECORD_HEADER_SIZE_BYTES;
}

/**
 * Fills in place and checksums of the unsealed record at `offset`; returns the offset after it.
 * `bytes` will be written at `fileOffset`.
 */
export function sealRecord(
  bytes: Uint8Array,
  offset: number,
  fileOffset: number,
  mask: number,
): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = offset + RECORD_HEADER_SIZE_BYTES + view.getUint32(offset, true);
  assert(end <= bytes.byteLength, 'record must end inside its frame', { offset, end });
  const payload = bytes.subarray(offset + RECORD_HEADER_SIZE_BYTES, end);
  view.setUint32(offset + 12, (crc32c(payload) ^ mask) >>> 0, true);
  view.setUint32(offset + SUM_END, fileOffset + offset, true);
  const header = bytes.subarray(offset, offset + HEADER_CHECKSUM_OFFSET);
  view.setUint32(offset + HEADER_CHECKSUM_OFFSET, (crc32c(header) ^ mask) >>> 0, true);
  return end;
}

/** True when a valid record header is at `offset`; `bytes` starts at `fileOffset` of its file. */
function isHeader(bytes: Uint8Array, offset: number, fileOffset: number, mask: number): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, RECORD_HEADER_SIZE_BYTES);
  // Cheap, and false nearly everywhere when a whole file is searched.
  if (view.getUint32(SUM_END, true) !== fileOffset + offset) return false;
  const header = bytes.subarray(offset, offset + HEADER_CHECKSUM_OFFSET);
  return view.getUint32(HEADER_CHECKSUM_OFFSET, true) === (crc32c(header) ^ mask) >>> 0;
}

/**
 * Reads and verifies the record at `offset`, which must end at or before `end`. `bytes` starts at
 * `fileOffset` of its file.
 */
export function readRecord(
  bytes: Uint8Array,
  offset: number,
  end: number,
  mask: number,
  fileOffset = 0,
): RecordOutcome {
  const at = fileOffset + offset;
  if (offset + RECORD_HEADER_SIZE_BYTES > end) return unnamed('record header is cut', at);
  if (!isHeader(bytes, offset, fileOffset, mask)) {
    return unnamed('record header fails its checksum', at);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, RECORD_HEADER_SIZE_BYTES);
  if (!TYPE_BY_CODE.has(view.getUint32(4, true))) return { kind: 'unknownType', offset: at };
  const payloadStart = offset + RECORD_HEADER_SIZE_BYTES;
  const payloadEnd = payloadStart + view.getUint32(0, true);
  const isCut = payloadEnd > end;
  const record = viewRecord(bytes, offset, fileOffset);
  const payload = bytes.subarray(payloadStart, Math.min(payloadEnd, end));
  if (!isCut && view.getUint32(12, true) === (crc32c(payload) ^ mask) >>> 0) {
    return { kind: 'record', record };
  }
  const { type, group, index, term: inTerm } = record;
  return {
    kind: 'damaged',
    what: isCut ? 'record payload is cut' : 'record payload fails its checksum',
    offset: at,
    name: { type, group, index, term: inTerm, sum: record.sum.slice() },
    sizeBytes: payloadEnd - offset,
  };
}

const unnamed = (what: string, offset: number): RecordOutcome => ({
  kind: 'damaged',
  what,
  offset,
  name: null,
  sizeBytes: 0,
});

/** The first place in [from, end) where a valid record header is, or null; as `readRecord`. */
export function findRecord(
  bytes: Uint8Array,
  from: number,
  end: number,
  mask: number,
  fileOffset = 0,
): number | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let offset = from; offset + RECORD_HEADER_SIZE_BYTES <= end; offset++) {
    const isCandidate = view.getUint32(offset + SUM_END, true) === fileOffset + offset;
    if (isCandidate && isHeader(bytes, offset, fileOffset, mask)) return offset;
  }
  return null;
}

/** The record at `offset`, unverified: only for bytes that were verified or made here. */
export function viewRecord(bytes: Uint8Array, offset: number, fileOffset = 0): WalRecord {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, RECORD_HEADER_SIZE_BYTES);
  const payloadStart = offset + RECORD_HEADER_SIZE_BYTES;
  const payloadEnd = payloadStart + view.getUint32(0, true);
  return {
    type: must(TYPE_BY_CODE.get(view.getUint32(4, true)), 'record type must be known'),
    group: groupId(view.getUint32(8, true)),
    index: logIndex(readU64(view, 16)),
    term: term(readU64(view, 24)),
    sum: bytes.subarray(offset + 32, offset + SUM_END),
    payload: bytes.subarray(payloadStart, payloadEnd),
    offset: fileOffset + offset,
    sizeBytes: payloadEnd - offset,
  };
}
