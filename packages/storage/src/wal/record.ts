/**
 * One record of a batch: 52-byte header, then the payload. The header repeats index, term and sum
 * of an entry, so that an entry with a damaged payload is still known by name.
 *   length u32, type u8, three zero bytes, group u32, payload checksum u32,
 *   index u64, term u64, sum 16 bytes, header checksum u32
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

export const RECORD_HEADER_SIZE_BYTES = 52;
const HEADER_CHECKSUM_OFFSET = 48;

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
  /** Where the header starts in the source. */
  readonly offset: number;
  readonly sizeBytes: number;
}

/** What is wrong with a record, and the index it claims when its header can be believed. */
export interface RecordDamage {
  readonly what: string;
  readonly offset: number;
  readonly group: GroupId | null;
  readonly index: number | null;
  /** True when the bytes verify and were written by a newer version. */
  readonly isUnknownType: boolean;
}

export type RecordOutcome =
  | { readonly kind: 'record'; readonly record: WalRecord }
  | { readonly kind: 'damaged'; readonly damage: RecordDamage };

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

/** Fills in the checksums of the unsealed record at `offset`; returns the offset after it. */
export function sealRecord(bytes: Uint8Array, offset: number, mask: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = offset + RECORD_HEADER_SIZE_BYTES + view.getUint32(offset, true);
  assert(end <= bytes.byteLength, 'record must end inside its frame', { offset, end });
  const payload = bytes.subarray(offset + RECORD_HEADER_SIZE_BYTES, end);
  view.setUint32(offset + 12, (crc32c(payload) ^ mask) >>> 0, true);
  const header = bytes.subarray(offset, offset + HEADER_CHECKSUM_OFFSET);
  view.setUint32(offset + HEADER_CHECKSUM_OFFSET, (crc32c(header) ^ mask) >>> 0, true);
  return end;
}

/** Reads and verifies the record at `offset`, which must end at or before `end`. */
export function readRecord(
  bytes: Uint8Array,
  offset: number,
  end: number,
  mask: number,
): RecordOutcome {
  const damaged = (
    what: string,
    facts: { group: GroupId; index: number } | null = null,
    isUnknownType = false,
  ): RecordOutcome => ({
    kind: 'damaged',
    damage: {
      what,
      offset,
      group: facts?.group ?? null,
      index: facts?.index ?? null,
      isUnknownType,
    },
  });
  if (offset + RECORD_HEADER_SIZE_BYTES > end) return damaged('record header is cut');
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, RECORD_HEADER_SIZE_BYTES);
  const header = bytes.subarray(offset, offset + HEADER_CHECKSUM_OFFSET);
  const headerChecksum = (crc32c(header) ^ mask) >>> 0;
  if (view.getUint32(HEADER_CHECKSUM_OFFSET, true) !== headerChecksum) {
    return damaged('record header fails its checksum');
  }
  const group = groupId(view.getUint32(8, true));
  const index = logIndex(readU64(view, 16));
  const payloadStart = offset + RECORD_HEADER_SIZE_BYTES;
  const payloadEnd = payloadStart + view.getUint32(0, true);
  if (payloadEnd > end) return damaged('record payload is cut', { group, index });
  const payload = bytes.subarray(payloadStart, payloadEnd);
  if (view.getUint32(12, true) !== (crc32c(payload) ^ mask) >>> 0) {
    return damaged('record payload fails its checksum', { group, index });
  }
  if (!TYPE_BY_CODE.has(view.getUint32(4, true))) {
    return damaged('record type is unknown', { group, index }, true);
  }
  return { kind: 'record', record: viewRecord(bytes, offset) };
}

/** The record at `offset`, unverified: only for bytes that were verified or made here. */
export function viewRecord(bytes: Uint8Array, offset: number): WalRecord {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, RECORD_HEADER_SIZE_BYTES);
  const payloadStart = offset + RECORD_HEADER_SIZE_BYTES;
  const payloadEnd = payloadStart + view.getUint32(0, true);
  return {
    type: must(TYPE_BY_CODE.get(view.getUint32(4, true)), 'record type must be known'),
    group: groupId(view.getUint32(8, true)),
    index: logIndex(readU64(view, 16)),
    term: term(readU64(view, 24)),
    sum: bytes.subarray(offset + 32, offset + HEADER_CHECKSUM_OFFSET),
    payload: bytes.subarray(payloadStart, payloadEnd),
    offset,
    sizeBytes: payloadEnd - offset,
  };
}
