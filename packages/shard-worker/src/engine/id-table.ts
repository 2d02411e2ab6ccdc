/**
 * id -> live row, by open addressing over the id hashes that ops carry: 4 bytes a slot, no string
 * is made to look a UUID up. Linear probing, deletion by shifting back, so there are no tombstones.
 */
import { assert } from '@holdfast/base';
import type { RowStore } from './row-store.ts';
import { NO_ROW } from './row-store.ts';

const SLOT_COUNT_MIN = 64;
/** Above this share of used slots probes get long: double. */
const LOAD_MAX = 0.6;

export class IdTable {
  readonly #rows: RowStore;
  #slots = new Uint32Array(SLOT_COUNT_MIN).fill(NO_ROW);
  #mask = SLOT_COUNT_MIN - 1;
  #count = 0;

  constructor(rows: RowStore) {
    this.#rows = rows;
  }

  get count(): number {
    return this.#count;
  }

  /** The live row of an id, NO_ROW when there is none. */
  find(hash: number, kind: number, view: DataView, idOffset: number): number {
    const slots = this.#slots;
    for (let slot = hash & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const row = slots[slot]!;
      if (row === NO_ROW) return NO_ROW;
      if (this.#rows.hash(row) !== hash) continue;
      if (this.#rows.hasId(row, kind, view, idOffset)) return row;
    }
  }

  /** The id of `row` must not be in the table. */
  insert(row: number): void {
    if ((this.#count + 1) / (this.#mask + 1) > LOAD_MAX) this.#double();
    this.#put(row);
    this.#count += 1;
  }

  replace(oldRow: number, newRow: number): void {
    assert(this.#rows.hash(oldRow) === this.#rows.hash(newRow), 'replacement must keep the id');
    this.#slots[this.#slotOf(oldRow)] = newRow;
  }

  remove(row: number): void {
    const slots = this.#slots;
    const mask = this.#mask;
    let hole = this.#slotOf(row);
    for (let slot = (hole + 1) & mask; ; slot = (slot + 1) & mask) {
      const candidate = slots[slot]!;
      if (candidate === NO_ROW) break;
      const home = this.#rows.hash(candidate) & mask;
      // It may move back only if its home does not lie cyclically after the hole.
      if (((slot - home) & mask) < ((slot - hole) & mask)) continue;
      slots[hole] = candidate;
      hole = slot;
    }
    slots[hole] = NO_ROW;
    this.#count -= 1;
  }

  #slotOf(row: number): number {
    for (let slot = this.#rows.hash(row) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const found = this.#slots[slot]!;
      assert(found !== NO_ROW, 'row must be in the id table', { row });
      if (found === row) return slot;
    }
  }

  #put(row: number): void {
    let slot = this.#rows.hash(row) & this.#mask;
    while (this.#slots[slot] !== NO_ROW) slot = (slot + 1) & this.#mask;
    this.#slots[slot] = row;
  }

  #double(): void {
    const old = this.#slots;
    this.#slots = new Uint32Array(old.length * 2).fill(NO_ROW);
    this.#mask = this.#slots.length - 1;
    for (const row of old) if (row !== NO_ROW) this.#put(row);
  }
}
