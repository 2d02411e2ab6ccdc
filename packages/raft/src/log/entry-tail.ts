/**
 * Entries that are not durable yet, by index: a gapless array with a moving start. `firstIndex` is
 * where the durable part ends, also when the tail is empty.
 */
import type { Entry, LogIndex } from '@holdfast/base';
import { assert, entrySizeBytes } from '@holdfast/base';

/** Dropped slots are reclaimed in one go once they are this many and the larger half. */
const RECLAIM_COUNT_MIN = 1024;

export class EntryTail {
  #entries: (Entry | undefined)[] = [];
  #head = 0;
  #firstIndex: LogIndex;
  #sizeBytes = 0;

  constructor(firstIndex: LogIndex) {
    this.#firstIndex = firstIndex;
  }

  get firstIndex(): LogIndex {
    return this.#firstIndex;
  }

  /** firstIndex - 1 when empty. */
  get lastIndex(): LogIndex {
    return (this.#firstIndex + this.#entries.length - this.#head - 1) as LogIndex;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get(index: number): Entry | undefined {
    return index < this.#firstIndex
      ? undefined
      : this.#entries[this.#head + index - this.#firstIndex];
  }

  push(entry: Entry): void {
    assert(entry.index === this.lastIndex + 1, 'tail: entry does not follow the last one', {
      index: entry.index,
      last: this.lastIndex,
    });
    this.#entries.push(entry);
    this.#sizeBytes += entrySizeBytes(entry);
  }

  /** Entries low..high-1, cut by size; empty only if that is allowed. */
  slice(
    low: LogIndex,
    high: LogIndex,
    sizeBytesMax = Number.POSITIVE_INFINITY,
    options: { readonly mayBeEmpty: boolean } = { mayBeEmpty: false },
  ): Entry[] {
    const start = this.#head + low - this.#firstIndex;
    const end = this.#head + high - this.#firstIndex;
    assert(start >= this.#head && end <= this.#entries.length, 'tail: range is not held', {
      low,
      high,
    });
    // Live slots are never undefined: only slots before the head are cleared.
    if (sizeBytesMax >= this.#sizeBytes) return this.#entries.slice(start, end) as Entry[];
    let sizeBytes = 0;
    let cut = start;
    for (; cut < end; cut++) {
      sizeBytes += entrySizeBytes(this.#entries[cut]!);
      if (sizeBytes > sizeBytesMax && (cut > start || options.mayBeEmpty)) break;
    }
    return this.#entries.slice(start, cut) as Entry[];
  }

  /** Drops every entry >= `from`; before the start, the tail then begins at `from`. */
  truncate(from: LogIndex): void {
    if (from <= this.#firstIndex) {
      this.reset(from);
      return;
    }
    const keptLength = this.#head + from - this.#firstIndex;
    for (let i = keptLength; i < this.#entries.length; i++)
      this.#sizeBytes -= entrySizeBytes(this.#entries[i]!);
    if (keptLength < this.#entries.length) this.#entries.length = keptLength;
  }

  /** Drops every entry <= `index`: it is durable and the reader shows it. */
  dropThrough(index: LogIndex): void {
    const end = Math.min(index, this.lastIndex);
    while (this.#firstIndex <= end) {
      this.#sizeBytes -= entrySizeBytes(this.#entries[this.#head]!);
      this.#entries[this.#head] = undefined;
      this.#head += 1;
      this.#firstIndex = (this.#firstIndex + 1) as LogIndex;
    }
    if (this.#head === this.#entries.length) {
      this.#entries = [];
      this.#head = 0;
    } else if (this.#head >= RECLAIM_COUNT_MIN && this.#head * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
  }

  reset(firstIndex: LogIndex): void {
    this.#entries = [];
    this.#head = 0;
    this.#firstIndex = firstIndex;
    this.#sizeBytes = 0;
  }
}
