/**
 * `Graph` by usearch, at f32 or bf16. What its package does not promise is kept away from it: one
 * thread per call (more than were reserved throws or kills), no search of an empty index, finite
 * vectors of the right length only, labels from our own table. It reuses the place of a removed
 * vector, so labels are reused with it and churn does not make the graph grow.
 *
 * It has no ef per call: its beam is max(ef at construction, count asked for). So the beam at
 * construction is 1, a search asks for `ef` rows and takes the first of them.
 */
import { assert } from '@holdfast/base';
import { isFiniteVector, normaliseInto } from '../distance/exact-math.ts';
import { NO_ROW } from '../engine/row-store.ts';
import type { GraphPrecision } from '../model.ts';
import type { Graph, GraphOptions, SavedLabels } from './graph.ts';
import { LabelTable, labelsDisagree } from './label-table.ts';

/** What is used of the native class. */
export interface UsearchIndex {
  add(keys: BigUint64Array, vectors: Float32Array, threads: number): void;
  remove(keys: BigUint64Array): number[];
  search(query: Float32Array, count: number, threads: number): { readonly keys: BigUint64Array };
  size(): number;
  save(path: string): void;
  load(path: string): void;
}
export type UsearchIndexConstructor = new (
  dimension: number,
  metric: 'l2sq' | 'ip',
  scalar: GraphPrecision,
  connectivity: number,
  expansionAdd: number,
  expansionSearch: number,
  isMulti: boolean,
) => UsearchIndex;

/** More than one makes the library start threads for each call. */
const THREAD_COUNT = 1;
/** See above: 0 would mean its default of 64, below which no search could go. */
const EXPANSION_SEARCH = 1;

export class UsearchGraph implements Graph {
  readonly engine = 'usearch';
  readonly precision: GraphPrecision;
  readonly #options: GraphOptions;
  readonly #native: UsearchIndex;
  readonly #unit: Float32Array;
  /** One key for the library, and the same memory as the u32 that we set. */
  readonly #key = new BigUint64Array(1);
  readonly #keyWords = new Uint32Array(this.#key.buffer);
  #labels = new LabelTable();

  private constructor(Native: UsearchIndexConstructor, options: GraphOptions) {
    const { dimension, metric, hnsw, graph } = options;
    this.#options = options;
    this.precision = graph.precision;
    this.#unit = new Float32Array(dimension);
    this.#native = new Native(
      dimension,
      metric === 'l2' ? 'l2sq' : 'ip',
      graph.precision,
      hnsw.m,
      hnsw.efConstruction,
      EXPANSION_SEARCH,
      false,
    );
  }

  static create(Native: UsearchIndexConstructor, options: GraphOptions): UsearchGraph {
    return new UsearchGraph(Native, options);
  }

  /** The file must have been verified and been written with the same options. */
  static load(
    Native: UsearchIndexConstructor,
    options: GraphOptions,
    path: string,
    { rows, goneLabels }: SavedLabels,
  ): UsearchGraph {
    const graph = new UsearchGraph(Native, options);
    graph.#native.load(path);
    graph.#labels = LabelTable.restore(rows, true);
    for (const label of goneLabels) graph.#removeNative(label);
    const { liveCount } = graph.#labels;
    const inFile = graph.#native.size();
    if (inFile !== liveCount) throw labelsDisagree(path, inFile, liveCount);
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
    const checked = this.#checked(vector);
    this.#keyWords[0] = this.#labels.add(row);
    this.#native.add(this.#key, checked, THREAD_COUNT);
  }

  markDeleted(row: number): void {
    this.#removeNative(this.#labels.remove(row, true));
  }

  search(query: Float32Array, count: number, ef: number, target: Uint32Array): number {
    const { liveCount } = this.#labels;
    const askedCount = Math.min(count, liveCount);
    if (askedCount === 0) return 0;
    assert(Number.isInteger(askedCount) && askedCount > 0, 'graph: bad count', { count });
    assert(Number.isInteger(ef), 'graph: ef must be an integer', { ef });
    assert(target.length >= askedCount, 'graph: target is too small', { count });
    const beam = Math.min(Math.max(ef, askedCount), liveCount);
    const { keys } = this.#native.search(this.#checked(query), beam, THREAD_COUNT);
    // Two words a key, the low one first on every machine this runs on: no BigInt is made.
    const words = new Uint32Array(keys.buffer, keys.byteOffset, keys.length * 2);
    let found = 0;
    for (let i = 0; i < keys.length && found < askedCount; i++) {
      const row = this.#labels.rowOf(words[i * 2]!);
      if (row !== NO_ROW) target[found++] = row;
    }
    return found;
  }

  labelRows(): Uint32Array {
    return this.#labels.labelRows();
  }

  renumber(newRowOf: Uint32Array): void {
    this.#labels.renumber(newRowOf);
  }

  save(path: string): void {
    this.#native.save(path);
  }

  #removeNative(label: number): void {
    this.#keyWords[0] = label;
    const [removedCount] = this.#native.remove(this.#key);
    assert(removedCount === 1, 'graph: the library must know a live label', { label });
  }

  #checked(vector: Float32Array): Float32Array {
    const { dimension, metric } = this.#options;
    assert(vector instanceof Float32Array, 'graph: a vector must be a Float32Array');
    assert(vector.length === dimension, 'graph: wrong dimension', { found: vector.length });
    assert(isFiniteVector(vector), 'graph: a vector component is not finite');
    if (metric !== 'cosine') return vector;
    normaliseInto(this.#unit, vector);
    return this.#unit;
  }
}
