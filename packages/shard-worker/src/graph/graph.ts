/**
 * One HNSW index of one shard, as the engine sees it. A cache: always rebuildable from the rows,
 * never trusted for a score. It is spoken to in row numbers; what the native library stores are
 * labels of its own (label-table.ts), so rows may be renumbered and a saved graph loaded again.
 */
import type {
  GraphChoice,
  GraphEngineName,
  GraphPrecision,
  HnswOptions,
  Metric,
} from '../model.ts';

export interface Graph {
  readonly engine: GraphEngineName;
  readonly precision: GraphPrecision;
  /** Rows the library holds, dead ones included. */
  readonly rowCount: number;
  readonly deletedCount: number;
  /** Grows with every row that enters or dies. */
  readonly changeCount: number;
  /**
   * The vector is copied; every component must be finite. A row that is in the graph, dead or
   * alive, is not added again.
   */
  addRow(row: number, vector: Float32Array): void;
  /** The row must have been added and not been marked yet. */
  markDeleted(row: number): void;
  /** True for a live row of the graph. */
  hasRow(row: number): boolean;
  /**
   * Writes up to `count` live rows near `query` to `target` and returns how many. In no promised
   * order; approximate, and fewer than asked when the graph cannot reach more.
   */
  search(query: Float32Array, count: number, ef: number, target: Uint32Array): number;
  /**
   * The same among rows whose bit is set in `allowedRows` (bit `row % 32` of word `row >>> 5`; rows
   * beyond its end are not allowed). Left out by engines that cannot filter: over-fetch, or scan.
   */
  searchFiltered?(
    query: Float32Array,
    count: number,
    ef: number,
    allowedRows: Uint32Array,
    target: Uint32Array,
  ): number;
  /** Row of every label, NO_ROW where it is dead: a copy. What a saved graph needs beside it. */
  labelRows(): Uint32Array;
  /** Rows got new numbers: `newRowOf[old]`, NO_ROW for those that are gone (marked before). */
  renumber(newRowOf: Uint32Array): void;
  /**
   * Writes the native form to a real path. Not durable, and on a full disk possibly cut without an
   * error: the caller checks with `GraphFactory.describeFile`, checksums and syncs.
   */
  save(path: string): void;
}

export interface GraphOptions {
  readonly dimension: number;
  readonly metric: Metric;
  readonly hnsw: HnswOptions;
  readonly graph: GraphChoice;
}

/** What makes a saved graph readable: it is loaded only where all of this is equal. */
export interface GraphBuild {
  readonly engine: GraphEngineName;
  readonly precision: GraphPrecision;
  /** Version of the package and of the native interface it was built against. */
  readonly engineVersion: string;
}

/** What is left of a collection's choice on this machine. */
export interface GraphFactory {
  /** The build that `create` uses for these options here. */
  buildFor(options: GraphOptions): GraphBuild;
  create(options: GraphOptions): Graph;
  /**
   * Reads a graph that `save` wrote on a machine with the same build. Bytes that were not verified
   * must never get here: the native loaders corrupt memory on damaged files.
   */
  load(options: GraphOptions, path: string, labels: SavedLabels): Graph;
  /** True when a file that `save` wrote is complete. */
  isFileComplete(options: GraphOptions, file: NativeGraphFile): boolean;
}

export interface SavedLabels {
  /** As Graph.labelRows gave them, in the row numbers of now; NO_ROW for gone labels too. */
  readonly rows: Uint32Array;
  /** Labels that were live when the graph was saved and whose rows have died since. */
  readonly goneLabels: readonly number[];
}

/** Random access to a file that native code wrote. */
export interface NativeGraphFile {
  readonly sizeBytes: number;
  read(position: number, length: number): Uint8Array;
}
