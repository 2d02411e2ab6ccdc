/** Reads batches out of the bytes of one log file and says exactly what is wrong with a bad one. */
import { HoldfastError } from '@holdfast/base';
import { crc32c } from '../checksum.ts';
import type { Confirmation } from './confirmation.ts';
import { decodeConfirmation } from './confirmation.ts';
import type { BatchHeader } from './format.ts';
import {
  BATCH_ALIGNMENT_BYTES,
  BATCH_HEADER_SIZE_BYTES,
  batchSizeBytes,
  decodeBatchHeader,
  payloadStart,
} from './format.ts';
import type { WalRecord } from './record.ts';
import type { SalvageItem } from './salvage.ts';
import { salvageBatch } from './salvage.ts';

/** A batch whose header verifies. */
export interface ParsedBatch {
  readonly header: BatchHeader;
  readonly offset: number;
  /** Aligned: the next batch may start at offset + sizeBytes. */
  readonly sizeBytes: number;
  /** Null when its bytes are bad: then it confirms nothing. */
  readonly confirmation: Confirmation | null;
  readonly content:
    | { readonly kind: 'whole'; readonly records: readonly WalRecord[] }
    | {
        readonly kind: 'damaged';
        readonly items: readonly SalvageItem[];
        readonly what: string;
        /** Offset of the first damaged record. */
        readonly offset: number;
        /** Log index of the first damaged record when its header says so. */
        readonly index: number | null;
        readonly unknownTypeAt: number | null;
      };
}

/**
 * The batch whose header is at `offset` of `bytes`, or null when no valid header is there. `bytes`
 * starts at `fileOffset` of its file, and offsets in what is returned are those of the file.
 */
export function readBatch(
  bytes: Uint8Array,
  fileId: number,
  offset: number,
  mask: number,
  fileOffset = 0,
): ParsedBatch | null {
  const header = decodeBatchHeader(bytes, fileId, offset, mask, fileOffset);
  if (header === null) return null;
  const confirmation = readConfirmation(bytes, offset, header);
  const sizeBytes = batchSizeBytes(header.confirmationSizeBytes, header.payloadSizeBytes);
  const start = payloadStart(header, offset);
  const end = start + header.payloadSizeBytes;
  const isWhole =
    end <= bytes.byteLength && crc32c(bytes.subarray(start, end)) === header.payloadChecksum;
  const { items, unknownTypeAt } = salvageBatch(bytes, header, offset, mask, fileOffset);
  const records = items.flatMap((item) => (item.kind === 'record' ? [item.record] : []));
  const place = { header, offset: fileOffset + offset, sizeBytes, confirmation };
  if (isWhole && records.length === header.recordCount && records.length === items.length) {
    return { ...place, content: { kind: 'whole', records } };
  }
  const first = items.find((item) => item.kind !== 'record');
  const what = first === undefined ? 'batch payload fails its checksum' : first.what;
  const index = first?.kind === 'named' && first.name.index > 0 ? first.name.index : null;
  const damage = { items, what, offset: first?.offset ?? fileOffset + start, index, unknownTypeAt };
  return { ...place, content: { kind: 'damaged', ...damage } };
}

function readConfirmation(
  bytes: Uint8Array,
  offset: number,
  header: BatchHeader,
): Confirmation | null {
  const start = offset + BATCH_HEADER_SIZE_BYTES;
  const end = start + header.confirmationSizeBytes;
  const view = bytes.subarray(start, Math.min(end, bytes.byteLength));
  if (end > bytes.byteLength || crc32c(view) !== header.confirmationChecksum) return null;
  try {
    return decodeConfirmation(view);
  } catch (error) {
    // It verifies and makes no sense: it proves nothing, as if it were not there.
    if (error instanceof HoldfastError) return null;
    throw error;
  }
}

/** The first batch with a valid header at or after `from`, at a place where one may start. */
export function findBatch(
  bytes: Uint8Array,
  fileId: number,
  from: number,
  mask: number,
): ParsedBatch | null {
  for (let offset = from; offset < bytes.byteLength; offset += BATCH_ALIGNMENT_BYTES) {
    const batch = readBatch(bytes, fileId, offset, mask);
    if (batch !== null) return batch;
  }
  return null;
}

/** True when every byte of [start, end) that exists is zero. */
export function isZero(bytes: Uint8Array, start: number, end: number): boolean {
  const stop = Math.min(end, bytes.byteLength);
  for (let i = start; i < stop; i++) if (bytes[i] !== 0) return false;
  return true;
}
