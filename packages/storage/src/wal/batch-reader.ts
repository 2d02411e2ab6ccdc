/** Reads batches out of the bytes of one log file and says exactly what is wrong with a bad one. */
import { crc32c } from '../checksum.ts';
import type { BatchHeader } from './format.ts';
import {
  alignBatch,
  BATCH_ALIGNMENT_BYTES,
  BATCH_HEADER_SIZE_BYTES,
  decodeBatchHeader,
} from './format.ts';
import type { RecordDamage, WalRecord } from './record.ts';
import { readRecord } from './record.ts';

export interface ParsedBatch {
  readonly header: BatchHeader;
  readonly offset: number;
  /** Aligned: the next batch may start at offset + sizeBytes. */
  readonly sizeBytes: number;
  readonly records: readonly WalRecord[];
}

export type BatchOutcome =
  | { readonly kind: 'batch'; readonly batch: ParsedBatch }
  /** Where a header would be there are only zeros, or the file ends. */
  | { readonly kind: 'end' }
  | {
      readonly kind: 'damaged';
      /** Present when the header verifies and only the payload is bad. */
      readonly header: BatchHeader | null;
      readonly damage: RecordDamage;
    };

export function readBatch(
  bytes: Uint8Array,
  fileId: number,
  offset: number,
  mask: number,
): BatchOutcome {
  if (isZero(bytes, offset, offset + BATCH_HEADER_SIZE_BYTES)) return { kind: 'end' };
  const header = decodeBatchHeader(bytes, fileId, offset, mask);
  const damaged = (what: string): BatchOutcome => ({
    kind: 'damaged',
    header,
    damage: { what, offset, group: null, index: null, isUnknownType: false },
  });
  if (header === null) return damaged('batch header fails its checksum');
  const start = offset + BATCH_HEADER_SIZE_BYTES;
  const end = start + header.payloadSizeBytes;
  if (end > bytes.byteLength) return damaged('batch is cut by the end of the file');
  const records: WalRecord[] = [];
  for (let at = start; at < end; ) {
    const outcome = readRecord(bytes, at, end, mask);
    if (outcome.kind === 'damaged') return { kind: 'damaged', header, damage: outcome.damage };
    records.push(outcome.record);
    at += outcome.record.sizeBytes;
  }
  if (records.length !== header.recordCount) return damaged('batch has another number of records');
  if (crc32c(bytes.subarray(start, end)) !== header.payloadChecksum) {
    return damaged('batch payload fails its checksum');
  }
  const sizeBytes = alignBatch(BATCH_HEADER_SIZE_BYTES + header.payloadSizeBytes);
  return { kind: 'batch', batch: { header, offset, sizeBytes, records } };
}

/** The first valid batch header at or after `from`, at a place where a batch may start. */
export function findBatchHeader(
  bytes: Uint8Array,
  fileId: number,
  from: number,
  mask: number,
): { readonly offset: number; readonly header: BatchHeader } | null {
  for (let offset = from; offset < bytes.byteLength; offset += BATCH_ALIGNMENT_BYTES) {
    const header = decodeBatchHeader(bytes, fileId, offset, mask);
    if (header !== null) return { offset, header };
  }
  return null;
}

/** True when every byte of [start, end) that exists is zero. */
export function isZero(bytes: Uint8Array, start: number, end: number): boolean {
  const stop = Math.min(end, bytes.byteLength);
  for (let i = start; i < stop; i++) if (bytes[i] !== 0) return false;
  return true;
}
