/**
 * Reading and verifying immutable block files: segments, manifests, meta state (layout in
 * checksummed-layout.ts, writing in checksummed-writer.ts).
 *
 * Invariants: a file is complete and durable before it has its name; no byte is handed out before
 * the checksum of its block was verified; equal payload, kind and algorithm give equal files.
 */
import { assert, HoldfastError } from '@holdfast/base';
import type { ChecksumAlgorithm, ChecksumAlgorithmFacts } from './checksum.ts';
import { checksumAlgorithms } from './checksum.ts';
import { digestSteps } from './checksummed-check.ts';
import type { ChecksummedFileKind, Header } from './checksummed-layout.ts';
import {
  BLOCK_SIZE_BYTES,
  blockChecksum,
  CHECKSUMMED_FILE_HEADER_SIZE_BYTES,
  corrupt,
  fileSizeBytes,
  readHeader,
} from './checksummed-layout.ts';
import type { Damage } from './damage.ts';
import type { FileHandle, FileSystem } from './fs.ts';

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
  const steps = digestSteps(fileSystem, path);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}
