/**
 * Labels are what a native graph stores for a row: small numbers given in the order of insertion.
 * Row numbers change when rows are compacted or loaded again; labels do not, so a graph survives
 * both by exchanging this table. 4 bytes a label and 4 bytes a row.
 *
 * Invariant: `#labelOf[row] === label` exactly when `#rowOf[label] === row` and the label is live.
 */
import { assert, HoldfastError } from '@holdfast/base';
import { NO_ROW } from '../engine/row-store.ts';

const CAPACITY_MIN = 1024;
const GROWTH = 1.5;
const NO_LABEL = 0xffff_ffff;

export class LabelTable {
  #rowOf = new Uint32Array(CAPACITY_MIN).fill(NO_ROW);
  #labelOf = new Uint32Array(CAPACITY_MIN).fill(NO_LABEL);
  #labelCount = 0;
  #liveCount = 0;
  #changeCount = 0;
  /** Labels whose place the library gives out again; empty for libraries that do not. */
  readonly #free: number[] = [];

  /** The table of a saved graph: `labelRows[label]`, NO_ROW where the label is dead. */
  static restore(labelRows: Uint32Array, isReusing: boolean): LabelTable {
    const table = new LabelTable();
    for (const row of labelRows) {
      const label = table.#labelCount;
      table.#labelCount += 1;
      table.#rowOf = grownFor(table.#rowOf, label, NO_ROW);
      if (row !== NO_ROW) table.#connect(label, row);
      else if (isReusing) table.#free.push(label);
    }
    return table;
  }

  /** Labels ever given, dead ones included. */
  get labelCount(): number {
    return this.#labelCount;
  }

  get changeCount(): number {
    return this.#changeCount;
  }

  get liveCount(): number {
    return this.#liveCount;
  }

  has(row: number): boolean {
    return row < this.#labelOf.length && this.#labelOf[row] !== NO_LABEL;
  }

  /** The label of a live row. */
  labelOf(row: number): number {
    assert(this.has(row), 'graph: only a live row of the graph has a label', { row });
    return this.#labelOf[row]!;
  }

  /** The row of a label the library answered with; NO_ROW when it is dead. */
  rowOf(label: number): number {
    assert(label < this.#labelCount, 'graph: the library answers with labels it was given');
    return this.#rowOf[label]!;
  }

  /** The same for any number at all: NO_ROW for what is no live label. Never throws. */
  rowOrNone(label: number): number {
    return this.#rowOf[label] ?? NO_ROW;
  }

  /** Gives `row` a label. */
  add(row: number): number {
    assert(Number.isInteger(row) && row >= 0 && row < NO_ROW, 'graph: row is not a u32', { row });
    assert(!this.has(row), 'graph: a row is added once', { row });
    const label = this.#free.pop() ?? this.#labelCount;
    this.#changeCount += 1;
    if (label === this.#labelCount) this.#labelCount += 1;
    this.#rowOf = grownFor(this.#rowOf, label, NO_ROW);
    this.#connect(label, row);
    return label;
  }

  /** Forgets a live row; `isReusable` when the library may give its place to another. */
  remove(row: number, isReusable: boolean): number {
    const label = this.labelOf(row);
    this.#labelOf[row] = NO_LABEL;
    this.#rowOf[label] = NO_ROW;
    this.#liveCount -= 1;
    this.#changeCount += 1;
    if (isReusable) this.#free.push(label);
    return label;
  }

  labelRows(): Uint32Array {
    return this.#rowOf.slice(0, this.#labelCount);
  }

  renumber(newRowOf: Uint32Array): void {
    const old = this.labelRows();
    this.#labelOf = new Uint32Array(CAPACITY_MIN).fill(NO_LABEL);
    this.#liveCount = 0;
    for (let label = 0; label < old.length; label++) {
      if (old[label] === NO_ROW) continue;
      const row = newRowOf[old[label]!]!;
      assert(row !== NO_ROW, 'graph: a live row cannot be gone', { row: old[label]! });
      this.#connect(label, row);
    }
  }

  #connect(label: number, row: number): void {
    this.#labelOf = grownFor(this.#labelOf, row, NO_LABEL);
    assert(this.#labelOf[row] === NO_LABEL, 'graph: a row has one label', { row });
    this.#labelOf[row] = label;
    this.#rowOf[label] = row;
    this.#liveCount += 1;
  }
}

function grownFor(column: Uint32Array<ArrayBuffer>, index: number, filler: number) {
  if (index < column.length) return column;
  const grown = new Uint32Array(Math.max(index + 1, Math.ceil(column.length * GROWTH)));
  grown.set(column);
  grown.fill(filler, column.length);
  return grown;
}

/** A verified file and the labels saved beside it do not belong together. */
export const labelsDisagree = (path: string, inFile: number, inTable: number): HoldfastError =>
  new HoldfastError(
    'FILE_CORRUPT',
    `${path} holds ${inFile} vectors and its labels are ${inTable}: the graph is built again`,
    { details: { file: path, offset: 0 } },
  );
