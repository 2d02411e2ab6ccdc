/**
 * Which rows of a shard are in its graph, and the slow filling of it. Rows enter in row order:
 * everything below `tailStart` is in the graph or was dead when its turn came, the rest is the tail
 * and is searched exactly. Small shards have no graph at all: up to some thousand
 * rows the exact scan is as fast and always right.
 *
 * Rebuilding a graph that holds many deleted rows belongs here too and is not built yet:
 * `deletedCount` of the graph is what it will look at.
 */
import type { RowStore } from '../engine/row-store.ts';
import { firstKept } from '../segment/sealed-segment.ts';
import type { Graph, GraphFactory, GraphOptions } from './graph.ts';
import { RenumberedGraph } from './renumbered-graph.ts';

/**
 * Live rows below which no graph is begun. 1,000 rows of 128 components scan in about 25 us, less
 * than half of a graph search (60 us), and always right.
 */
export const GRAPH_ROW_COUNT_MIN = 1000;

export class GraphBuildQueue {
  #rows: RowStore;
  readonly #options: GraphOptions;
  readonly #factory: GraphFactory | null;
  #graph: Graph | null = null;
  #tailStart = 0;

  constructor(rows: RowStore, options: GraphOptions, factory: GraphFactory | null) {
    this.#rows = rows;
    this.#options = options;
    this.#factory = factory;
  }

  get graph(): Graph | null {
    return this.#graph;
  }

  /** First row that the graph does not cover. */
  get tailStart(): number {
    return this.#tailStart;
  }

  /** Live rows in the graph. */
  get graphLiveCount(): number {
    return this.#graph === null ? 0 : this.#graph.rowCount - this.#graph.deletedCount;
  }

  /** Rows of the tail, dead ones included. */
  get backlog(): number {
    return this.#rows.rowCount - this.#tailStart;
  }

  get hasWork(): boolean {
    if (this.#factory === null || this.#tailStart >= this.#rows.rowCount) return false;
    return this.#graph !== null || this.#rows.liveCount >= GRAPH_ROW_COUNT_MIN;
  }

  /** To be called after the row was marked dead in the store. */
  rowDied(row: number): void {
    if (row < this.#tailStart && this.#graph !== null) this.#graph.markDeleted(row);
  }

  /** Memory was compacted: row i is `newRowOf[i]` of `rows` now, ROW_GONE when it left. */
  renumber(rows: RowStore, newRowOf: Uint32Array): void {
    this.#rows = rows;
    if (this.#graph !== null) this.#graph = RenumberedGraph.of(this.#graph, newRowOf);
    this.#tailStart = firstKept(newRowOf, this.#tailStart, rows.rowCount);
  }

  /** Adds up to `rowCountMax` rows and returns how many it looked at. */
  buildSlice(rowCountMax: number): number {
    if (!this.hasWork || this.#factory === null) return 0;
    this.#graph ??= this.#factory.create(this.#options);
    const start = this.#tailStart;
    const end = Math.min(this.#rows.rowCount, start + rowCountMax);
    for (let row = start; row < end; row++) {
      if (this.#rows.isLive(row)) this.#graph.addRow(row, this.#rows.vectors.vector(row));
      this.#tailStart = row + 1;
    }
    return end - start;
  }
}
