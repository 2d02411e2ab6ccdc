/**
 * The newest entries of one group in memory, bounded in bytes: what replication and apply read.
 * Holds a gapless run that ends at the last entry; older ones are dropped first.
 */
import type { Entry } from '@holdfast/base';
import { assert, entrySizeBytes } from '@holdfast/base';

/** A view may keep this much more memory alive than its entry before it is copied. */
const SLACK_SIZE_BYTES_MAX = 4096;

export class EntryCache {
  readonly #sizeBytesMax: number;
  readonly #entries = new Map<number, Entry>();
  #firstIndex = 1;
  #nextIndex = 1;
  #sizeBytes = 0;

  constructor(sizeBytesMax: number) {
    this.#sizeBytesMax = sizeBytesMax;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get(index: number): Entry | undefined {
    return this.#entries.get(index);
  }

  /** `entry` continues the run, or starts a new one after `clear`. */
  push(entry: Entry): void {
    if (this.#entries.size === 0) {
      this.#firstIndex = entry.index;
      this.#nextIndex = entry.index;
    }
    assert(entry.index === this.#nextIndex, 'cache run must have no gap', {
      index: entry.index,
      nextIndex: this.#nextIndex,
    });
    this.#entries.set(entry.index, withOwnData(entry));
    this.#nextIndex += 1;
    this.#sizeBytes += entrySizeBytes(entry);
    while (this.#sizeBytes > this.#sizeBytesMax) this.#drop(this.#firstIndex++);
  }

  truncateFrom(index: number): void {
    while (this.#entries.size > 0 && this.#nextIndex > index) this.#drop(--this.#nextIndex);
  }

  dropThrough(index: number): void {
    while (this.#entries.size > 0 && this.#firstIndex <= index) this.#drop(this.#firstIndex++);
  }

  /** How many there were. */
  clear(): number {
    const { size } = this.#entries;
    this.#entries.clear();
    this.#sizeBytes = 0;
    return size;
  }

  #drop(index: number): void {
    const entry = this.#entries.get(index);
    if (entry === undefined) return;
    this.#entries.delete(index);
    this.#sizeBytes -= entrySizeBytes(entry);
  }
}

/** An entry cut out of a large network frame must not keep the whole frame alive. */
function withOwnData(entry: Entry): Entry {
  const { data } = entry;
  const isFrugal = data.buffer.byteLength <= data.byteLength + SLACK_SIZE_BYTES_MAX;
  return isFrugal ? entry : { ...entry, data: new Uint8Array(data) };
}
