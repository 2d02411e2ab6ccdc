/**
 * Makes the next log file ahead of time, a slice per step, so that rolling never waits for zeros.
 * Invariant: a file with a valid header is zero-filled to its size and durable, name included: the
 * header is written after everything else was synced.
 */
import type { FileHandle, FileSystem } from '../fs.ts';
import { parentDirectory } from '../fs.ts';
import type { WalFileHeader } from './format.ts';
import { encodeFileHeader, FILE_HEADER_SIZE_BYTES, walFilePath } from './format.ts';

const ZERO_CHUNK = new Uint8Array(256 * 1024);
/** A sync of little is short; one sync at the end of 16 MiB would delay a commit by many ms. */
const SYNC_EVERY_BYTES = 1024 * 1024;

export class ZeroFiller {
  readonly fileId: number;
  readonly handle: FileHandle;
  readonly #fileSystem: FileSystem;
  #targetSizeBytes: number;
  #filledBytes = 0;
  #unsyncedBytes = 0;
  #isFinished = false;

  constructor(
    fileSystem: FileSystem,
    options: { directory: string; fileId: number; sizeBytes: number },
  ) {
    this.fileId = options.fileId;
    this.#fileSystem = fileSystem;
    this.#targetSizeBytes = options.sizeBytes;
    this.handle = fileSystem.open(walFilePath(options.directory, options.fileId), 'createNew');
  }

  get sizeBytes(): number {
    return this.#targetSizeBytes;
  }

  get isFilled(): boolean {
    return this.#filledBytes === this.#targetSizeBytes;
  }

  get isFinished(): boolean {
    return this.#isFinished;
  }

  /** Makes the file at least this large. */
  growTo(sizeBytes: number): void {
    if (sizeBytes <= this.#targetSizeBytes) return;
    this.#targetSizeBytes = sizeBytes;
    this.#isFinished = false;
  }

  /** Writes about `budgetBytes` of zeros. */
  fill(budgetBytes: number): void {
    let budget = budgetBytes;
    while (budget > 0 && !this.isFilled) {
      const left = this.#targetSizeBytes - this.#filledBytes;
      const slice = ZERO_CHUNK.subarray(0, Math.min(ZERO_CHUNK.byteLength, left, budget));
      this.handle.write([slice], this.#filledBytes);
      this.#filledBytes += slice.byteLength;
      this.#unsyncedBytes += slice.byteLength;
      budget -= slice.byteLength;
      if (this.#unsyncedBytes >= SYNC_EVERY_BYTES) this.#datasync();
    }
  }

  /** Completes the file; after it the file may hold batches. */
  finish(header: Omit<WalFileHeader, 'fileId'>): void {
    if (this.#isFinished) return;
    this.fill(Number.POSITIVE_INFINITY);
    this.handle.sync();
    const bytes = encodeFileHeader({ ...header, fileId: this.fileId });
    this.handle.write([bytes.subarray(0, FILE_HEADER_SIZE_BYTES)], 0);
    this.handle.sync();
    this.#fileSystem.syncDirectory(parentDirectory(this.handle.path));
    this.#isFinished = true;
  }

  /** Gives up on a file that holds no batch. */
  discard(): void {
    this.handle.close();
    const { path } = this.handle;
    if (this.#fileSystem.exists(path)) this.#fileSystem.remove(path);
  }

  #datasync(): void {
    this.handle.datasync();
    this.#unsyncedBytes = 0;
  }
}

/** Makes [from, to) zero, durably. */
export function writeZeros(handle: FileHandle, from: number, to: number): void {
  for (let at = from; at < to; at += ZERO_CHUNK.byteLength) {
    handle.write([ZERO_CHUNK.subarray(0, Math.min(ZERO_CHUNK.byteLength, to - at))], at);
  }
  handle.datasync();
}

/** Writes the header of a file once more, durably: it has rot. One sector, so whole or not. */
export function rewriteHeader(
  fileSystem: FileSystem,
  directory: string,
  header: WalFileHeader,
): void {
  const handle = fileSystem.open(walFilePath(directory, header.fileId), 'readWrite');
  try {
    handle.write([encodeFileHeader(header)], 0);
    handle.datasync();
  } finally {
    handle.close();
  }
}
