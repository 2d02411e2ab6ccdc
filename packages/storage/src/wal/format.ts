/**
 * WAL format version 2: names, file header and batch header. Little-endian.
 *
 * File `<fileId, 16 digits>.wal`, numbered without gaps, zero-filled ahead of time:
 *   file header in the first 4 KiB: magic, version, algorithm ids, file id, epoch, watermark
 *   batches, each starting at a multiple of 512 bytes, zeros after the last one
 * Batch = one write and one fdatasync: 64-byte header, the confirmation of the batch before
 * (confirmation.ts), then records (record.ts).
 *
 * Invariants:
 * - a batch number (boot epoch, counter) is never used twice, not even after a dropped tail;
 * - a batch is written only after the fdatasync of the one before it returned, and names it as
 *   its watermark: a valid batch header proves that every batch before it was durable;
 * - the file id is mixed into every checksum and the header holds its own offset, so bytes of
 *   another file or place never verify.
 */
import { assert, HoldfastError, readU64, writeU64 } from '@holdfast/base';
import { crc32c, ENTRY_HASH_ALGORITHM_ID } from '../checksum.ts';
import { joinPath } from '../fs.ts';

export const WAL_FORMAT_VERSION = 2;
/** Bytes 'HFWL'. */
export const WAL_FILE_MAGIC = 0x4c57_4648;
/** Bytes 'HFWB'. */
export const WAL_BATCH_MAGIC = 0x4257_4648;
/** crc32c; the id table is in checksum.ts. */
const CHECKSUM_ALGORITHM_ID = 1;
export const FILE_HEADER_SIZE_BYTES = 64;
/** The first batch starts in a page of its own. */
export const FIRST_BATCH_OFFSET = 4096;
/** A batch never shares a sector with another, so a torn write cannot reach back. */
export const BATCH_ALIGNMENT_BYTES = 512;
export const BATCH_HEADER_SIZE_BYTES = 64;
/**
 * A batch that only confirms the one before starts here or further: two batches that prove each
 * other must not be lost with one page.
 */
export const PAGE_SIZE_BYTES = 4096;
/** Offsets are u32 on disk. */
export const WAL_FILE_SIZE_BYTES_MAX = 0xffff_fe00;

const NAME_PATTERN = /^(\d{16})\.wal$/;
const EPOCH_FACTOR = 0x1_0000_0000;
/** Keeps a batch number a safe integer. */
export const EPOCH_MAX = 0x1f_ffff;

export const walFileName = (fileId: number): string => `${String(fileId).padStart(16, '0')}.wal`;
export const walFilePath = (directory: string, fileId: number): string =>
  joinPath(directory, walFileName(fileId));

/** The file id in a name, or null when it is no log file. */
export function parseWalFileName(name: string): number | null {
  const digits = NAME_PATTERN.exec(name)?.[1];
  return digits === undefined ? null : Number(digits);
}

export const alignBatch = (sizeBytes: number): number =>
  Math.ceil(sizeBytes / BATCH_ALIGNMENT_BYTES) * BATCH_ALIGNMENT_BYTES;

export const alignPage = (offset: number): number =>
  Math.ceil(offset / PAGE_SIZE_BYTES) * PAGE_SIZE_BYTES;

/** (epoch, counter) as one number that orders batches. 0 is "no batch". */
export function batchNumber(epoch: number, counter: number): number {
  assert(epoch >= 0 && epoch <= EPOCH_MAX, 'wal epoch is out of range', { epoch });
  assert(counter >= 0 && counter < EPOCH_FACTOR, 'wal batch counter is out of range', { counter });
  return epoch * EPOCH_FACTOR + counter;
}

export const epochOf = (batch: number): number => Math.floor(batch / EPOCH_FACTOR);
export const counterOf = (batch: number): number => batch % EPOCH_FACTOR;
export const describeBatch = (batch: number): string => `${epochOf(batch)}:${counterOf(batch)}`;

/** What every checksum of a file is xored with; differs between any two file ids below 2^32. */
export function checksumMask(fileId: number): number {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, fileId, true);
  return crc32c(bytes);
}

export interface WalFileHeader {
  readonly fileId: number;
  /** Boot epoch that made the file. */
  readonly epoch: number;
  /** Newest batch known durable when the file was made; it is in an earlier file. */
  readonly watermark: number;
}

export function encodeFileHeader(header: WalFileHeader): Uint8Array {
  const bytes = new Uint8Array(FILE_HEADER_SIZE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, WAL_FILE_MAGIC, true);
  view.setUint16(4, WAL_FORMAT_VERSION, true);
  view.setUint16(6, CHECKSUM_ALGORITHM_ID, true);
  view.setUint16(8, ENTRY_HASH_ALGORITHM_ID, true);
  writeU64(view, 16, header.fileId);
  writeU64(view, 24, header.epoch);
  writeU64(view, 32, header.watermark);
  const checksum = crc32c(bytes.subarray(0, 60)) ^ checksumMask(header.fileId);
  view.setUint32(60, checksum >>> 0, true);
  return bytes;
}

/**
 * Null when the bytes are no file header of `fileId`.
 * @throws HoldfastError FORMAT_UNKNOWN when they are one of another version or algorithm
 */
export function decodeFileHeader(
  bytes: Uint8Array,
  fileId: number,
  path: string,
): WalFileHeader | null {
  if (bytes.byteLength < FILE_HEADER_SIZE_BYTES) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const expected = (crc32c(bytes.subarray(0, 60)) ^ checksumMask(fileId)) >>> 0;
  if (view.getUint32(60, true) !== expected) return null;
  if (view.getUint32(0, true) !== WAL_FILE_MAGIC) return null;
  const version = view.getUint16(4, true);
  if (version !== WAL_FORMAT_VERSION) throw unknownVersion(path, version);
  const checksumId = view.getUint16(6, true);
  if (checksumId !== CHECKSUM_ALGORITHM_ID) throw unknownFormat(path, 'checksum', checksumId);
  const hashId = view.getUint16(8, true);
  if (hashId !== ENTRY_HASH_ALGORITHM_ID) throw unknownFormat(path, 'entry hash', hashId);
  if (readU64(view, 16) !== fileId) return null;
  return { fileId, epoch: readU64(view, 24), watermark: readU64(view, 32) };
}

export interface BatchHeader {
  readonly batch: number;
  /** The batch before this one: durable when this header was written. */
  readonly watermark: number;
  readonly recordCount: number;
  /** Between the header and the records. */
  readonly confirmationSizeBytes: number;
  /** crc32c of the confirmation, unmasked. */
  readonly confirmationChecksum: number;
  readonly payloadSizeBytes: number;
  /** crc32c of the payload, unmasked. */
  readonly payloadChecksum: number;
}

/** Where the records of a batch at `offset` start. */
export const payloadStart = (header: BatchHeader, offset: number): number =>
  offset + BATCH_HEADER_SIZE_BYTES + header.confirmationSizeBytes;

/** Bytes from the start of a batch to where the next one may start. */
export const batchSizeBytes = (confirmationSizeBytes: number, payloadSizeBytes: number): number =>
  alignBatch(BATCH_HEADER_SIZE_BYTES + confirmationSizeBytes + payloadSizeBytes);

export function encodeBatchHeader(
  header: BatchHeader,
  fileId: number,
  offset: number,
  mask: number,
): Uint8Array {
  const bytes = new Uint8Array(BATCH_HEADER_SIZE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, WAL_BATCH_MAGIC, true);
  view.setUint16(4, WAL_FORMAT_VERSION, true);
  view.setUint16(6, BATCH_HEADER_SIZE_BYTES, true);
  writeU64(view, 8, fileId);
  writeU64(view, 16, header.batch);
  writeU64(view, 24, header.watermark);
  view.setUint32(32, header.recordCount, true);
  view.setUint32(36, header.payloadSizeBytes, true);
  view.setUint32(40, (header.payloadChecksum ^ mask) >>> 0, true);
  view.setUint32(44, offset, true);
  view.setUint32(48, header.confirmationSizeBytes, true);
  view.setUint32(52, (header.confirmationChecksum ^ mask) >>> 0, true);
  view.setUint32(60, (crc32c(bytes.subarray(0, 60)) ^ mask) >>> 0, true);
  return bytes;
}

/**
 * Null when the bytes at `offset` are no batch header written there; `bytes` starts at
 * `fileOffset` of its file.
 */
export function decodeBatchHeader(
  bytes: Uint8Array,
  fileId: number,
  offset: number,
  mask: number,
  fileOffset = 0,
): BatchHeader | null {
  if (offset + BATCH_HEADER_SIZE_BYTES > bytes.byteLength) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, BATCH_HEADER_SIZE_BYTES);
  if (view.getUint32(0, true) !== WAL_BATCH_MAGIC) return null;
  const checksum = crc32c(bytes.subarray(offset, offset + 60));
  if (view.getUint32(60, true) !== (checksum ^ mask) >>> 0) return null;
  if (view.getUint16(4, true) !== WAL_FORMAT_VERSION) return null;
  if (readU64(view, 8) !== fileId || view.getUint32(44, true) !== fileOffset + offset) {
    return null;
  }
  return {
    batch: readU64(view, 16),
    watermark: readU64(view, 24),
    recordCount: view.getUint32(32, true),
    confirmationSizeBytes: view.getUint32(48, true),
    confirmationChecksum: (view.getUint32(52, true) ^ mask) >>> 0,
    payloadSizeBytes: view.getUint32(36, true),
    payloadChecksum: (view.getUint32(40, true) ^ mask) >>> 0,
  };
}

function unknownVersion(file: string, version: number): HoldfastError {
  const advice =
    version > WAL_FORMAT_VERSION
      ? 'upgrade this node'
      : 'no release wrote it; format the data directory anew and let the node rejoin';
  const message =
    `${file} has log format version ${version}, this program reads and writes version ` +
    `${WAL_FORMAT_VERSION}: ${advice}`;
  return new HoldfastError('FORMAT_UNKNOWN', message, {
    details: { file, field: 'version', value: version, known: WAL_FORMAT_VERSION },
  });
}

function unknownFormat(file: string, field: string, value: number): HoldfastError {
  const message = `${file} has the unknown ${field} ${value}: upgrade this node`;
  return new HoldfastError('FORMAT_UNKNOWN', message, { details: { file, field, value } });
}
