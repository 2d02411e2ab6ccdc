/**
 * A graph whose rows got other numbers: memory was compacted, and the labels inside the native
 * index cannot change. Callers go on with row numbers, the index with its own labels. Rows that
 * left memory were dead, so the index never proposes them.
 *
 * Costs 8 bytes a row and one array read per candidate until the graph is built anew.
 */
import { assert } from '@holdfast/base';
import type { Graph } from './graph.ts';

/** Also a label that no row has any more. */
const NONE = 0xffff_ffff;

export class RenumberedGraph implements Graph {
  readonly #inner: Graph;
  #rowOfLabel: Uint32Array;
  #labelOfRow: Uint32Array;
  #labelCount: number;

  private constructor(inner: Graph, rowOfLabel: Uint32Array, labelCount: number) {
    this.#inner = inner;
    this.#rowOfLabel = rowOfLabel;
    this.#labelCount = labelCount;
    this.#labelOfRow = invert(rowOfLabel, labelCount);
  }

  /** `graph` after row i became `newRowOf[i]`, NONE for rows that are gone. */
  static of(graph: Graph, newRowOf: Uint32Array): RenumberedGraph {
    if (!(graph instanceof RenumberedGraph)) {
      // Rows of the tail have a number and no label yet.
      const rowOfLabel = newRowOf.map((row, label) => (graph.hasRow(label) ? row : NONE));
      return new RenumberedGraph(graph, rowOfLabel, newRowOf.length);
    }
    const rowOfLabel = graph.#rowOfLabel.map((row) => (row === NONE ? NONE : newRowOf[row]!));
    return new RenumberedGraph(graph.#inner, rowOfLabel, graph.#labelCount);
  }

  get rowCount(): number {
    return this.#inner.rowCount;
  }

  get deletedCount(): number {
    return this.#inner.deletedCount;
  }

  hasRow(row: number): boolean {
    const label = this.#labelOf(row);
    return label !== NONE && this.#inner.hasRow(label);
  }

  addRow(row: number, vector: Float32Array): void {
    assert(this.#labelOf(row) === NONE, 'graph: a row is added once', { row });
    const label = this.#labelCount;
    this.#inner.addRow(label, vector);
    this.#labelCount += 1;
    this.#rowOfLabel = put(this.#rowOfLabel, label, row);
    this.#labelOfRow = put(this.#labelOfRow, row, label);
  }

  markDeleted(row: number): void {
    const label = this.#labelOf(row);
    assert(label !== NONE, 'graph: only a row that was added is marked deleted', { row });
    this.#inner.markDeleted(label);
  }

  search(query: Float32Array, count: number, ef: number, target: Uint32Array): number {
    const found = this.#inner.search(query, count, ef, target);
    let kept = 0;
    for (let i = 0; i < found; i++) {
      const row = this.#rowOfLabel[target[i]!]!;
      if (row === NONE) continue;
      target[kept] = row;
      kept += 1;
    }
    return kept;
  }

  #labelOf(row: number): number {
    return row < this.#labelOfRow.length ? this.#labelOfRow[row]! : NONE;
  }
}

function invert(rowOfLabel: Uint32Array, labelCount: number): Uint32Array {
  let size = 0;
  for (let label = 0; label < labelCount; label++) {
    const row = rowOfLabel[label]!;
    if (row !== NONE && row >= size) size = row + 1;
  }
  const labelOfRow = new Uint32Array(size).fill(NONE);
  for (let label = 0; label < labelCount; label++) {
    const row = rowOfLabel[label]!;
    if (row !== NONE) labelOfRow[row] = label;
  }
  return labelOfRow;
}

function put(array: Uint32Array, at: number, value: number): Uint32Array {
  let target = array;
  if (at >= array.length) {
    target = new Uint32Array(Math.max(at + 1, Math.ceil(array.length * 1.5))).fill(NONE);
    target.set(array);
  }
  target[at] = value;
  return target;
}
