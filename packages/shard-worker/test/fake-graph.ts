/**
 * A graph without native code, for a file system in memory: exact over the rows it holds, or as bad
 * as the test wants. Its file is its vectors; every load is counted, because what must not reach a
 * native loader must not reach this one.
 */
import { assert } from '@holdfast/base';
import type { FileSystem } from '@holdfast/storage';
import { readWholeFile, writeAtomicFile } from '@holdfast/storage';
import { NO_ROW } from '../src/engine/row-store.ts';
import type { Graph, GraphFactory, GraphOptions, SavedLabels } from '../src/graph/graph.ts';
import { LabelTable } from '../src/graph/label-table.ts';

export class FakeGraphs implements GraphFactory {
  readonly #fs: FileSystem;
  loadCount = 0;
  engineVersion = '1';
  /** Of the rows that graphs created from now on hold, this share is never found. */
  blindShare = 0;
  /** Thrown by the next load: a stand-in for a crash. */
  loadError: Error | null = null;
  created: GraphOptions[] = [];

  constructor(fs: FileSystem) {
    this.#fs = fs;
  }

  buildFor({ graph }: GraphOptions) {
    const { engineVersion } = this;
    return { engine: 'usearch', precision: graph.precision, engineVersion } as const;
  }

  create(options: GraphOptions): Graph {
    this.created.push(options);
    return new FakeGraph(this.#fs, options, this.blindShare);
  }

  load(options: GraphOptions, path: string, labels: SavedLabels): Graph {
    this.loadCount += 1;
    if (this.loadError !== null) throw this.loadError;
    return FakeGraph.load(this.#fs, options, path, labels);
  }

  isFileComplete = () => true;
}

class FakeGraph implements Graph {
  readonly engine = 'usearch';
  readonly precision: 'f32' | 'bf16';
  readonly #fs: FileSystem;
  readonly #blindShare: number;
  readonly #vectors: Float32Array[] = [];
  #labels = new LabelTable();

  constructor(fs: FileSystem, options: GraphOptions, blindShare: number) {
    this.#fs = fs;
    this.precision = options.graph.precision;
    this.#blindShare = blindShare;
  }

  static load(fs: FileSystem, options: GraphOptions, path: string, labels: SavedLabels): Graph {
    const graph = new FakeGraph(fs, options, 0);
    const bytes = readWholeFile(fs, path);
    const size = options.dimension * 4;
    for (let at = 0; at < bytes.byteLength; at += size)
      graph.#vectors.push(new Float32Array(bytes.slice(at, at + size).buffer));
    assert(graph.#vectors.length === labels.rows.length, 'fake graph: labels disagree');
    graph.#labels = LabelTable.restore(labels.rows, false);
    return graph;
  }

  get rowCount() {
    return this.#labels.labelCount;
  }
  get deletedCount() {
    return this.#labels.labelCount - this.#labels.liveCount;
  }
  get changeCount() {
    return this.#labels.changeCount;
  }

  addRow(row: number, vector: Float32Array) {
    this.#vectors[this.#labels.add(row)] = vector.slice();
  }
  markDeleted(row: number) {
    this.#labels.remove(row, false);
  }
  hasRow(row: number) {
    return this.#labels.has(row);
  }
  labelRows() {
    return this.#labels.labelRows();
  }
  renumber(newRowOf: Uint32Array) {
    this.#labels.renumber(newRowOf);
  }

  search(query: Float32Array, count: number, _ef: number, target: Uint32Array): number {
    const blindPeriod = this.#blindShare === 0 ? Number.POSITIVE_INFINITY : 1 / this.#blindShare;
    const near = this.#vectors
      .map((vector, label) => ({ row: this.#labels.rowOf(label), distance: l2(vector, query) }))
      .filter(({ row }) => row !== NO_ROW && row % blindPeriod !== 0)
      .sort((left, right) => left.distance - right.distance)
      .slice(0, count);
    near.forEach(({ row }, i) => {
      target[i] = row;
    });
    return near.length;
  }

  save(path: string) {
    const bytes = this.#vectors.map((v) => new Uint8Array(v.buffer, v.byteOffset, v.byteLength));
    // In one write: tests crash at every operation.
    writeAtomicFile(this.#fs, path, [new Uint8Array(Buffer.concat(bytes))]);
  }
}

const l2 = (left: Float32Array, right: Float32Array): number =>
  left.reduce((sum, value, i) => sum + (value - right[i]!) ** 2, 0);
