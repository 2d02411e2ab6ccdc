/**
 * The window of append messages sent to one peer and not yet acknowledged: a ring of
 * (last index, bytes), bounded by count and by bytes so that a slow peer cannot pin memory.
 *
 * Full means: no more entries until an acknowledgement. One message may overshoot the byte limit,
 * because an entry larger than the window must still be sendable.
 */
import { assert } from '@holdfast/base';

export class Inflights {
  readonly #countMax: number;
  readonly #sizeBytesMax: number;
  readonly #lastIndexes: number[] = [];
  readonly #sizesBytes: number[] = [];
  #start = 0;
  #count = 0;
  #sizeBytes = 0;

  constructor(countMax: number, sizeBytesMax: number) {
    this.#countMax = countMax;
    this.#sizeBytesMax = sizeBytesMax;
  }

  get count(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count >= this.#countMax || this.#sizeBytes >= this.#sizeBytesMax;
  }

  /** Must not be called when full; `lastIndex` grows from call to call. */
  add(lastIndex: number, sizeBytes: number): void {
    assert(!this.isFull, 'inflights: window is full', { lastIndex });
    const slot = (this.#start + this.#count) % this.#countMax;
    this.#lastIndexes[slot] = lastIndex;
    this.#sizesBytes[slot] = sizeBytes;
    this.#count += 1;
    this.#sizeBytes += sizeBytes;
  }

  /** Frees every message whose entries all lie at or below `index`. */
  freeUpTo(index: number): void {
    while (this.#count > 0 && this.#lastIndexes[this.#start]! <= index) this.freeFirst();
  }

  /** Frees the oldest one: its acknowledgement may have been lost. */
  freeFirst(): void {
    assert(this.#count > 0, 'inflights: nothing to free');
    this.#sizeBytes -= this.#sizesBytes[this.#start]!;
    this.#start = (this.#start + 1) % this.#countMax;
    this.#count -= 1;
  }

  reset(): void {
    this.#start = 0;
    this.#count = 0;
    this.#sizeBytes = 0;
  }
}
