/**
 * Where each entry of one group is on disk, with its term and sum: 36 bytes per entry in typed
 * arrays, in chunks, so that millions of entries cost no objects and compaction drops whole chunks.
 * Holds the indexes firstIndex..lastIndex without gaps.
 */
import type { LogIndex, Term } from '@holdfast/base';
import { assert, ENTRY_SUM_SIZE_BYTES } from '@holdfast/base';

/** 4,096 entries are 147 KiB: small for an idle group, few for a busy one. */
const CHUNK_ENTRIES = 4096;

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

export class EntryIndex {
  #chunks: Chunk[] = [];
  /** Index of the first slot of the first chunk. */
  #origin: number;
  #firstIndex: number;
  #count = 0;

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

  has(index: number): boolean {
    return index >= this.#firstIndex && index < this.#firstIndex + this.#count;
  }

  push(term: Term, sum: Uint8Array, position: RecordPosition): void {
    const slot = this.#firstIndex + this.#count - this.#origin;
    const chunkNumber = Math.floor(slot / CHUNK_ENTRIES);
    if (chunkNumber === this.#chunks.length) this.#chunks.push(new Chunk());
    const chunk = this.#chunks[chunkNumber]!;
    const at = slot % CHUNK_ENTRIES;
    chunk.fileIds[at] = position.fileId;
    chunk.offsets[at] = position.offset;
    chunk.sizes[at] = position.sizeBytes;
    chunk.terms[at] = term;
    chunk.sums.set(sum, at * ENTRY_SUM_SIZE_BYTES);
    this.#count += 1;
  }

  term(index: number): Term {
    const { chunk, at } = this.#slot(index);
    return chunk.terms[at]! as Term;
  }

  /** A copy. */
  sum(index: number): Uint8Array {
    const { chunk, at } = this.#slot(index);
    return chunk.sums.slice(at * ENTRY_SUM_SIZE_BYTES, (at + 1) * ENTRY_SUM_SIZE_BYTES);
  }

  position(index: number): RecordPosition {
    const { chunk, at } = this.#slot(index);
    return {
      fileId: chunk.fileIds[at]!,
      offset: chunk.offsets[at]!,
      sizeBytes: chunk.sizes[at]!,
    };
  }

  /** Forgets `index` and everything after it. */
  truncateFrom(index: number): void {
    assert(index >= this.#firstIndex, 'index truncation must stay inside', { index });
    this.#count = Math.min(this.#count, index - this.#firstIndex);
    const slots = this.#firstIndex + this.#count - this.#origin;
    this.#chunks.length = Math.min(this.#chunks.length, Math.ceil(slots / CHUNK_ENTRIES));
  }

  /** Forgets `index` and everything before it. */
  dropThrough(index: number): void {
    if (index < this.#firstIndex) return;
    const count = Math.max(0, this.lastIndex - index);
    this.#firstIndex = index + 1;
    this.#count = count;
    if (count === 0) {
      this.#chunks = [];
      this.#origin = this.#firstIndex;
      return;
    }
    const dead = Math.floor((this.#firstIndex - this.#origin) / CHUNK_ENTRIES);
    this.#chunks.splice(0, dead);
    this.#origin += dead * CHUNK_ENTRIES;
  }

  #slot(index: number): { chunk: Chunk; at: number } {
    assert(this.has(index), 'entry must be in the index', {
      index,
      firstIndex: this.#firstIndex,
      count: this.#count,
    });
    const slot = index - this.#origin;
    return { chunk: this.#chunks[Math.floor(slot / CHUNK_ENTRIES)]!, at: slot % CHUNK_ENTRIES };
  }
}
