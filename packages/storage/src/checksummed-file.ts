/**
 * Immutable block files: segments, manifests, meta state. Layout of format version 1, all numbers
 * little-endian:
 *   header, 64 bytes: magic "HFBF", version u16, kind u16, checksum algorithm u16, zero u16,
 *     block size u32, payload size u64, zeros, crc32c of the 60 bytes before it
 *   then per block: up to 64 KiB of payload, checksum over (block bytes, block number u64)
 * Invariants: a file is complete and durable before it has its name; no byte is handed out before
 * the checksum of its block was verified; equal payload, kind and algorithm give equal files.
 */
import { assert, HoldfastError, readU64, writeU64 } from '@holdfast/base';
import { replaceFile } from './atomic-file.ts';
import type { ChecksumAlgorithm, ChecksumAlgorithmFacts } from './checksum.ts';
import {
  checksumAlgorithmById,
  checksumAlgorithms,
  crc32c,
  createStreamDigest,
} from './checksum.ts';
import type { Damage } from './damage.ts';
import type { FileHandle, FileSystem } from './fs.ts';

export const CHECKSUMMED_FILE_MAGIC = 0x4642_4648;
export const CHECKSUMMED_FILE_VERSION = 1;
export const BLOCK_SIZE_BYTES = 65_536;
export const CHECKSUMMED_FILE_HEADER_SIZE_BYTES = 64;

/** Codes are stored in files and never change. */
const KIND_CODES = { segment: 1, growing: 2, manifest: 3, meta: 4 } as const;
export type ChecksummedFileKind = keyof typeof KIND_CODES;

export interface ChecksummedFileOptions {
  readonly kind: ChecksummedFileKind;
  readonly algorithm: ChecksumAlgorithm;
}

export interface ChecksummedFileFacts {
  readonly sizeBytes: number;
  readonly payloadSizeBytes: number;
  /** sha256, hex, over all blocks with their checksums, then the header. */
  readonly checksum: string;
}

interface Header {
  readonly kind: ChecksummedFileKind;
  readonly algorithm: ChecksumAlgorithm;
  readonly payloadSizeBytes: number;
}

/**
 * Writes `chunks` as one file, atomically and durably; memory stays at one block plus one chunk.
 * @throws HoldfastError FILE_IO; the old file, if any, is then still in place
 */
export function writeChecksummedFile(
  fileSystem: FileSystem,
  path: string,
  options: ChecksummedFileOptions,
  chunks: Iterable<Uint8Array>,
): ChecksummedFileFacts {
  return replaceFile(fileSystem, path, (handle) => {
    const writer = new BlockWriter(handle, checksumAlgorithms[options.algorithm]);
    for (const chunk of chunks) writer.append(chunk);
    return writer.finish(options);
  });
}

class BlockWriter {
  readonly #handle: FileHandle;
  readonly #facts: ChecksumAlgorithmFacts;
  readonly #digest = createStreamDigest();
  readonly #block = new Uint8Array(BLOCK_SIZE_BYTES);
  #filled = 0;
  #blockNumber = 0;
  #position = CHECKSUMMED_FILE_HEADER_SIZE_BYTES;
  #payloadSizeBytes = 0;

  constructor(handle: FileHandle, facts: ChecksumAlgorithmFacts) {
    this.#handle = handle;
    this.#facts = facts;
  }

  append(chunk: Uint8Array): void {
    let offset = 0;
    while (offset < chunk.byteLength) {
      const count = Math.min(BLOCK_SIZE_BYTES - this.#filled, chunk.byteLength - offset);
      this.#block.set(chunk.subarray(offset, offset + count), this.#filled);
      this.#filled += count;
      offset += count;
      if (this.#filled === BLOCK_SIZE_BYTES) this.#flush();
    }
    this.#payloadSizeBytes += chunk.byteLength;
  }

  finish(options: ChecksummedFileOptions): ChecksummedFileFacts {
    if (this.#filled > 0) this.#flush();
    const payloadSizeBytes = this.#payloadSizeBytes;
    const header = encodeHeader({ ...options, payloadSizeBytes });
    this.#handle.write([header], 0);
    this.#digest.update(header);
    const checksum = this.#digest.finishHex();
    return { sizeBytes: this.#position, payloadSizeBytes, checksum };
  }

  #flush(): void {
    const bytes = this.#block.subarray(0, this.#filled);
    const checksum = blockChecksum(this.#facts, bytes, this.#blockNumber);
    this.#handle.write([bytes, checksum], this.#position);
    this.#digest.update(bytes);
    this.#digest.update(checksum);
    this.#position += bytes.byteLength + checksum.byteLength;
    this.#blockNumber += 1;
    this.#filled = 0;
  }
}

/** The block number is part of the checksum: a block at another block's place never verifies. */
function blockChecksum(facts: ChecksumAlgorithmFacts, bytes: Uint8Array, number: number) {
  const suffix = new Uint8Array(8);
  writeU64(new DataView(suffix.buffer), 0, number);
  return facts.compute([bytes, suffix]);
}

/** An open, verified-on-read block file. Close it. */
export class ChecksummedFileReader {
  readonly path: string;
  readonly kind: ChecksummedFileKind;
  readonly algorithm: ChecksumAlgorithm;
  readonly payloadSizeBytes: number;
  readonly #handle: FileHandle;
  readonly #facts: ChecksumAlgorithmFacts;

  private constructor(handle: FileHandle, header: Header) {
    this.path = handle.path;
    this.kind = header.kind;
    this.algorithm = header.algorithm;
    this.payloadSizeBytes = header.payloadSizeBytes;
    this.#handle = handle;
    this.#facts = checksumAlgorithms[header.algorithm];
  }

  /**
   * Verifies header and size, not the blocks.
   * @throws HoldfastError SEGMENT_CORRUPT (segment, growing), FILE_CORRUPT (others),
   *   FORMAT_UNKNOWN, FILE_IO
   */
  static open(
    fileSystem: FileSystem,
    path: string,
    kind: ChecksummedFileKind,
  ): ChecksummedFileReader {
    return ChecksummedFileReader.#open(fileSystem, path, kind);
  }

  /** As `open`, for a file of any kind. */
  static openAny(fileSystem: FileSystem, path: string): ChecksummedFileReader {
    return ChecksummedFileReader.#open(fileSystem, path, null);
  }

  static #open(
    fileSystem: FileSystem,
    path: string,
    kind: ChecksummedFileKind | null,
  ): ChecksummedFileReader {
    const handle = fileSystem.open(path, 'read');
    try {
      const header = readHeader(handle, kind ?? 'meta');
      if (kind !== null && header.kind !== kind) {
        throw corrupt(kind, path, 6, `holds a ${header.kind}, not a ${kind}`);
      }
      const facts = checksumAlgorithms[header.algorithm];
      const expected = fileSizeBytes(header.payloadSizeBytes, facts.sizeBytes);
      const actual = handle.sizeBytes();
      if (actual !== expected) {
        const what = `is ${actual} bytes long and must be ${expected}`;
        throw corrupt(header.kind, path, Math.min(actual, expected), what);
      }
      return new ChecksummedFileReader(handle, header);
    } catch (error) {
      handle.close();
      throw error;
    }
  }

  /**
   * A fresh copy of payload bytes, every touched block verified.
   * @throws HoldfastError SEGMENT_CORRUPT or FILE_CORRUPT with file and offset
   */
  read(offset: number, length: number): Uint8Array {
    assert(offset >= 0 && length >= 0, 'read range must not be negative', { offset, length });
    assert(offset + length <= this.payloadSizeBytes, 'read range must be inside the payload', {
      offset,
      length,
      payloadSizeBytes: this.payloadSizeBytes,
    });
    const result = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const position = offset + done;
      const block = this.readBlock(Math.floor(position / BLOCK_SIZE_BYTES));
      const start = position % BLOCK_SIZE_BYTES;
      const count = Math.min(block.byteLength - start, length - done);
      result.set(block.subarray(start, start + count), done);
      done += count;
    }
    return result;
  }

  readAll(): Uint8Array {
    return this.read(0, this.payloadSizeBytes);
  }

  /** The payload from start to end in pieces of at most `chunkSizeBytes`. */
  *stream(chunkSizeBytes: number): Generator<Uint8Array> {
    assert(chunkSizeBytes >= 1, 'chunk size must be positive', { chunkSizeBytes });
    for (let offset = 0; offset < this.payloadSizeBytes; offset += chunkSizeBytes) {
      yield this.read(offset, Math.min(chunkSizeBytes, this.payloadSizeBytes - offset));
    }
  }

  get blockCount(): number {
    return Math.ceil(this.payloadSizeBytes / BLOCK_SIZE_BYTES);
  }

  /** One verified block: what repair copies between replicas. */
  readBlock(blockNumber: number): Uint8Array {
    assert(blockNumber >= 0 && blockNumber < this.blockCount, 'block must exist', { blockNumber });
    const start = blockNumber * BLOCK_SIZE_BYTES;
    const size = Math.min(BLOCK_SIZE_BYTES, this.payloadSizeBytes - start);
    const checksumSize = this.#facts.sizeBytes;
    const position =
      CHECKSUMMED_FILE_HEADER_SIZE_BYTES + blockNumber * (BLOCK_SIZE_BYTES + checksumSize);
    const stored = new Uint8Array(size + checksumSize);
    const count = this.#handle.read(stored, position);
    if (count !== stored.byteLength) throw corrupt(this.kind, this.path, position, 'is cut');
    const bytes = stored.subarray(0, size);
    const expected = blockChecksum(this.#facts, bytes, blockNumber);
    if (Buffer.compare(expected, stored.subarray(size)) !== 0) {
      throw corrupt(this.kind, this.path, position, `fails the checksum of block ${blockNumber}`);
    }
    return bytes;
  }

  close(): void {
    this.#handle.close();
  }
}

/** Every damaged block of the file; empty when all is well. Never throws for damage. */
export function verifyChecksummedFile(fileSystem: FileSystem, path: string): readonly Damage[] {
  const damage: Damage[] = [];
  const collect = (body: () => void): void => {
    try {
      body();
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      const offset = typeof error.details.offset === 'number' ? error.details.offset : null;
      damage.push({ file: path, offset, what: error.message, severity: 'damage' });
    }
  };
  collect(() => {
    const reader = ChecksummedFileReader.openAny(fileSystem, path);
    try {
      for (let block = 0; block < reader.blockCount; block++) {
        collect(() => reader.readBlock(block));
      }
    } finally {
      reader.close();
    }
  });
  return damage;
}

/** Recomputes `ChecksummedFileFacts.checksum` from the bytes of the file as they are. */
export function digestChecksummedFile(fileSystem: FileSystem, path: string): string {
  const handle = fileSystem.open(path, 'read');
  try {
    const digest = createStreamDigest();
    const size = handle.sizeBytes();
    const buffer = new Uint8Array(BLOCK_SIZE_BYTES);
    for (let at = CHECKSUMMED_FILE_HEADER_SIZE_BYTES; at < size; at += buffer.byteLength) {
      digest.update(buffer.slice(0, handle.read(buffer, at)));
    }
    const header = new Uint8Array(CHECKSUMMED_FILE_HEADER_SIZE_BYTES);
    digest.update(header.subarray(0, handle.read(header, 0)));
    return digest.finishHex();
  } finally {
    handle.close();
  }
}

function fileSizeBytes(payloadSizeBytes: number, checksumSizeBytes: number): number {
  const blockCount = Math.ceil(payloadSizeBytes / BLOCK_SIZE_BYTES);
  return CHECKSUMMED_FILE_HEADER_SIZE_BYTES + payloadSizeBytes + blockCount * checksumSizeBytes;
}

function encodeHeader(header: Header): Uint8Array {
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

function readHeader(handle: FileHandle, kindForError: ChecksummedFileKind): Header {
  const bytes = new Uint8Array(CHECKSUMMED_FILE_HEADER_SIZE_BYTES);
  const fail = (offset: number, what: string) => corrupt(kindForError, handle.path, offset, what);
  if (handle.read(bytes, 0) !== bytes.byteLength) throw fail(0, 'is shorter than its header');
  const view = new DataView(bytes.buffer);
  if (view.getUint32(60, true) !== crc32c(bytes.subarray(0, 60))) {
    throw fail(0, 'fails the checksum of its header');
  }
  if (view.getUint32(0, true) !== CHECKSUMMED_FILE_MAGIC) throw fail(0, 'is not a block file');
  const version = view.getUint16(4, true);
  if (version !== CHECKSUMMED_FILE_VERSION) throw unknownFormat(handle.path, 'version', version);
  const kindCode = view.getUint16(6, true);
  const kinds = Object.keys(KIND_CODES) as ChecksummedFileKind[];
  const kind = kinds.find((name) => KIND_CODES[name] === kindCode);
  if (kind === undefined) throw unknownFormat(handle.path, 'kind', kindCode);
  const algorithmId = view.getUint16(8, true);
  const algorithm = checksumAlgorithmById(algorithmId);
  if (algorithm === undefined) throw unknownFormat(handle.path, 'checksum', algorithmId);
  const blockSize = view.getUint32(12, true);
  if (blockSize !== BLOCK_SIZE_BYTES) throw unknownFormat(handle.path, 'block size', blockSize);
  return { kind, algorithm, payloadSizeBytes: readU64(view, 16) };
}

function corrupt(
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
