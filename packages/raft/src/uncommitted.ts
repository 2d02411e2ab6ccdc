/**
 * Bytes a leader has proposed and not yet seen committed. Bounded, so that a leader cut off from
 * its quorum refuses instead of filling memory.
 */
import type { LogIndex } from '@holdfast/base';

interface Batch {
  readonly lastIndex: LogIndex;
  readonly sizeBytes: number;
}

export class UncommittedBytes {
  #batches: Batch[] = [];
  #head = 0;
  #sizeBytes = 0;

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  add(lastIndex: LogIndex, sizeBytes: number): void {
    this.#batches.push({ lastIndex, sizeBytes });
    this.#sizeBytes += sizeBytes;
  }

  committed(index: LogIndex): void {
    while (this.#head < this.#batches.length) {
      const batch = this.#batches[this.#head]!;
      if (batch.lastIndex > index) return;
      this.#sizeBytes -= batch.sizeBytes;
      this.#head += 1;
      if (this.#head > 1024 && this.#head * 2 > this.#batches.length) {
        this.#batches = this.#batches.slice(this.#head);
        this.#head = 0;
      }
    }
    this.#batches = [];
    this.#head = 0;
  }
}
