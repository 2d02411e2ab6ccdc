/**
 * A file as a sealed object that a sink can read in any order, more than once, with two frames of
 * memory whatever its size. Nothing is written to disk for it: frames are sealed when they are
 * asked for, and the same again when they are asked for again.
 *
 * Invariants: what is sealed is what was examined, frame by frame, or the read fails; so no frame
 * is ever sealed with two contents. Bytes leave at the pace of the budget.
 */
import { assert, HoldfastError } from '@holdfast/base';
import type { Compression, FileHandle, FileSystem, KeyRing, RandomBytes } from '@holdfast/storage';
import {
  FRAME_HEADER_SIZE_BYTES,
  FRAME_TAG_SIZE_BYTES,
  FrameSealer,
  SEALED_FRAME_SIZE_BYTES,
  SEALED_HEADER_SIZE_BYTES,
  xxh3_64,
} from '@holdfast/storage';
import type { Pause } from '../replica/slices.ts';
import type { TransferBudget } from '../replica/transfer-budget.ts';
import type { FileFacts } from './file-facts.ts';
import { FRAME_DIGEST_SIZE_BYTES, notTheFile, readFully } from './file-facts.ts';
import type { SinkSource } from './sinks/sink.ts';

/** How everything that a backup writes is sealed. */
export interface SealSettings {
  readonly compression: Compression;
  /** `current` seals; all of them open. */
  readonly keys: KeyRing;
  readonly random: RandomBytes;
}

export interface SealedFileOptions {
  readonly fileSystem: FileSystem;
  readonly fullPath: string;
  readonly facts: FileFacts;
  /** The key that the object will be stored under. */
  readonly context: string;
  readonly seal: SealSettings;
  readonly pause: Pause;
  /** Null: as fast as the sink takes it. */
  readonly budget: TransferBudget | null;
  readonly signal?: AbortSignal;
}

/** A part of a multipart upload ends inside a frame, and the next one begins there. */
const CACHED_FRAME_COUNT = 2;
/** So that an abort is heard while the budget is waited for. */
const BUDGET_PIECE_SIZE_BYTES = 256 * 1024;

/** Close it. */
export class SealedFileSource implements SinkSource {
  readonly sizeBytes: number;
  readonly #options: SealedFileOptions;
  readonly #sealer: FrameSealer;
  readonly #handle: FileHandle;
  /** Where each frame begins in the object, and at last its size. */
  readonly #starts: readonly number[];
  readonly #cache: Map<number, Uint8Array>;

  private constructor(
    options: SealedFileOptions,
    sealer: FrameSealer,
    handle: FileHandle,
    starts: readonly number[],
    cache: Map<number, Uint8Array>,
  ) {
    this.#options = options;
    this.#sealer = sealer;
    this.#handle = handle;
    this.#starts = starts;
    this.#cache = cache;
    this.sizeBytes = starts.at(-1) as number;
  }

  /**
   * With compression the file is read and compressed once to learn the size of the object.
   * @throws HoldfastError FILE_IO, FILE_CORRUPT, ABORTED
   */
  static async open(options: SealedFileOptions): Promise<SealedFileSource> {
    const { fileSystem, fullPath, facts, context, seal, pause, signal } = options;
    const { compression, keys, random } = seal;
    const sealer = await FrameSealer.create(
      { kind: 'file', context, compression, key: keys.current, random },
      facts.sizeBytes,
    );
    const handle = fileSystem.open(fullPath, 'read');
    try {
      const cache = new Map<number, Uint8Array>();
      const starts = [SEALED_HEADER_SIZE_BYTES];
      for (let number = 0; number < sealer.frameCount; number++) {
        const start = starts[number] as number;
        if (compression === 'none') {
          starts.push(start + plainFrameSizeBytes(sealer, number));
          continue;
        }
        throwAborted(fullPath, signal);
        const frame = await sealer.seal(number, readFrame(handle, facts, number));
        remember(cache, number, frame);
        starts.push(start + frame.byteLength);
        await pause();
      }
      return new SealedFileSource(options, sealer, handle, starts, cache);
    } catch (error) {
      handle.close();
      throw error;
    }
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    assert(offset >= 0 && offset + length <= this.sizeBytes, 'a read is inside the object', {
      offset,
      length,
    });
    const bytes = new Uint8Array(length);
    let filled = 0;
    while (filled < length) {
      const part = await this.#partAt(offset + filled, length - filled);
      await this.#passBudget(part.byteLength);
      bytes.set(part, filled);
      filled += part.byteLength;
    }
    return bytes;
  }

  close(): void {
    this.#handle.close();
  }

  /** At most `length` bytes from `offset`, from one frame, and at most a piece of the budget. */
  async #partAt(offset: number, length: number): Promise<Uint8Array> {
    const limit = Math.min(length, BUDGET_PIECE_SIZE_BYTES);
    if (offset < SEALED_HEADER_SIZE_BYTES) {
      return this.#sealer.header.subarray(offset, offset + limit);
    }
    const number = frameAt(this.#starts, offset);
    const frame = await this.#frame(number);
    const start = offset - (this.#starts[number] as number);
    return frame.subarray(start, start + limit);
  }

  async #frame(number: number): Promise<Uint8Array> {
    const cached = this.#cache.get(number);
    if (cached !== undefined) return cached;
    const { facts, pause } = this.#options;
    const frame = await this.#sealer.seal(number, readFrame(this.#handle, facts, number));
    const start = this.#starts[number] as number;
    assert(start + frame.byteLength === this.#starts[number + 1], 'a frame is sealed the same', {
      number,
    });
    remember(this.#cache, number, frame);
    await pause();
    return frame;
  }

  async #passBudget(sizeBytes: number): Promise<void> {
    const { budget, fullPath, signal } = this.#options;
    throwAborted(fullPath, signal);
    await budget?.take(sizeBytes);
    throwAborted(fullPath, signal);
  }
}

/** The content of a frame, the same that was examined. */
function readFrame(handle: FileHandle, facts: FileFacts, number: number): Uint8Array {
  const start = number * SEALED_FRAME_SIZE_BYTES;
  const sizeBytes = Math.min(SEALED_FRAME_SIZE_BYTES, facts.sizeBytes - start);
  const plain = readFully(handle, start, sizeBytes);
  const at = number * FRAME_DIGEST_SIZE_BYTES;
  const expected = facts.frameDigests.subarray(at, at + FRAME_DIGEST_SIZE_BYTES);
  if (Buffer.compare(xxh3_64([plain]), expected) === 0) return plain;
  throw notTheFile(handle.path, 'has changed since it was verified');
}

const plainFrameSizeBytes = (sealer: FrameSealer, number: number): number =>
  FRAME_HEADER_SIZE_BYTES + sealer.plainSizeBytesOf(number) + FRAME_TAG_SIZE_BYTES;

/** The frame that byte `offset` belongs to. */
function frameAt(starts: readonly number[], offset: number): number {
  let low = 0;
  let high = starts.length - 2;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((starts[middle] as number) <= offset) low = middle;
    else high = middle - 1;
  }
  return low;
}

function remember(cache: Map<number, Uint8Array>, number: number, frame: Uint8Array): void {
  if (cache.size >= CACHED_FRAME_COUNT) {
    for (const oldest of [...cache.keys()].slice(0, 1)) cache.delete(oldest);
  }
  cache.set(number, frame);
}

function throwAborted(path: string, signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return;
  throw new HoldfastError('ABORTED', `the transfer of ${path} was aborted`, {
    cause: signal.reason,
  });
}
