/**
 * The configurations a search has entered: which operations were put, and the value they left.
 *
 * Hashed by exclusive or of one random word per operation, so that adding or taking away an
 * operation costs one step whatever their number; compared word by word, so that no collision of
 * hashes ever passes for "seen before": a wrong answer here would be a wrong verdict.
 */
import { SeededRandom } from '@holdfast/base';

/** Any fixed seed: the words only have to differ. */
const HASH_SEED = 0x5eed;
const INITIAL_SLOT_COUNT = 1_024;
/** A search that needs more memory than this is given up rather than the process endangered. */
const RECORD_WORD_COUNT_MAX = 64 << 20;

export class ConfigurationSet {
  readonly #wordCount: number;
  /** The operations put so far, one bit each. */
  readonly #bits: Uint32Array;
  readonly #hashes: Uint32Array;
  #hash = 0;
  /** Records of the bits and then the value, one after the other. */
  #records: Uint32Array;
  #recordCount = 0;
  /** 1 + number of the record; 0 is empty. Open addressing, at most half full. */
  #slots = new Uint32Array(INITIAL_SLOT_COUNT);

  constructor(operationCount: number) {
    this.#wordCount = Math.max(1, Math.ceil(operationCount / 32));
    this.#bits = new Uint32Array(this.#wordCount);
    const random = new SeededRandom(HASH_SEED);
    this.#hashes = Uint32Array.from({ length: operationCount }, () => random.nextU32());
    this.#records = new Uint32Array((this.#wordCount + 1) * (INITIAL_SLOT_COUNT / 2));
  }

  /** True when it holds as much as it may. */
  get isFull(): boolean {
    return this.#recordCount * (this.#wordCount + 1) >= RECORD_WORD_COUNT_MAX;
  }

  /** Puts `id` if it is not there, takes it away if it is. */
  toggle(id: number): void {
    this.#bits[id >>> 5]! ^= 1 << (id & 31);
    this.#hash = (this.#hash ^ this.#hashes[id]!) >>> 0;
  }

  /** Remembers the operations put with `value` (0 to 2^32 - 1); false: they were known. */
  addIfNew(value: number): boolean {
    const mask = this.#slots.length - 1;
    let slot = mixOf(this.#hash ^ Math.imul(value + 1, 0x9e3779b1)) & mask;
    for (let found = this.#slots[slot]!; found !== 0; found = this.#slots[slot]!) {
      if (this.#isRecord(found - 1, value)) return false;
      slot = (slot + 1) & mask;
    }
    this.#write(value);
    this.#slots[slot] = this.#recordCount;
    if (this.#recordCount * 2 >= this.#slots.length) this.#grow();
    return true;
  }

  #isRecord(record: number, value: number): boolean {
    const start = record * (this.#wordCount + 1);
    if (this.#records[start + this.#wordCount] !== value) return false;
    for (let word = 0; word < this.#wordCount; word++) {
      if (this.#records[start + word] !== this.#bits[word]) return false;
    }
    return true;
  }

  #write(value: number): void {
    const size = this.#wordCount + 1;
    const start = this.#recordCount * size;
    if (start + size > this.#records.length) {
      const larger = new Uint32Array(this.#records.length * 2);
      larger.set(this.#records);
      this.#records = larger;
    }
    this.#records.set(this.#bits, start);
    this.#records[start + this.#wordCount] = value;
    this.#recordCount += 1;
  }

  #grow(): void {
    const slots = new Uint32Array(this.#slots.length * 2);
    const mask = slots.length - 1;
    for (let record = 0; record < this.#recordCount; record++) {
      let slot = this.#slotHashOf(record) & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = record + 1;
    }
    this.#slots = slots;
  }

  #slotHashOf(record: number): number {
    const start = record * (this.#wordCount + 1);
    let hash = 0;
    for (let word = 0; word < this.#wordCount; word++) {
      for (let bits = this.#records[start + word]!; bits !== 0; bits &= bits - 1) {
        hash ^= this.#hashes[word * 32 + (31 - Math.clz32(bits & -bits))]!;
      }
    }
    const value = this.#records[start + this.#wordCount]!;
    return mixOf((hash >>> 0) ^ Math.imul(value + 1, 0x9e3779b1));
  }
}

/** Spreads the bits of a word (the finaliser of MurmurHash3). */
function mixOf(word: number): number {
  let mixed = word ^ (word >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
