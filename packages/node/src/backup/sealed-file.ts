/**
 * A file as a sealed object that a sink can read in any order, more than once, with a few frames of
 * memory whatever its size. Nothing is written to disk for it. Bytes leave at the pace of the
 * budget; the frame behind the one that is read is made meanwhile.
 */
import { assert } from '@holdfast/base';
import type { Compression, FileSystem, KeyRing, RandomBytes } from '@holdfast/storage';
import { SEALED_HEADER_SIZE_BYTES, SEALED_SALT_SIZE_BYTES } from '@holdfast/storage';
import type { Pause } from '../replica/slices.ts';
import type { TransferBudget } from '../replica/transfer-budget.ts';
import type { FileFacts } from './file-facts.ts';
import type { SealedFrames, SealingPlace } from './sealing/file-frames.ts';
import { sealingHere, throwAborted } from './sealing/file-frames.ts';
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
  readonly pause: Pause;
  /** Left out: the calling thread. */
  readonly sealing?: SealingPlace;
  readonly fullPath: string;
  readonly facts: FileFacts;
  /** The key that the object will be stored under. */
  readonly context: string;
  readonly seal: SealSettings;
  /** Null: as fast as the sink takes it. */
  readonly budget: TransferBudget | null;
  readonly signal?: AbortSignal;
}

/** A part of a multipart upload ends inside a frame, and the next one begins there. */
const CACHED_FRAME_COUNT = 3;
/** So that an abort is heard while the budget is waited for. */
const BUDGET_PIECE_SIZE_BYTES = 256 * 1024;

/** Close it. */
export class SealedFileSource implements SinkSource {
  readonly sizeBytes: number;
  readonly #options: SealedFileOptions;
  readonly #frames: SealedFrames;
  readonly #cache = new Map<number, Promise<Uint8Array>>();

  private constructor(options: SealedFileOptions, frames: SealedFrames) {
    this.#options = options;
    this.#frames = frames;
    this.sizeBytes = frames.starts.at(-1) as number;
  }

  /** @throws HoldfastError FILE_IO, FILE_CORRUPT, ABORTED */
  static async open(options: SealedFileOptions): Promise<SealedFileSource> {
    const { context, facts, fileSystem, fullPath, pause, seal, signal } = options;
    const sealing = options.sealing ?? sealingHere(fileSystem, pause);
    const { compression, keys, random } = seal;
    const salt = random(SEALED_SALT_SIZE_BYTES);
    const order = { fullPath, facts, context, compression, key: keys.current, salt };
    return new SealedFileSource(options, await sealing.open(order, signal));
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

  /** Costs no budget: nothing leaves. */
  async digest(signal?: AbortSignal): Promise<string> {
    return this.#frames.digest(signal);
  }

  close(): void {
    this.#cache.clear();
    this.#frames.close();
  }

  /** At most `length` bytes from `offset`, from one frame, and at most a piece of the budget. */
  async #partAt(offset: number, length: number): Promise<Uint8Array> {
    const { header, starts } = this.#frames;
    const limit = Math.min(length, BUDGET_PIECE_SIZE_BYTES);
    if (offset < SEALED_HEADER_SIZE_BYTES) return header.subarray(offset, offset + limit);
    const number = frameAt(starts, offset);
    const frame = await this.#frame(number);
    const start = offset - (starts[number] as number);
    return frame.subarray(start, start + limit);
  }

  #frame(number: number): Promise<Uint8Array> {
    const frame = this.#begin(number);
    if (number + 2 < this.#frames.starts.length) this.#begin(number + 1);
    return frame;
  }

  #begin(number: number): Promise<Uint8Array> {
    const known = this.#cache.get(number);
    if (known !== undefined) return known;
    const frame = this.#frames.frame(number);
    if (this.#cache.size >= CACHED_FRAME_COUNT) {
      for (const oldest of [...this.#cache.keys()].slice(0, 1)) this.#cache.delete(oldest);
    }
    this.#cache.set(number, frame);
    // Whoever reads it hears of it; the next one tries again.
    frame.catch(() => this.#cache.delete(number));
    return frame;
  }

  async #passBudget(sizeBytes: number): Promise<void> {
    const { budget, fullPath, signal } = this.#options;
    throwAborted(fullPath, signal);
    await budget?.take(sizeBytes);
    throwAborted(fullPath, signal);
  }
}

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
