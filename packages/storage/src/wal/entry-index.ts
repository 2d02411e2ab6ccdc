/**
 * Where each entry of one group is on disk, with its term and sum: 36 bytes per entry in typed
 * arrays, in chunks, so that millions of entries cost no objects and compaction drops whole chunks.
 * Holds a slot for every index firstIndex..lastIndex. A slot may be missing (the entry was durable
 * and cannot be read), and a missing one may still be named: term and sum known from elsewhere.
 */
import type { LogIndex, Term } from '@holdfast/base';
import { assert, ENTRY_SUM_SIZE_BYTES } from '@holdfast/base';

/** 4,096 entries are 147 KiB: small for an idle group, few for a busy one. */
const CHUNK_ENTRIES = 4096;
/** No log file has this id. */
const MISSING_FILE_ID = 0;
/** Kept in the offset of a missing slot. */
const IS_NAMED = 1;

class Chunk {
  readonly fileIds = new Uint32Array(CHUNK_ENTRIES);
  readonly offsets = new Uint32Array(CHUNK_ENTRIES);
  readonly sizes = new Uint32Array(CHUNK_ENTRIES);
  readonly terms = new Float64Array(CHUNK_ENTRIES);
  readonly sums = new Uint8Array(CHUNK_ENTRIES * ENTRY_SUM_SIZE_BYTES);
}

/** Place of one record: header and payload. */
export interface RecordPosition {
  readonly fileId: number;
  readonly offset: number;
  readonly sizeBytes: number;
}

export interface IndexRange {
  readonly low: number;
  /** Inclusive. */
  readonly high: number;
}

export class EntryIndex {
  /** Null is a chunk of missing slots. */
  #chunks: (Chunk | null)[] = [];
  /** Index of the first slot of the first chunk. */
  #origin: number;
  #firstIndex: number;
  #count = 0;
  #missingCount = 0;
  #sizeBytes = 0;

  /** Starts empty; the first entry pushed has `firstIndex`. */
  constructor(firstIndex: number) {
    this.#origin = firstIndex;
    this.#firstIndex = firstIndex;
  }

  get firstIndex(): LogIndex {
    return this.#firstIndex as LogIndex;
  }

  /** firstIndex - 1 when empty. */
  get lastIndex(): LogIndex {
    return (this.#firstIndex + this.#count - 1) as LogIndex;
  }

  get missingCount(): number {
    return this.#missingCount;
  }

  /** Records on disk, of the slots that are not missing. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  has(index: number): boolean {
    return index >= this.#firstIndex && index < this.#firstIndex + this.#count;
  }

  /** The entry can be read. */
  isPresent(index: number): boolean {
    if (!this.has(index)) return false;
    const { chunk, at } = this.#slot(index);
    return chunk !== null && chunk.fileIds[at] !== MISSING_FILE_ID;
  }

  /** Term and sum are known. */
  isNamed(index: number): boolean {
    if (!this.has(index)) return false;
    const { chunk, at } = this.#slot(index);
    if (chunk === null) return false;
    return chunk.fileIds[at] !== MISSING_FILE_ID || chunk.offsets[at] === IS_NAMED;
  }

  push(term: Term, sum: Uint8Array, position: RecordPosition): void {
    this.pushMissing(1);
    this.fill(this.lastIndex, term, sum, position);
  }

  pushMissing(count: number): void {
    this.#count += count;
    this.#missingCount += count;
    const slots = this.#firstIndex + this.#count - this.#origin;
    while (this.#chunks.length * CHUNK_ENTRIES < slots) this.#chunks.push(null);
  }

  /** The missing entry `index` is at `position`. */
  fill(index: number, term: Term, sum: Uint8Array, position: RecordPosition): void {
    assert(!this.isPresent(index), 'only a missing slot is filled', { index });
    const { chunk, at } = this.#ownSlot(index);
    chunk.fileIds[at] = position.fileId;
    chunk.offsets[at] = position.offset;
    chunk.sizes[at] = position.sizeBytes;
    chunk.terms[at] = term;
    chunk.sums.set(sum, at * ENTRY_SUM_SIZE_BYTES);
    this.#missingCount -= 1;
    this.#sizeBytes += position.sizeBytes;
  }

  /** The present entry `index` is at another place from now on. */
  move(index: number, position: RecordPosition): void {
    assert(this.isPresent(index), 'only a present entry moves', { index });
    const { chunk, at } = this.#ownSlot(index);
    this.#sizeBytes += position.sizeBytes - chunk.sizes[at]!;
    chunk.fileIds[at] = position.fileId;
    chunk.offsets[at] = position.offset;
    chunk.sizes[at] = position.sizeBytes;
  }

  /** The missing entry `index` had this term and sum. */
  name(index: number, term: Term, sum: Uint8Array): void {
    assert(!this.isPresent(index), 'only a missing slot is named', { index });
    const { chunk, at } = this.#ownSlot(index);
    chunk.offsets[at] = IS_NAMED;
    chunk.terms[at] = term;
    chunk.sums.set(sum, at * ENTRY_SUM_SIZE_BYTES);
  }

  /** What the slots low..high held is not believed any more. */
  markMissing(low: number, high: number): void {
    for (let index = low; index <= high; index++) {
      if (!this.isNamed(index)) continue;
      this.#forget(index);
      const { chunk, at } = this.#ownSlot(index);
      chunk.fileIds[at] = MISSING_FILE_ID;
      chunk.offsets[at] = 0;
      chunk.sizes[at] = 0;
      this.#missingCount += 1;
    }
  }

  /** Of a named slot. */
  term(index: number): Term {
    const { chunk, at } = this.#namedSlot(index);
    return chunk.terms[at]! as Term;
  }

  /** Of a named slot; a copy. */
  sum(index: number): Uint8Array {
    const { chunk, at } = this.#namedSlot(index);
    return chunk.sums.slice(at * ENTRY_SUM_SIZE_BYTES, (at + 1) * ENTRY_SUM_SIZE_BYTES);
  }

  /** Of an entry that is present. */
  position(index: number): RecordPosition {
    assert(this.isPresent(index), 'entry must be in the index', { index });
    const { chunk, at } = this.#ownSlot(index);
    return {
      fileId: chunk.fileIds[at]!,
      offset: chunk.offsets[at]!,
      sizeBytes: chunk.sizes[at]!,
    };
  }

  /** Maximal runs of missing slots, ascending. */
  missingRanges(): readonly IndexRange[] {
    const ranges: { low: number; high: number }[] = [];
    if (this.#missingCount === 0) return ranges;
    for (let index = this.#firstIndex; index <= this.lastIndex; index++) {
      if (this.isPresent(index)) continue;
      const open = ranges.at(-1);
      if (open !== undefined && open.high === index - 1) open.high = index;
      else ranges.push({ low: index, high: index });
    }
    return ranges;
  }

  /** Forgets `index` and everything after it. */
  truncateFrom(index: number): void {
    assert(index >= this.#firstIndex, 'index truncation must stay inside', { index });
    while (this.lastIndex >= index) {
      this.#forget(this.lastIndex);
      this.#clear(this.lastIndex);
      this.#count -= 1;
    }
    const slots = this.#firstIndex + this.#count - this.#origin;
    this.#chunks.length = Math.min(this.#chunks.length, Math.ceil(slots / CHUNK_ENTRIES));
  }

  /** Forgets `index` and everything before it. */
  dropThrough(index: number): void {
    if (index < this.#firstIndex) return;
    const count = Math.max(0, this.lastIndex - index);
    for (let dead = this.#firstIndex; dead <= this.lastIndex - count; dead++) this.#forget(dead);
    this.#firstIndex = index + 1;
    this.#count = count;
    if (count === 0) {
      this.#chunks = [];
      this.#origin = this.#firstIndex;
      return;
    }
    const deadChunks = Math.floor((this.#firstIndex - this.#origin) / CHUNK_ENTRIES);
    this.#chunks.splice(0, deadChunks);
    this.#origin += deadChunks * CHUNK_ENTRIES;
  }

  /** Smallest index from which on all records together have at most `sizeBytesMax`. */
  firstIndexWithin(sizeBytesMax: number): number {
    let leftBytes = sizeBytesMax;
    let index = this.lastIndex + 1;
    while (index > this.#firstIndex) {
      const { chunk, at } = this.#slot(index - 1);
      leftBytes -= chunk?.sizes[at] ?? 0;
      if (leftBytes < 0) break;
      index -= 1;
    }
    return index;
  }

  /** How many of the newest entries are in that file or later; from `low` on files ascend. */
  tailCountIn(fileId: number, low: number): number {
    let high = this.lastIndex + 1;
    let first = Math.min(low, high);
    while (first < high) {
      const middle = first + Math.floor((high - first) / 2);
      if (this.isPresent(middle) && this.position(middle).fileId >= fileId) high = middle;
      else first = middle + 1;
    }
    return this.lastIndex + 1 - first;
  }

  /** Takes the slot out of the totals. */
  #forget(index: number): void {
    const { chunk, at } = this.#slot(index);
    if (chunk === null || chunk.fileIds[at] === MISSING_FILE_ID) this.#missingCount -= 1;
    else this.#sizeBytes -= chunk.sizes[at]!;
  }

  /** A slot that is pushed again must start out missing and unnamed. */
  #clear(index: number): void {
    const { chunk, at } = this.#slot(index);
    if (chunk === null) return;
    chunk.fileIds[at] = MISSING_FILE_ID;
    chunk.offsets[at] = 0;
    chunk.sizes[at] = 0;
  }

  #namedSlot(index: number): { readonly chunk: Chunk; readonly at: number } {
    assert(this.isNamed(index), 'entry must be known by name', { index });
    return this.#ownSlot(index);
  }

  /** The slot with a chunk of its own. */
  #ownSlot(index: number): { readonly chunk: Chunk; readonly at: number } {
    const { chunk, at } = this.#slot(index);
    if (chunk !== null) return { chunk, at };
    const made = new Chunk();
    this.#chunks[Math.floor((index - this.#origin) / CHUNK_ENTRIES)] = made;
    return { chunk: made, at };
  }

  #slot(index: number): { readonly chunk: Chunk | null; readonly at: number } {
    assert(this.has(index), 'entry must be in the index', {
      index,
      firstIndex: this.#firstIndex,
      count: this.#count,
    });
    const slot = index - this.#origin;
    return { chunk: this.#chunks[Math.floor(slot / CHUNK_ENTRIES)]!, at: slot % CHUNK_ENTRIES };
  }
}
