/**
 * Lets dead rows of one shard go: builds the next generation of its row store and id table in
 * slices, while the present one goes on taking entries and answering reads, and then swaps them
 * between two tasks. Rows get new numbers, in the same order; nothing logical changes.
 *
 * A row is carried over when it was live at the start, or came later, or belongs to a segment whose
 * file is not durable yet: such a file is still to be written from memory. Rows that die on the way
 * are carried over dead.
 */
import { assert } from '@holdfast/base';
import { ROW_GONE } from '../segment/sealed-segment.ts';
import { IdTable } from './id-table.ts';
import { RowStore } from './row-store.ts';
import type { Shard } from './shard.ts';

/** Dead rows are let go once they are a quarter of all; fewer are not worth copying the rest. */
const DEAD_SHARE_MIN = 0.25;
/** Below this nothing is worth the swap. */
export const COMPACTION_DEAD_ROW_COUNT_MIN = 1024;

export interface CompactedRows {
  readonly rows: RowStore;
  readonly ids: IdTable;
  /** New number of each old row, ROW_GONE for those that were let go. */
  readonly newRowOf: Uint32Array;
}

/** True when enough of the dead rows of `shard` can be let go now. */
export function isCompactionDue(shard: Shard, deadRowCountMin: number): boolean {
  const { ledger, rows } = shard;
  let deadCount = rows.rowCount - rows.liveCount;
  for (const { deadRowCount, isDurable } of ledger.sealed)
    if (!isDurable) deadCount -= deadRowCount;
  return deadCount >= deadRowCountMin && deadCount >= rows.rowCount * DEAD_SHARE_MIN;
}

export class RowCompaction {
  readonly #from: RowStore;
  readonly #next: RowStore;
  readonly #ids: IdTable;
  /** 1 for rows below `#startCount` that are carried over. */
  readonly #isKept: Uint8Array;
  readonly #startCount: number;
  #newRowOf: Uint32Array;
  #cursor = 0;
  /** Rows that were carried over and died since; worked off by the next slice. */
  #died: number[] = [];

  constructor({ ledger, rows }: Shard) {
    this.#from = rows;
    this.#next = new RowStore(rows.vectors.dimension);
    this.#ids = new IdTable(this.#next);
    this.#startCount = rows.rowCount;
    this.#isKept = new Uint8Array(rows.rowCount);
    for (let row = 0; row < rows.rowCount; row++) if (rows.isLive(row)) this.#isKept[row] = 1;
    for (const segment of ledger.sealed) {
      if (segment.isDurable) continue;
      for (const row of segment.rows) this.#isKept[row] = 1;
    }
    this.#newRowOf = new Uint32Array(rows.rowCount).fill(ROW_GONE);
  }

  /** To be called after a row was marked dead and left the shard's id table. */
  rowDied(row: number): void {
    if (row < this.#cursor) this.#died.push(row);
  }

  /** Carries over up to `rowCountMax` rows; true when all are. */
  step(rowCountMax: number): boolean {
    this.#bury();
    const end = Math.min(this.#from.rowCount, this.#cursor + rowCountMax);
    for (; this.#cursor < end; this.#cursor++) this.#carryOver(this.#cursor);
    return this.#cursor === this.#from.rowCount;
  }

  /** To be called in the turn in which `step` said true. */
  finish(): CompactedRows {
    assert(this.#died.length === 0 && this.#cursor === this.#from.rowCount, 'every row was seen');
    assert(this.#next.liveCount === this.#from.liveCount, 'no live row is lost by compaction', {
      before: this.#from.liveCount,
      after: this.#next.liveCount,
    });
    assert(this.#ids.count === this.#next.liveCount, 'every live row has one id');
    return {
      rows: this.#next,
      ids: this.#ids,
      newRowOf: this.#newRowOf.subarray(0, this.#cursor),
    };
  }

  #bury(): void {
    for (const row of this.#died) {
      const newRow = this.#newRowOf[row]!;
      this.#ids.remove(newRow);
      this.#next.markDead(newRow);
    }
    this.#died = [];
  }

  #carryOver(row: number): void {
    if (row >= this.#newRowOf.length) this.#grow(row);
    if (row < this.#startCount && this.#isKept[row] === 0) return;
    const newRow = this.#next.appendCopy(this.#from, row);
    this.#newRowOf[row] = newRow;
    if (this.#from.isLive(row)) this.#ids.insert(newRow);
    else this.#next.markDead(newRow);
  }

  #grow(row: number): void {
    const larger = new Uint32Array(Math.ceil((row + 1) * 1.25)).fill(ROW_GONE);
    larger.set(this.#newRowOf);
    this.#newRowOf = larger;
  }
}
