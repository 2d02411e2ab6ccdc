/**
 * Writes a block file piece by piece: the whole thing in one turn (writeChecksummedFile), or over
 * many, for content that is too large for one (ChecksummedFileWriter). Either way the file is
 * complete and durable before it has its name, and memory stays at one block plus one chunk.
 */
import { assert } from '@holdfast/base';
import { dropTemporary, replaceFile, TEMPORARY_SUFFIX } from './atomic-file.ts';
import type { ChecksumAlgorithm, ChecksumAlgorithmFacts } from './checksum.ts';
import { checksumAlgorithms, createStreamDigest } from './checksum.ts';
import type { ChecksummedFileKind } from './checksummed-layout.ts';
import {
  BLOCK_SIZE_BYTES,
  blockChecksum,
  CHECKSUMMED_FILE_HEADER_SIZE_BYTES,
  encodeHeader,
} from './checksummed-layout.ts';
import type { FileHandle, FileSystem } from './fs.ts';
import { parentDirectory } from './fs.ts';

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

/** Between two syncs of a file that grows over many turns: the last one then has little to do. */
const SYNC_EVERY_SIZE_BYTES = 2 * 1024 * 1024;

/**
 * One file over many turns. Ends by `finish` or `abandon`; before `finish` returned the name does
 * not exist, or still names the old file. After a failed call only `abandon` is allowed.
 */
export class ChecksummedFileWriter {
  readonly #fileSystem: FileSystem;
  readonly #path: string;
  readonly #options: ChecksummedFileOptions;
  readonly #handle: FileHandle;
  readonly #writer: BlockWriter;
  #unsyncedSizeBytes = 0;
  #isEnded = false;

  /** @throws HoldfastError FILE_IO */
  constructor(fileSystem: FileSystem, path: string, options: ChecksummedFileOptions) {
    const temporaryPath = `${path}${TEMPORARY_SUFFIX}`;
    if (fileSystem.exists(temporaryPath)) fileSystem.remove(temporaryPath);
    this.#fileSystem = fileSystem;
    this.#path = path;
    this.#options = options;
    this.#handle = fileSystem.open(temporaryPath, 'createNew');
    this.#writer = new BlockWriter(this.#handle, checksumAlgorithms[options.algorithm]);
  }

  /** @throws HoldfastError FILE_IO */
  append(chunk: Uint8Array): void {
    assert(!this.#isEnded, 'a file that ended takes no more bytes', { path: this.#path });
    this.#writer.append(chunk);
    this.#unsyncedSizeBytes += chunk.byteLength;
    if (this.#unsyncedSizeBytes < SYNC_EVERY_SIZE_BYTES) return;
    this.#unsyncedSizeBytes = 0;
    this.#handle.datasync();
  }

  /** @throws HoldfastError FILE_IO; after a failed sync of the directory the caller must stop */
  finish(): ChecksummedFileFacts {
    assert(!this.#isEnded, 'a file ends once', { path: this.#path });
    const facts = this.#writer.finish(this.#options);
    this.#handle.sync();
    this.#isEnded = true;
    this.#handle.close();
    this.#fileSystem.rename(this.#handle.path, this.#path);
    this.#fileSystem.syncDirectory(parentDirectory(this.#path));
    return facts;
  }

  /** Drops what was written. Safe after any failure. */
  abandon(): void {
    if (!this.#isEnded) this.#handle.close();
    this.#isEnded = true;
    dropTemporary(this.#fileSystem, this.#handle.path);
  }
}
