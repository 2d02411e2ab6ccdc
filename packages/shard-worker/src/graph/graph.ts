/**
 * One HNSW index of one shard, as the engine sees it. A cache: always rebuildable from the rows,
 * never trusted for a score. Labels are row numbers; a row is added once and never updated.
 */
import type { HnswOptions, Metric } from '../model.ts';

export interface Graph {
  /** Rows added, dead ones included. */
  readonly rowCount: number;
  readonly deletedCount: number;
  /** The vector is copied; every component must be finite. A row is added at most once. */
  addRow(row: number, vector: Float32Array): void;
  /** The row must have been added and not been marked yet. */
  markDeleted(row: number): void;
  hasRow(row: number): boolean;
  /**
   * Writes up to `count` live rows near `query` to `target` and returns how many. In no promised
   * order; approximate, and fewer than asked when the graph cannot reach more.
   */
  search(query: Float32Array, count: number, ef: number, target: Uint32Array): number;
}

export interface GraphOptions {
  readonly dimension: number;
  readonly metric: Metric;
  readonly hnsw: HnswOptions;
}

export interface GraphFactory {
  create(options: GraphOptions): Graph;
}
