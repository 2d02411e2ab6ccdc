/**
 * Making a damaged block file whole again from sound blocks: those it still has, and those that
 * somebody else gives. The file is never written in place: a copy grows beside it, is synced, read
 * again from the start, and takes the name only when the checksum of the whole is the one wanted.
 * So a wrong block from anywhere costs an attempt, never the file.
 *
 * What is read again right after a sync may come from the page cache; that it reached the disk is
 * what the sync promises, and the next scrub looks.
 */
import { assert } from '@holdfast/base';
import { dropTemporary } from './atomic-file.ts';
import type { ChecksumAlgorithmFacts } from './checksum.ts';
import { checksumAlgorithms } from './checksum.ts';
import type { Steps } from './checksummed-check.ts';
import { digestSteps } from './checksummed-check.ts';
import {
  BLOCK_SIZE_BYTES,
  blockChecksum,
  CHECKSUMMED_FILE_HEADER_SIZE_BYTES,
  fileSizeBytes,
  parseHeader,
} from './checksummed-layout.ts';
import type { FileHandle, FileSystem } from './fs.ts';
import { parentDirectory } from './fs.ts';

/** Checking this much takes about a millisecond. */
const BLOCKS_PER_STEP = 16;

/** Where the blocks of a file are, from its header alone. */
export class BlockFileShape {
  /** The header as it stands in the file. */
  readonly header: Uint8Array;
  readonly blockCount: number;
  readonly sizeBytes: number;
  readonly #facts: ChecksumAlgorithmFacts;
  readonly #payloadSizeBytes: number;

  /** @throws HoldfastError FILE_CORRUPT or SEGMENT_CORRUPT, FORMAT_UNKNOWN */
  constructor(header: Uint8Array, path: string) {
    const { algorithm, payloadSizeBytes } = parseHeader(header, path, 'segment');
    this.header = header.slice();
    this.#facts = checksumAlgorithms[algorithm];
    this.#payloadSizeBytes = payloadSizeBytes;
    this.blockCount = Math.ceil(payloadSizeBytes / BLOCK_SIZE_BYTES);
    this.sizeBytes = fileSizeBytes(payloadSizeBytes, this.#facts.sizeBytes);
  }

  /** Of all blocks without their checksums. */
  get contentSizeBytes(): number {
    return this.#payloadSizeBytes;
  }

  /** Of a block with its checksum. */
  positionOf(block: number): number {
    const recordSizeBytes = BLOCK_SIZE_BYTES + this.#facts.sizeBytes;
    return CHECKSUMMED_FILE_HEADER_SIZE_BYTES + block * recordSizeBytes;
  }

  /** Of a block with its checksum. */
  sizeOf(block: number): number {
    const restBytes = this.#payloadSizeBytes - block * BLOCK_SIZE_BYTES;
    return Math.min(BLOCK_SIZE_BYTES, restBytes) + this.#facts.sizeBytes;
  }

  /** Whether `bytes`, a block with its checksum, is sound as block `block`. */
  isSound(block: number, bytes: Uint8Array): boolean {
    if (block >= this.blockCount || bytes.byteLength !== this.sizeOf(block)) return false;
    const payloadSizeBytes = bytes.byteLength - this.#facts.sizeBytes;
    const expected = blockChecksum(this.#facts, bytes.subarray(0, payloadSizeBytes), block);
    return Buffer.compare(expected, bytes.subarray(payloadSizeBytes)) === 0;
  }

  /**
   * The content of a block as it stands, zeros where the file ends early: to describe damage, never
   * to serve or repair anything. @throws HoldfastError FILE_IO
   */
  readUnverified(handle: FileHandle, block: number): Uint8Array {
    const bytes = new Uint8Array(this.sizeOf(block) - this.#facts.sizeBytes);
    handle.read(bytes, this.positionOf(block));
    return bytes;
  }

  /** A block with its checksum; null when it does not pass it. @throws HoldfastError FILE_IO */
  readSound(handle: FileHandle, block: number): Uint8Array | null {
    const bytes = new Uint8Array(this.sizeOf(block));
    const count = handle.read(bytes, this.positionOf(block));
    return count === bytes.byteLength && this.isSound(block, bytes) ? bytes : null;
  }
}

/** The first bytes of a file; fewer when it is shorter. @throws HoldfastError FILE_IO */
export function readHeaderBytes(handle: Pick<FileHandle, 'read'>): Uint8Array {
  const bytes = new Uint8Array(CHECKSUMMED_FILE_HEADER_SIZE_BYTES);
  return bytes.subarray(0, handle.read(bytes, 0));
}

/** Numbers of the blocks that do not pass their checksum. @throws HoldfastError FILE_IO */
export function* badBlockSteps(
  fileSystem: FileSystem,
  path: string,
  shape: BlockFileShape,
): Steps<readonly number[]> {
  const bad: number[] = [];
  if (!fileSystem.exists(path)) return Array.from({ length: shape.blockCount }, (_, i) => i);
  const handle = fileSystem.open(path, 'read');
  try {
    for (let block = 0; block < shape.blockCount; block++) {
      if (shape.readSound(handle, block) === null) bad.push(block);
      if (block % BLOCKS_PER_STEP === BLOCKS_PER_STEP - 1) yield;
    }
    return bad;
  } finally {
    handle.close();
  }
}

/** One attempt at a whole copy. Ends by `install` or `abandon`. */
export class BlockFilePatch {
  readonly #fileSystem: FileSystem;
  readonly #temporaryPath: string;
  readonly #path: string;
  readonly #shape: BlockFileShape;
  readonly #handle: FileHandle;
  #isOpen = true;
  #isProven = false;

  /** `temporaryPath` must be on the same file system as `path`. @throws HoldfastError FILE_IO */
  constructor(
    fileSystem: FileSystem,
    place: { readonly path: string; readonly temporaryPath: string },
    shape: BlockFileShape,
  ) {
    this.#fileSystem = fileSystem;
    this.#path = place.path;
    this.#temporaryPath = place.temporaryPath;
    this.#shape = shape;
    dropTemporary(fileSystem, place.temporaryPath);
    this.#handle = fileSystem.open(place.temporaryPath, 'createNew');
    this.#handle.write([shape.header], 0);
  }

  /**
   * Takes every block that is not in `without` from the damaged file itself.
   * Returns those that have gone bad meanwhile. @throws HoldfastError FILE_IO
   */
  *copyRest(without: ReadonlySet<number>): Steps<readonly number[]> {
    const bad: number[] = [];
    if (without.size >= this.#shape.blockCount) return bad;
    const source = this.#fileSystem.open(this.#path, 'read');
    try {
      for (let block = 0; block < this.#shape.blockCount; block++) {
        if (without.has(block)) continue;
        const bytes = this.#shape.readSound(source, block);
        if (bytes === null) bad.push(block);
        else this.put(block, bytes);
        if (block % BLOCKS_PER_STEP === BLOCKS_PER_STEP - 1) yield;
      }
      return bad;
    } finally {
      source.close();
    }
  }

  /** `bytes` is a sound block with its checksum. @throws HoldfastError FILE_IO */
  put(block: number, bytes: Uint8Array): void {
    assert(this.#isOpen, 'a copy that ended takes no more blocks', { path: this.#path });
    assert(this.#shape.isSound(block, bytes), 'only sound blocks repair a file', { block });
    this.#handle.write([bytes], this.#shape.positionOf(block));
  }

  /**
   * Syncs the copy and reads it again: true when it is the file whose checksum is wanted.
   * @throws HoldfastError FILE_IO
   */
  *prove(checksum: string): Steps<boolean> {
    assert(this.#isOpen, 'a copy is proven once', { path: this.#path });
    this.#isOpen = false;
    try {
      this.#handle.sync();
    } finally {
      this.#handle.close();
    }
    const found = yield* digestSteps(this.#fileSystem, this.#temporaryPath);
    this.#isProven = found === checksum;
    return this.#isProven;
  }

  /** Gives the proven copy the name, durably. @throws HoldfastError FILE_IO */
  install(): void {
    assert(this.#isProven, 'only a copy that was proven takes the name', { path: this.#path });
    this.#fileSystem.rename(this.#temporaryPath, this.#path);
    this.#fileSystem.syncDirectory(parentDirectory(this.#path));
    this.#fileSystem.syncDirectory(parentDirectory(this.#temporaryPath));
  }

  /** Drops what was written. Safe after any failure. */
  abandon(): void {
    if (this.#isOpen) this.#handle.close();
    this.#isOpen = false;
    dropTemporary(this.#fileSystem, this.#temporaryPath);
  }
}
