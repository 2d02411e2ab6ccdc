/**
 * Reads a file of a checkpoint once from start to end: is it what the checkpoint says, what is its
 * name in the store, and what are the pieces that it will be sent in. A file that has rot is found
 * here, before it could take the place of a good one in a backup.
 */
import { HoldfastError } from '@holdfast/base';
import type { FileHandle, FileSystem } from '@holdfast/storage';
import { createStreamDigest, SEALED_FRAME_SIZE_BYTES, xxh3_64 } from '@holdfast/storage';
import type { Pause } from '../replica/slices.ts';
import { throwIfAborted } from './backup-abort.ts';
import type { PinnedFile } from './checkpoint-source.ts';

export interface FileFacts {
  /** Of the content from first to last byte; lower-case hex. */
  readonly sha256: string;
  readonly sizeBytes: number;
  /** xxh3 of every frame of the sealed object, one after the other: 8 bytes for each MiB. */
  readonly frameDigests: Uint8Array;
}

export const FRAME_DIGEST_SIZE_BYTES = 8;

/** Block files are named by a digest of what follows the header, then the header. */
const BLOCK_FILE_HEADER_SIZE_BYTES = 64;
/** Hashing this much twice takes a third of a millisecond. */
const STEP_SIZE_BYTES = 256 * 1024;

/**
 * @throws HoldfastError FILE_CORRUPT naming the file (it is not what the checkpoint names),
 *   FILE_IO, BACKUP_ABORTED
 */
export async function examineFile(
  fileSystem: FileSystem,
  file: PinnedFile,
  pause: Pause,
  signal?: AbortSignal,
): Promise<FileFacts> {
  const handle = fileSystem.open(file.fullPath, 'read');
  try {
    const content = createStreamDigest();
    const named = createStreamDigest();
    const header = readFully(handle, 0, Math.min(BLOCK_FILE_HEADER_SIZE_BYTES, file.sizeBytes));
    const frameCount = Math.ceil(file.sizeBytes / SEALED_FRAME_SIZE_BYTES);
    const frameDigests = new Uint8Array(frameCount * FRAME_DIGEST_SIZE_BYTES);
    for (let start = 0; start < file.sizeBytes; start += SEALED_FRAME_SIZE_BYTES) {
      const end = Math.min(file.sizeBytes, start + SEALED_FRAME_SIZE_BYTES);
      const pieces: Uint8Array[] = [];
      for (let at = start; at < end; at += STEP_SIZE_BYTES) {
        throwIfAborted(signal);
        const piece = readFully(handle, at, Math.min(STEP_SIZE_BYTES, end - at));
        content.update(piece);
        named.update(at === 0 ? piece.subarray(header.byteLength) : piece);
        pieces.push(piece);
        await pause();
      }
      const number = start / SEALED_FRAME_SIZE_BYTES;
      frameDigests.set(xxh3_64(pieces), number * FRAME_DIGEST_SIZE_BYTES);
    }
    named.update(header);
    if (named.finishHex() !== file.checksum || handle.sizeBytes() !== file.sizeBytes) {
      throw notTheFile(file.path, 'is not the file that the checkpoint names');
    }
    return { sha256: content.finishHex(), sizeBytes: file.sizeBytes, frameDigests };
  } finally {
    handle.close();
  }
}

/** Exactly `length` bytes. @throws HoldfastError FILE_CORRUPT, FILE_IO */
export function readFully(handle: FileHandle, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  if (handle.read(bytes, offset) === length) return bytes;
  throw notTheFile(handle.path, 'is shorter than it was');
}

export function notTheFile(path: string, what: string): HoldfastError {
  const message = `${path} ${what}: it is not backed up; the scrubber repairs it`;
  return new HoldfastError('FILE_CORRUPT', message, { details: { file: path, offset: 0 } });
}

/** Facts of the files of one checkpoint: several sinks ask, each file is read once. */
export class FileFactsCache {
  readonly #byPath = new Map<string, Promise<FileFacts>>();
  readonly #examine: (file: PinnedFile) => Promise<FileFacts>;

  constructor(examine: (file: PinnedFile) => Promise<FileFacts>) {
    this.#examine = examine;
  }

  of(file: PinnedFile): Promise<FileFacts> {
    const known = this.#byPath.get(file.path);
    if (known !== undefined) return known;
    const facts = this.#examine(file);
    this.#byPath.set(file.path, facts);
    // A refused read may pass the next time; whoever asked hears of this one.
    facts.catch(() => this.#byPath.delete(file.path));
    return facts;
  }
}
