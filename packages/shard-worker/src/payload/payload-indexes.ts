/**
 * The payload indexes of one shard. What is declared is logical state; the indexes themselves are
 * derived and local: built from the rows in slices after a start or a declaration, kept up by apply
 * from then on, and not asked before they hold every row. Until then, and when an index outgrows
 * its memory, filters read payloads instead: slower, with the same answers.
 */
import { must } from '@holdfast/base';
import type { RowStore } from '../engine/row-store.ts';
import type { PayloadIndexDefinition } from '../model.ts';
import { firstKept } from '../segment/sealed-segment.ts';
import type { KeyCondition } from './filter.ts';
import { NumberIndex } from './number-index.ts';
import { encodePath } from './scan.ts';
import { TokenIndex } from './token-index.ts';
import type { Liveness, ValueIndex } from './value-index.ts';

/**
 * Of one index of one shard. Ten million rows of a repeated value take 40 MB, a million different
 * keys about 150 MB; beyond this the memory is better spent on vectors.
 */
export const PAYLOAD_INDEX_SIZE_BYTES_MAX = 256 * 1024 * 1024;

interface BuiltIndex {
  readonly definition: PayloadIndexDefinition;
  /** Null: it outgrew its memory and was given up. */
  index: ValueIndex | null;
  /** Rows below were added, or were dead when their turn came. */
  builtRowCount: number;
}

export class PayloadIndexes {
  #rows: RowStore;
  readonly #sizeBytesMax: number;
  readonly #isLive: Liveness;
  #indexes: BuiltIndex[] = [];

  constructor(rows: RowStore, sizeBytesMax = PAYLOAD_INDEX_SIZE_BYTES_MAX) {
    this.#rows = rows;
    this.#sizeBytesMax = sizeBytesMax;
    this.#isLive = (row) => this.#rows.isLive(row);
  }

  /** From now on these and no others; indexes that stay keep what they hold. */
  declare(definitions: readonly PayloadIndexDefinition[]): void {
    const known = this.#indexes;
    this.#indexes = definitions.map((definition) => {
      const { key, type } = definition;
      const same = known.find((old) => old.definition.key === key && old.definition.type === type);
      return same ?? { definition, index: this.#empty(definition), builtRowCount: 0 };
    });
  }

  /** The ready index that answers this condition, null when there is none. */
  find(condition: KeyCondition): ValueIndex | null {
    for (const { definition, index, builtRowCount } of this.#indexes) {
      if (definition.key !== condition.key || index === null) continue;
      if (builtRowCount === this.#rows.rowCount && index.canAnswer(condition)) return index;
    }
    return null;
  }

  /** To be called for each new row, in order. */
  rowAppended(row: number): void {
    for (const built of this.#indexes) if (built.builtRowCount === row) this.#take(built, row);
  }

  /** To be called after the row was marked dead. */
  rowDied(row: number): void {
    if (this.#indexes.length === 0) return;
    const payload = this.#rows.payload(row);
    if (payload === null) return;
    for (const { index, builtRowCount } of this.#indexes)
      if (row < builtRowCount) index?.remove(payload, row);
  }

  /** The rows moved to another store, with other numbers in the same order. */
  renumber(rows: RowStore, newRowOf: Uint32Array): void {
    this.#rows = rows;
    for (const built of this.#indexes) {
      built.index?.renumber(newRowOf);
      built.builtRowCount = firstKept(newRowOf, built.builtRowCount, rows.rowCount);
    }
  }

  get hasWork(): boolean {
    return this.backlog > 0;
  }

  /** Rows that wait to enter an index. */
  get backlog(): number {
    let rowCount = 0;
    for (const { index, builtRowCount } of this.#indexes)
      if (index !== null) rowCount += this.#rows.rowCount - builtRowCount;
    return rowCount;
  }

  get sizeBytes(): number {
    return this.#indexes.reduce((sum, { index }) => sum + (index?.sizeBytes ?? 0), 0);
  }

  /** Indexes that were given up because they outgrew their memory. */
  get givenUpCount(): number {
    return this.#indexes.filter(({ index }) => index === null).length;
  }

  /** Adds up to `rowCountMax` rows and returns how many it looked at. */
  buildSlice(rowCountMax: number): number {
    let left = rowCountMax;
    for (const built of this.#indexes) {
      while (left > 0 && built.index !== null && built.builtRowCount < this.#rows.rowCount) {
        this.#take(built, built.builtRowCount);
        left -= 1;
      }
    }
    return rowCountMax - left;
  }

  #take(built: BuiltIndex, row: number): void {
    built.builtRowCount = row + 1;
    if (built.index === null || !this.#rows.isLive(row)) return;
    const payload = this.#rows.payload(row);
    if (payload === null) return;
    built.index.add(payload, row);
    if (built.index.sizeBytes > this.#sizeBytesMax) built.index = null;
  }

  #empty({ key, type }: PayloadIndexDefinition): ValueIndex {
    const path = encodePath(key);
    const makers = {
      keyword: () => new TokenIndex(path, 'string', this.#isLive),
      bool: () => new TokenIndex(path, 'boolean', this.#isLive),
      integer: () => new NumberIndex(path, false, this.#isLive),
      float: () => new NumberIndex(path, false, this.#isLive),
      datetime: () => new NumberIndex(path, true, this.#isLive),
    };
    return must(makers[type], 'a payload index is of a known type')();
  }
}
