/** A set of row numbers of one shard, one bit each. */
import { assert } from '@holdfast/base';

export class RowBitmap {
  readonly words: Uint32Array;
  readonly #rowCount: number;

  constructor(rowCount: number) {
    this.#rowCount = rowCount;
    this.words = new Uint32Array((rowCount + 31) >>> 5);
  }

  has(row: number): boolean {
    return (this.words[row >>> 5]! & (1 << (row & 31))) !== 0;
  }

  add(row: number): void {
    this.words[row >>> 5]! |= 1 << (row & 31);
  }

  remove(row: number): void {
    this.words[row >>> 5]! &= ~(1 << (row & 31));
  }

  keepOnly(other: RowBitmap): void {
    assert(other.#rowCount === this.#rowCount, 'bitmaps are of one shard and moment');
    for (let i = 0; i < this.words.length; i++) this.words[i]! &= other.words[i]!;
  }

  addAll(other: RowBitmap): void {
    assert(other.#rowCount === this.#rowCount, 'bitmaps are of one shard and moment');
    for (let i = 0; i < this.words.length; i++) this.words[i]! |= other.words[i]!;
  }

  removeAll(other: RowBitmap): void {
    assert(other.#rowCount === this.#rowCount, 'bitmaps are of one shard and moment');
    for (let i = 0; i < this.words.length; i++) this.words[i]! &= ~other.words[i]!;
  }

  get count(): number {
    let count = 0;
    for (const word of this.words) if (word !== 0) count += bitCount(word);
    return count;
  }

  /** Its rows from `first` on, ascending, written to a new array of exactly that many. */
  rows(first = 0): Uint32Array {
    const rows = new Uint32Array(this.count);
    const { words } = this;
    let found = 0;
    for (let i = first >>> 5; i < words.length; i++) {
      let word = words[i]!;
      if (i === first >>> 5) word &= -1 << (first & 31);
      while (word !== 0) {
        const bit = 31 - Math.clz32(word & -word);
        rows[found] = i * 32 + bit;
        found += 1;
        word &= word - 1;
      }
    }
    return rows.subarray(0, found);
  }
}

function bitCount(word: number): number {
  let count = word - ((word >>> 1) & 0x5555_5555);
  count = (count & 0x3333_3333) + ((count >>> 2) & 0x3333_3333);
  return Math.imul((count + (count >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}
