/**
 * Layout of block files, format version 1, all numbers little-endian:
 *   header, 64 bytes: magic "HFBF", version u16, kind u16, checksum algorithm u16, zero u16,
 *     block size u32, payload size u64, zeros, crc32c of the 60 bytes before it
 *   then per block: up to 64 KiB of payload, checksum over (block bytes, block number u64)
 */
import { HoldfastError, readU64, writeU64 } from '@holdfast/base';
import type { ChecksumAlgorithm, ChecksumAlgorithmFacts } from './checksum.ts';
import { checksumAlgorithmById, checksumAlgorithms, crc32c } from './checksum.ts';
import type { FileHandle } from './fs.ts';

export const CHECKSUMMED_FILE_MAGIC = 0x4642_4648;
export const CHECKSUMMED_FILE_VERSION = 1;
export const BLOCK_SIZE_BYTES = 65_536;
export const CHECKSUMMED_FILE_HEADER_SIZE_BYTES = 64;

/** Codes are stored in files and never change. */
const KIND_CODES = { segment: 1, growing: 2, manifest: 3, meta: 4, graph: 5 } as const;
export type ChecksummedFileKind = keyof typeof KIND_CODES;

export interface Header {
  readonly kind: ChecksummedFileKind;
  readonly algorithm: ChecksumAlgorithm;
  readonly payloadSizeBytes: number;
}

/** The block number is part of the checksum: a block at another block's place never verifies. */
export function blockChecksum(facts: ChecksumAlgorithmFacts, bytes: Uint8Array, number: number) {
  const suffix = new Uint8Array(8);
  writeU64(new DataView(suffix.buffer), 0, number);
  return facts.compute([bytes, suffix]);
}

export function fileSizeBytes(payloadSizeBytes: number, checksumSizeBytes: number): number {
  const blockCount = Math.ceil(payloadSizeBytes / BLOCK_SIZE_BYTES);
  return CHECKSUMMED_FILE_HEADER_SIZE_BYTES + payloadSizeBytes + blockCount * checksumSizeBytes;
}

export function encodeHeader(header: Header): Uint8Array {
  const bytes = new Uint8Array(CHECKSUMMED_FILE_HEADER_SIZE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, CHECKSUMMED_FILE_MAGIC, true);
  view.setUint16(4, CHECKSUMMED_FILE_VERSION, true);
  view.setUint16(6, KIND_CODES[header.kind], true);
  view.setUint16(8, checksumAlgorithms[header.algorithm].id, true);
  view.setUint32(12, BLOCK_SIZE_BYTES, true);
  writeU64(view, 16, header.payloadSizeBytes);
  view.setUint32(60, crc32c(bytes.subarray(0, 60)), true);
  return bytes;
}

export function readHeader(handle: FileHandle, kindForError: ChecksummedFileKind): Header {
  const bytes = new Uint8Array(CHECKSUMMED_FILE_HEADER_SIZE_BYTES);
  return parseHeader(bytes.subarray(0, handle.read(bytes, 0)), handle.path, kindForError);
}

/** @throws HoldfastError SEGMENT_CORRUPT or FILE_CORRUPT by `kindForError`, FORMAT_UNKNOWN */
export function parseHeader(
  bytes: Uint8Array,
  path: string,
  kindForError: ChecksummedFileKind,
): Header {
  const fail = (offset: number, what: string) => corrupt(kindForError, path, offset, what);
  if (bytes.byteLength !== CHECKSUMMED_FILE_HEADER_SIZE_BYTES) {
    throw fail(0, 'is shorter than its header');
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(60, true) !== crc32c(bytes.subarray(0, 60))) {
    throw fail(0, 'fails the checksum of its header');
  }
  if (view.getUint32(0, true) !== CHECKSUMMED_FILE_MAGIC) throw fail(0, 'is not a block file');
  const version = view.getUint16(4, true);
  if (version !== CHECKSUMMED_FILE_VERSION) throw unknownFormat(path, 'version', version);
  const kindCode = view.getUint16(6, true);
  const kinds = Object.keys(KIND_CODES) as ChecksummedFileKind[];
  const kind = kinds.find((name) => KIND_CODES[name] === kindCode);
  if (kind === undefined) throw unknownFormat(path, 'kind', kindCode);
  const algorithmId = view.getUint16(8, true);
  const algorithm = checksumAlgorithmById(algorithmId);
  if (algorithm === undefined) throw unknownFormat(path, 'checksum', algorithmId);
  const blockSize = view.getUint32(12, true);
  if (blockSize !== BLOCK_SIZE_BYTES) throw unknownFormat(path, 'block size', blockSize);
  return { kind, algorithm, payloadSizeBytes: readU64(view, 16) };
}

export function corrupt(
  kind: ChecksummedFileKind,
  file: string,
  offset: number,
  what: string,
): HoldfastError {
  const code = kind === 'segment' || kind === 'growing' ? 'SEGMENT_CORRUPT' : 'FILE_CORRUPT';
  const message = `${file} ${what} (offset ${offset}): restore it from another replica`;
  return new HoldfastError(code, message, { details: { file, offset, kind } });
}

function unknownFormat(file: string, field: string, value: number): HoldfastError {
  const message = `${file} has the unknown ${field} ${value}: upgrade this node`;
  return new HoldfastError('FORMAT_UNKNOWN', message, { details: { file, field, value } });
}
