/**
 * `Graph` by hnswlib-node. The native library aborts the whole process, uncatchably, when an array
 * element is not a number or a filter throws, and takes NaN, wrapping labels and repeated deletes
 * without complaint. So nothing reaches it unchecked: one scratch array of exactly `dimension`
 * numbers, each copied from a Float32Array and tested, labels from our own table.
 *
 * Cosine is the inner product of unit copies; a zero vector stays zero and is similar to nothing.
 */
import { assert } from '@holdfast/base';
import { normaliseInto } from '../distance/exact-math.ts';
import { NO_ROW } from '../engine/row-store.ts';
import type { Graph, GraphOptions, SavedLabels } from './graph.ts';
import { LabelTable, labelsDisagree } from './label-table.ts';

/** What is used of the native class. */
export interface NativeIndex {
  initIndex(
    maxElements: number,
    m: number,
    efConstruction: number,
    randomSeed: number,
    allowReplaceDeleted: boolean,
  ): void;
  resizeIndex(newMaxElements: number): void;
  addPoint(point: number[], label: number, replaceDeleted: boolean): void;
  markDelete(label: number): void;
  searchKnn(
    query: number[],
    count: number,
    filter?: (label: number) => boolean,
  ): { neighbors: number[] };
  setEf(ef: number): void;
  getMaxElements(): number;
  getCurrentCount(): number;
  readIndexSync(path: string): void;
  writeIndexSync(path: string): void;
}
export type NativeIndexConstructor = new (space: 'l2' | 'ip', dimension: number) => NativeIndex;

/** Fixed: the level of a node is drawn from it, so equal insertions give equal graphs. */
const LEVEL_SEED = 100;
const CAPACITY_MIN = 1024;
const CAPACITY_GROWTH = 1.5;

export class HnswlibGraph implements Graph {
  readonly engine = 'hnswlib';
  readonly precision = 'f32';
  readonly #options: GraphOptions;
  readonly #native: NativeIndex;
  /** Reused: the library takes plain arrays only, and one allocation per call would cost more. */
  readonly #scratch: number[];
  readonly #unit: Float32Array;
  #labels = new LabelTable();
  #capacity = CAPACITY_MIN;
  #ef = 0;

  private constructor(Native: NativeIndexConstructor, options: GraphOptions) {
    const { dimension, metric } = options;
    this.#options = options;
    this.#scratch = new Array<number>(dimension).fill(0.5);
    this.#unit = new Float32Array(dimension);
    this.#native = new Native(metric === 'l2' ? 'l2' : 'ip', dimension);
  }

  static create(Native: NativeIndexConstructor, options: GraphOptions): HnswlibGraph {
    const graph = new HnswlibGraph(Native, options);
    const { m, efConstruction } = options.hnsw;
    graph.#native.initIndex(CAPACITY_MIN, m, efConstruction, LEVEL_SEED, false);
    return graph;
  }

  /** The file must have been verified and been written with the same options. */
  static load(
    Native: NativeIndexConstructor,
    options: GraphOptions,
    path: string,
    { rows, goneLabels }: SavedLabels,
  ): HnswlibGraph {
    const graph = new HnswlibGraph(Native, options);
    const native = graph.#native;
    native.readIndexSync(path);
    const inFile = native.getCurrentCount();
    if (inFile !== rows.length) throw labelsDisagree(path, inFile, rows.length);
    graph.#labels = LabelTable.restore(rows, false);
    graph.#capacity = native.getMaxElements();
    for (const label of goneLabels) native.markDelete(label);
    return graph;
  }

  get rowCount(): number {
    return this.#labels.labelCount;
  }

  get deletedCount(): number {
    return this.#labels.labelCount - this.#labels.liveCount;
  }

  get changeCount(): number {
    return this.#labels.changeCount;
  }

  hasRow(row: number): boolean {
    return this.#labels.has(row);
  }

  addRow(row: number, vector: Float32Array): void {
    this.#fillScratch(vector);
    if (this.rowCount === this.#capacity) {
      this.#capacity = Math.ceil(this.#capacity * CAPACITY_GROWTH);
      this.#native.resizeIndex(this.#capacity);
    }
    this.#native.addPoint(this.#scratch, this.#labels.add(row), false);
  }

  markDeleted(row: number): void {
    // A label is not given out again: the library replaces ten times slower than it inserts.
    this.#native.markDelete(this.#labels.remove(row, false));
  }

  search(query: Float32Array, count: number, ef: number, target: Uint32Array): number {
    return this.#search(query, count, ef, target);
  }

  searchFiltered(
    query: Float32Array,
    count: number,
    ef: number,
    allowedRows: Uint32Array,
    target: Uint32Array,
  ): number {
    // Must not throw, whatever label comes: an exception in here aborts the process.
    return this.#search(query, count, ef, target, (label) => {
      const row = this.#labels.rowOrNone(label);
      return ((allowedRows[row >>> 5] ?? 0) & (1 << (row & 31))) !== 0;
    });
  }

  labelRows(): Uint32Array {
    return this.#labels.labelRows();
  }

  renumber(newRowOf: Uint32Array): void {
    this.#labels.renumber(newRowOf);
  }

  save(path: string): void {
    this.#native.writeIndexSync(path);
  }

  #search(
    query: Float32Array,
    count: number,
    ef: number,
    target: Uint32Array,
    filter?: (label: number) => boolean,
  ): number {
    const askedCount = Math.min(count, this.#labels.liveCount);
    if (askedCount === 0) return 0;
    assert(Number.isInteger(askedCount) && askedCount > 0, 'graph: bad count', { count });
    assert(target.length >= askedCount, 'graph: target is too small', { count });
    this.#fillScratch(query);
    const neededEf = Math.max(ef, askedCount);
    if (neededEf !== this.#ef) {
      assert(Number.isInteger(neededEf), 'graph: ef must be an integer', { ef });
      this.#native.setEf(neededEf);
      this.#ef = neededEf;
    }
    const { neighbors } =
      filter === undefined
        ? this.#native.searchKnn(this.#scratch, askedCount)
        : this.#native.searchKnn(this.#scratch, askedCount, filter);
    assert(neighbors.length <= target.length, 'graph: more neighbours than asked for');
    let found = 0;
    for (let i = 0; i < neighbors.length; i++) {
      const row = this.#labels.rowOf(neighbors[i]!);
      if (row !== NO_ROW) target[found++] = row;
    }
    return found;
  }

  #fillScratch(vector: Float32Array): void {
    const { dimension, metric } = this.#options;
    assert(vector instanceof Float32Array, 'graph: a vector must be a Float32Array');
    assert(vector.length === dimension, 'graph: wrong dimension', { found: vector.length });
    let source = vector;
    if (metric === 'cosine') {
      normaliseInto(this.#unit, vector);
      source = this.#unit;
    }
    const scratch = this.#scratch;
    let sum = 0;
    for (let i = 0; i < dimension; i++) {
      const component = source[i]!;
      scratch[i] = component;
      // Zero for every finite number, NaN for the others, and NaN stays.
      sum += component - component;
    }
    assert(sum === 0, 'graph: a vector component is not finite');
  }
}
