/**
 * The frames of one file as a sealed object, made when they are asked for, and the same again when
 * they are asked for again. All the work on bytes of a backup is here and in `examineFile`: on the
 * main thread or on one of its own.
 *
 * Invariant: what is sealed is what was examined, frame by frame, or the read fails; so no frame is
 * ever sealed with two contents.
 */
import { assert, HoldfastError } from '@holdfast/base';
import type { ArchiveKey, Compression, FileHandle, FileSystem } from '@holdfast/storage';
import {
  createStreamDigest,
  FRAME_HEADER_SIZE_BYTES,
  FRAME_TAG_SIZE_BYTES,
  FrameSealer,
  SEALED_FRAME_SIZE_BYTES,
  SEALED_HEADER_SIZE_BYTES,
  xxh3_64,
} from '@holdfast/storage';
import type { Pause } from '../../replica/slices.ts';
import type { PinnedFile } from '../checkpoint-source.ts';
import type { FileFacts } from '../file-facts.ts';
import { examineFile, FRAME_DIGEST_SIZE_BYTES, notTheFile, readFully } from '../file-facts.ts';

/** What has to be known to seal a file, and can be sent to another thread. */
export interface SealOrder {
  readonly fullPath: string;
  readonly facts: FileFacts;
  /** The key that the object will be stored under. */
  readonly context: string;
  readonly compression: Compression;
  readonly key: ArchiveKey | null;
  /** Never the same twice. */
  readonly salt: Uint8Array;
}

/** Close it. */
export interface SealedFrames {
  /** The first bytes of the object. */
  readonly header: Uint8Array;
  /** Where each frame begins in the object, and at last its size. */
  readonly starts: readonly number[];
  /** The whole frame; it belongs to the caller. @throws HoldfastError FILE_CORRUPT, FILE_IO */
  frame(number: number): Promise<Uint8Array>;
  /** Of the whole object. @throws HoldfastError FILE_CORRUPT, FILE_IO, ABORTED */
  digest(signal?: AbortSignal): Promise<string>;
  close(): void;
}

/** Where the bytes of a backup are read, hashed, compressed and encrypted. */
export interface SealingPlace {
  /** As `examineFile`. */
  examine(file: PinnedFile, signal?: AbortSignal): Promise<FileFacts>;
  /**
   * With compression the file is read and compressed once to learn the size of the object.
   * @throws HoldfastError FILE_IO, FILE_CORRUPT, ABORTED
   */
  open(order: SealOrder, signal?: AbortSignal): Promise<SealedFrames>;
}

/** On the calling thread, with a pause after each frame. */
export function sealingHere(fileSystem: FileSystem, pause: Pause): SealingPlace {
  return {
    examine: (file, signal) => examineFile(fileSystem, file, pause, signal),
    open: (order, signal) => FileFrames.open(fileSystem, order, pause, signal),
  };
}

class FileFrames implements SealedFrames {
  readonly header: Uint8Array;
  readonly starts: readonly number[];
  readonly #order: SealOrder;
  readonly #sealer: FrameSealer;
  readonly #handle: FileHandle;
  readonly #pause: Pause;
  /** Taken on the way when every frame had to be made anyway. */
  readonly #sha256: string | null;

  private constructor(
    order: SealOrder,
    sealer: FrameSealer,
    handle: FileHandle,
    pause: Pause,
    measured: Measured,
  ) {
    this.#order = order;
    this.#sealer = sealer;
    this.#handle = handle;
    this.#pause = pause;
    this.#sha256 = measured.sha256;
    this.header = sealer.header;
    this.starts = measured.starts;
  }

  static async open(
    fileSystem: FileSystem,
    order: SealOrder,
    pause: Pause,
    signal?: AbortSignal,
  ): Promise<FileFrames> {
    const { compression, context, facts, fullPath, key, salt } = order;
    const sealer = await FrameSealer.create(
      { kind: 'file', context, compression, key, random: () => salt },
      facts.sizeBytes,
    );
    const handle = fileSystem.open(fullPath, 'read');
    try {
      const measured =
        compression === 'none'
          ? plainSizes(sealer)
          : await measure(sealer, handle, order, pause, signal);
      return new FileFrames(order, sealer, handle, pause, measured);
    } catch (error) {
      handle.close();
      throw error;
    }
  }

  async frame(number: number): Promise<Uint8Array> {
    const frame = await this.#sealer.seal(number, readFrame(this.#handle, this.#order, number));
    const start = this.starts[number] as number;
    assert(start + frame.byteLength === this.starts[number + 1], 'a frame is sealed the same', {
      number,
    });
    await this.#pause();
    return frame;
  }

  async digest(signal?: AbortSignal): Promise<string> {
    if (this.#sha256 !== null) return this.#sha256;
    const sha256 = createStreamDigest();
    sha256.update(this.header);
    for (let number = 0; number < this.#sealer.frameCount; number++) {
      throwAborted(this.#order.fullPath, signal);
      sha256.update(await this.frame(number));
    }
    return sha256.finishHex();
  }

  close(): void {
    this.#handle.close();
  }
}

interface Measured {
  readonly starts: readonly number[];
  readonly sha256: string | null;
}

function plainSizes(sealer: FrameSealer): Measured {
  const starts = [SEALED_HEADER_SIZE_BYTES];
  for (let number = 0; number < sealer.frameCount; number++) {
    const plainSizeBytes = sealer.plainSizeBytesOf(number);
    const sizeBytes = FRAME_HEADER_SIZE_BYTES + plainSizeBytes + FRAME_TAG_SIZE_BYTES;
    starts.push((starts[number] as number) + sizeBytes);
  }
  return { starts, sha256: null };
}

async function measure(
  sealer: FrameSealer,
  handle: FileHandle,
  order: SealOrder,
  pause: Pause,
  signal: AbortSignal | undefined,
): Promise<Measured> {
  const sha256 = createStreamDigest();
  sha256.update(sealer.header);
  const starts = [SEALED_HEADER_SIZE_BYTES];
  for (let number = 0; number < sealer.frameCount; number++) {
    throwAborted(order.fullPath, signal);
    const frame = await sealer.seal(number, readFrame(handle, order, number));
    sha256.update(frame);
    starts.push((starts[number] as number) + frame.byteLength);
    await pause();
  }
  return { starts, sha256: sha256.finishHex() };
}

/** The content of a frame, the same that was examined. */
function readFrame(handle: FileHandle, { facts }: SealOrder, number: number): Uint8Array {
  const start = number * SEALED_FRAME_SIZE_BYTES;
  const sizeBytes = Math.min(SEALED_FRAME_SIZE_BYTES, facts.sizeBytes - start);
  const plain = readFully(handle, start, sizeBytes);
  const at = number * FRAME_DIGEST_SIZE_BYTES;
  const expected = facts.frameDigests.subarray(at, at + FRAME_DIGEST_SIZE_BYTES);
  if (Buffer.compare(xxh3_64([plain]), expected) === 0) return plain;
  throw notTheFile(handle.path, 'has changed since it was verified');
}

export function throwAborted(path: string, signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return;
  throw new HoldfastError('ABORTED', `the transfer of ${path} was aborted`, {
    cause: signal.reason,
  });
}
