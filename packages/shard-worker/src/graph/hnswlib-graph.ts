/**
 * `Graph` by hnswlib-node. The native library aborts the whole process, uncatchably, when an array
 * element is not a number, and takes NaN, wrapping labels and repeated deletes without complaint.
 * So nothing reaches it unchecked: one scratch array of exactly `dimension` numbers, each copied
 * from a Float32Array and tested, labels from our own row numbers, a state byte per row.
 *
 * Cosine is the inner product of unit copies; a zero vector stays zero and is similar to nothing.
 */
import { createRequire } from 'node:module';
import { assert, HoldfastError } from '@holdfast/base';
import { normaliseInto } from '../distance/exact-math.ts';
import type { Graph, GraphFactory, GraphOptions } from './graph.ts';

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
  searchKnn(query: number[], count: number): { neighbors: number[] };
  setEf(ef: number): void;
}
export type NativeIndexConstructor = new (space: 'l2' | 'ip', dimension: number) => NativeIndex;

/** Fixed: the level of a node is drawn from it, so equal insertions give equal graphs. */
const LEVEL_SEED = 100;
const CAPACITY_MIN = 1024;
const CAPACITY_GROWTH = 1.5;
const STATE_NONE = 0;
const STATE_ADDED = 1;
const STATE_DELETED = 2;

export class HnswlibGraph implements Graph {
  readonly #options: GraphOptions;
  readonly #native: NativeIndex;
  /** Reused: the library takes plain arrays only, and one allocation per call would cost more. */
  readonly #scratch: number[];
  readonly #unit: Float32Array;
  #states = new Uint8Array(CAPACITY_MIN);
  #capacity = CAPACITY_MIN;
  #rowCount = 0;
  #deletedCount = 0;
  #ef = 0;

  constructor(Native: NativeIndexConstructor, options: GraphOptions) {
    const { dimension, metric, hnsw } = options;
    this.#options = options;
    this.#scratch = new Array<number>(dimension).fill(0.5);
    this.#unit = new Float32Array(dimension);
    this.#native = new Native(metric === 'l2' ? 'l2' : 'ip', dimension);
    this.#native.initIndex(CAPACITY_MIN, hnsw.m, hnsw.efConstruction, LEVEL_SEED, false);
  }

  get rowCount(): number {
    return this.#rowCount;
  }

  get deletedCount(): number {
    return this.#deletedCount;
  }

  hasRow(row: number): boolean {
    return row < this.#states.length && this.#states[row] !== STATE_NONE;
  }

  addRow(row: number, vector: Float32Array): void {
    assert(Number.isInteger(row) && row >= 0 && row < 0xffff_ffff, 'graph: row is not a u32', {
      row,
    });
    assert(!this.hasRow(row), 'graph: a row is added once', { row });
    this.#fillScratch(vector);
    if (this.#rowCount === this.#capacity) {
      this.#capacity = Math.ceil(this.#capacity * CAPACITY_GROWTH);
      this.#native.resizeIndex(this.#capacity);
    }
    this.#native.addPoint(this.#scratch, row, false);
    this.#setAdded(row);
  }

  markDeleted(row: number): void {
    assert(this.#states[row] === STATE_ADDED, 'graph: only a live row is marked deleted', { row });
    this.#native.markDelete(row);
    this.#states[row] = STATE_DELETED;
    this.#deletedCount += 1;
  }

  search(query: Float32Array, count: number, ef: number, target: Uint32Array): number {
    const askedCount = Math.min(count, this.#rowCount - this.#deletedCount);
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
    const { neighbors } = this.#native.searchKnn(this.#scratch, askedCount);
    assert(neighbors.length <= target.length, 'graph: more neighbours than asked for');
    for (let i = 0; i < neighbors.length; i++) target[i] = neighbors[i]!;
    return neighbors.length;
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

  #setAdded(row: number): void {
    if (row >= this.#states.length) {
      const states = new Uint8Array(Math.max(row + 1, Math.ceil(this.#states.length * 1.5)));
      states.set(this.#states);
      this.#states = states;
    }
    this.#states[row] = STATE_ADDED;
    this.#rowCount += 1;
  }
}

let loaded: GraphFactory | HoldfastError | undefined;

/**
 * The factory, or the reason why there is none: the native module is an optional dependency, and
 * without it every search is exact. Loaded at the first call, then remembered.
 */
export function loadHnswlib(): GraphFactory | HoldfastError {
  loaded ??= tryLoad();
  return loaded;
}

function tryLoad(): GraphFactory | HoldfastError {
  try {
    const native = createRequire(import.meta.url)('hnswlib-node') as {
      readonly HierarchicalNSW: NativeIndexConstructor;
    };
    return { create: (options) => new HnswlibGraph(native.HierarchicalNSW, options) };
  } catch (cause) {
    return new HoldfastError(
      'CONFIG_INVALID',
      'The optional package hnswlib-node is not installed or not built, so searches are exact; ' +
        'install a C++ compiler and reinstall the dependencies to get graph search.',
      { cause },
    );
  }
}
