/**
 * A byte stream from one thread to one other over shared memory, framed. A frame larger than the
 * free space travels in pieces, so no frame is too large; the producer keeps what does not fit.
 * Positions only grow (modulo 2^32); their difference is what is in the ring.
 */
import { assert } from '@holdfast/base';

/** A power of two. Several group commits fit, so the producer seldom has to wait for space. */
export const RING_SIZE_BYTES = 8 * 1024 * 1024;
const CONTROL_WORDS = 6;
const WRITTEN = 0;
const READ = 1;
/** Changes with every push: what a consumer without work sleeps on. */
const DOORBELL = 2;
/** 1 while the producer holds bytes that did not fit. */
const PRODUCER_WAITS = 3;
/** 1 while the consumer sleeps or is about to: waking costs a system call, so only then. */
const CONSUMER_SLEEPS = 4;
/** 1 when the consumer is asked to try at once what it waits with. */
const HURRY = 5;

/** Per frame: length u32, kind u32. */
export const FRAME_HEADER_SIZE_BYTES = 8;

export interface RingMemory {
  readonly control: SharedArrayBuffer;
  readonly data: SharedArrayBuffer;
}

export interface RingFrame {
  readonly kind: number;
  readonly bytes: Uint8Array;
}

export const createRingMemory = (sizeBytes = RING_SIZE_BYTES): RingMemory => ({
  control: new SharedArrayBuffer(CONTROL_WORDS * 4),
  data: new SharedArrayBuffer(sizeBytes),
});

export class RingProducer {
  readonly #control: Int32Array;
  readonly #data: Uint8Array;
  /** Pieces that did not fit, oldest first; the first one from `#pieceOffset`. */
  #pieces: Uint8Array[] = [];
  #pieceOffset = 0;
  #isCorked = false;

  constructor(memory: RingMemory) {
    this.#control = new Int32Array(memory.control);
    this.#data = new Uint8Array(memory.data);
  }

  get hasWaiting(): boolean {
    return this.#pieces.length > 0;
  }

  /** Queues one frame and wakes the consumer. The bytes must not change afterwards. */
  push(kind: number, bytes: Uint8Array): void {
    const header = new Uint8Array(FRAME_HEADER_SIZE_BYTES);
    const view = new DataView(header.buffer);
    view.setUint32(0, bytes.byteLength, true);
    view.setUint32(4, kind, true);
    this.#pieces.push(header, bytes);
    if (!this.#isCorked) this.pump();
  }

  /** Until `uncork` frames are only queued: the consumer then finds all of them at once. */
  cork(): void {
    assert(!this.#isCorked, 'a ring is corked once');
    this.#isCorked = true;
  }

  uncork(): void {
    this.#isCorked = false;
    if (this.#pieces.length > 0) this.pump();
  }

  /** Moves what fits into the ring. Call when the consumer reports space. */
  pump(): void {
    let hasMoved = this.#move();
    if (this.#pieces.length > 0) {
      Atomics.store(this.#control, PRODUCER_WAITS, 1);
      // The consumer may have made space before it could see the flag.
      hasMoved = this.#move() || hasMoved;
    }
    if (hasMoved) this.#ringBell();
  }

  /** Passes all frames: the consumer may be waiting with one that it took. */
  hurry(): void {
    Atomics.store(this.#control, HURRY, 1);
    this.#ringBell();
  }

  #ringBell(): void {
    Atomics.add(this.#control, DOORBELL, 1);
    const isAsleep = Atomics.load(this.#control, CONSUMER_SLEEPS) === 1;
    if (isAsleep) Atomics.notify(this.#control, DOORBELL);
  }

  #move(): boolean {
    const size = this.#data.byteLength;
    const written = Atomics.load(this.#control, WRITTEN) >>> 0;
    const used = (written - (Atomics.load(this.#control, READ) >>> 0)) >>> 0;
    let free = size - used;
    let position = written;
    let done = 0;
    while (free > 0 && done < this.#pieces.length) {
      const piece = this.#pieces[done]!;
      const at = position % size;
      const left = piece.byteLength - this.#pieceOffset;
      const count = Math.min(left, free, size - at);
      this.#data.set(piece.subarray(this.#pieceOffset, this.#pieceOffset + count), at);
      position = (position + count) >>> 0;
      free -= count;
      this.#pieceOffset += count;
      if (this.#pieceOffset < piece.byteLength) continue;
      this.#pieceOffset = 0;
      done += 1;
    }
    this.#pieces.splice(0, done);
    if (position === written) return false;
    Atomics.store(this.#control, WRITTEN, position | 0);
    return true;
  }
}

export class RingConsumer {
  readonly #control: Int32Array;
  readonly #data: Uint8Array;
  /** The frame whose bytes are arriving. */
  #partial: { readonly kind: number; readonly bytes: Uint8Array } | null = null;
  #filled = 0;

  constructor(memory: RingMemory) {
    this.#control = new Int32Array(memory.control);
    this.#data = new Uint8Array(memory.data);
  }

  /** Read this before looking for frames, and sleep on it when there were none. */
  doorbell(): number {
    return Atomics.load(this.#control, DOORBELL);
  }

  /**
   * Sleeps until something was pushed after `doorbell` was read, at most `delayMsMax`. Never on
   * the main thread.
   */
  sleep(doorbell: number, delayMsMax = Number.POSITIVE_INFINITY): void {
    // A push between this store and the wait changes the doorbell, and the wait returns at once.
    Atomics.store(this.#control, CONSUMER_SLEEPS, 1);
    Atomics.wait(this.#control, DOORBELL, doorbell, delayMsMax);
    Atomics.store(this.#control, CONSUMER_SLEEPS, 0);
  }

  /** Size of the next frame when its header has arrived, else null. */
  nextSizeBytes(): number | null {
    this.#begin();
    return this.#partial?.bytes.byteLength ?? null;
  }

  /** The next frame when all of it has arrived, else null. The bytes are the caller's. */
  next(): RingFrame | null {
    this.#begin();
    if (this.#partial === null) return null;
    this.#filled += this.#read(this.#partial.bytes.subarray(this.#filled));
    if (this.#filled < this.#partial.bytes.byteLength) return null;
    const frame = this.#partial;
    this.#partial = null;
    return frame;
  }

  /** True once when the producer waits for space that reading has made. */
  takeProducerWaits(): boolean {
    return Atomics.exchange(this.#control, PRODUCER_WAITS, 0) === 1;
  }

  /** True once after the producer asked to hurry. */
  takeHurry(): boolean {
    return Atomics.exchange(this.#control, HURRY, 0) === 1;
  }

  #begin(): void {
    if (this.#partial !== null || this.#available() < FRAME_HEADER_SIZE_BYTES) return;
    const header = new Uint8Array(FRAME_HEADER_SIZE_BYTES);
    const count = this.#read(header);
    assert(count === FRAME_HEADER_SIZE_BYTES, 'ring header must be whole', { count });
    const view = new DataView(header.buffer);
    this.#partial = {
      kind: view.getUint32(4, true),
      bytes: new Uint8Array(view.getUint32(0, true)),
    };
    this.#filled = 0;
  }

  #available(): number {
    const written = Atomics.load(this.#control, WRITTEN) >>> 0;
    return (written - (Atomics.load(this.#control, READ) >>> 0)) >>> 0;
  }

  #read(target: Uint8Array): number {
    const size = this.#data.byteLength;
    const count = Math.min(target.byteLength, this.#available());
    const read = Atomics.load(this.#control, READ) >>> 0;
    for (let done = 0; done < count; ) {
      const at = (read + done) % size;
      const length = Math.min(count - done, size - at);
      target.set(this.#data.subarray(at, at + length), done);
      done += length;
    }
    Atomics.store(this.#control, READ, (read + count) | 0);
    return count;
  }
}
