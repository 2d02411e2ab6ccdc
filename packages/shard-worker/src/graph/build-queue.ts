/**
 * Which rows of a shard are in its graph, and the slow filling of it. Rows enter in row order:
 * every live row below `tailStart` is in the graph, the rest is the tail and is searched exactly.
 * (A graph that was loaded may hold rows of the tail too: they are skipped when their turn comes,
 * and until then the exact scan answers for them.) Small shards have no graph at all: up to some
 * thousand rows the exact scan is as fast and always right.
 *
 * A graph with many dead rows, or whose recall is low, is replaced: the new one is filled beside
 * it, in the same slices, while the old one answers and takes what must not wait. They change
 * places when the new one covers as much.
 */
import { assert } from '@holdfast/base';
import type { RowStore } from '../engine/row-store.ts';
import { firstKept } from '../segment/sealed-segment.ts';
import type { Graph, GraphBuild, GraphFactory, GraphOptions } from './graph.ts';

/**
 * Live rows below which no graph is begun. 1,000 rows of 128 components scan in about 25 us, less
 * than half of a graph search (60 us), and always right.
 */
export const GRAPH_ROW_COUNT_MIN = 1000;
/** Above this share of dead rows a graph is replaced: a fifth of them costs 1.5 x per search. */
export const DEAD_SHARE_MAX = 0.25;
/** While a replacement is built the tail may grow to this: about 50 us of scanning at 128. */
const REPLACEMENT_TAIL_ROW_COUNT_MAX = 2000;

export type RebuildReason = 'deadRows' | 'recall';

interface Replacement {
  readonly graph: Graph;
  readonly reason: RebuildReason;
  /** Live rows below it are in the new graph. */
  nextRow: number;
}

export class GraphBuildQueue {
  #rows: RowStore;
  #options: GraphOptions;
  readonly #factory: GraphFactory | null;
  #graph: Graph | null = null;
  #replacement: Replacement | null = null;
  #tailStart = 0;
  #coveredLiveCount = 0;
  readonly #rebuildCounts: Record<RebuildReason, number> = { deadRows: 0, recall: 0 };

  constructor(rows: RowStore, options: GraphOptions, factory: GraphFactory | null) {
    this.#rows = rows;
    this.#options = options;
    this.#factory = factory;
  }

  get graph(): Graph | null {
    return this.#graph;
  }

  /** As the collection wants them, or at f32 after a low recall at bf16. */
  get options(): GraphOptions {
    return this.#options;
  }

  /** What graphs of this shard are made with; null when there are none on this machine. */
  get build(): GraphBuild | null {
    return this.#factory?.buildFor(this.#options) ?? null;
  }

  /** First row that the graph need not cover. */
  get tailStart(): number {
    return this.#tailStart;
  }

  /** Live rows below `tailStart`: all of them are in the graph. */
  get graphLiveCount(): number {
    return this.#coveredLiveCount;
  }

  /** Rows of the tail, dead ones included. */
  get backlog(): number {
    return this.#rows.rowCount - this.#tailStart;
  }

  get isRebuilding(): boolean {
    return this.#replacement !== null;
  }

  /** Replacements that have taken their place. */
  get rebuildCounts(): Readonly<Record<RebuildReason, number>> {
    return this.#rebuildCounts;
  }

  get hasWork(): boolean {
    if (this.#factory === null) return false;
    if (this.#replacement !== null || this.#isMostlyDead()) return true;
    if (this.#tailStart >= this.#rows.rowCount) return false;
    return this.#graph !== null || this.#rows.liveCount >= GRAPH_ROW_COUNT_MIN;
  }

  /** To be called after the row was marked dead in the store. */
  rowDied(row: number): void {
    if (row < this.#tailStart && this.#graph?.hasRow(row) === true) this.#coveredLiveCount -= 1;
    if (this.#graph?.hasRow(row) === true) this.#graph.markDeleted(row);
    if (this.#replacement?.graph.hasRow(row) === true) this.#replacement.graph.markDeleted(row);
  }

  /** Takes a graph whose rows have the row numbers of now; only while there is none. */
  adopt(graph: Graph): void {
    assert(this.#graph === null && this.#tailStart === 0, 'a graph is adopted into an empty queue');
    this.#graph = graph;
    this.#skipCovered();
  }

  /**
   * Begins a replacement unless one is under way. For low recall at bf16 it is built at f32: the
   * vectors may differ only in digits that bf16 does not have.
   */
  rebuild(reason: RebuildReason): void {
    if (this.#factory === null || this.#graph === null || this.#replacement !== null) return;
    if (reason === 'recall' && this.#graph.precision === 'bf16')
      this.#options = { ...this.#options, graph: { ...this.#options.graph, precision: 'f32' } };
    this.#replacement = { graph: this.#factory.create(this.#options), reason, nextRow: 0 };
  }

  /** Memory was compacted: row i is `newRowOf[i]` of `rows` now, ROW_GONE when it left. */
  renumber(rows: RowStore, newRowOf: Uint32Array): void {
    this.#rows = rows;
    this.#graph?.renumber(newRowOf);
    this.#tailStart = 0;
    this.#coveredLiveCount = 0;
    this.#skipCovered();
    if (this.#replacement === null) return;
    this.#replacement.graph.renumber(newRowOf);
    this.#replacement.nextRow = firstKept(newRowOf, this.#replacement.nextRow, rows.rowCount);
  }

  /** Looks at up to `rowCountMax` rows, adds those that belong into a graph, and says how many. */
  buildSlice(rowCountMax: number): number {
    if (!this.hasWork || this.#factory === null) return 0;
    if (this.#isMostlyDead()) this.#replaceDead();
    const replacement = this.#replacement;
    if (replacement === null || this.backlog > REPLACEMENT_TAIL_ROW_COUNT_MAX) {
      if (this.backlog > 0 && this.#canHaveGraph()) return this.#buildTail(rowCountMax);
    }
    return replacement === null ? 0 : this.#buildReplacement(replacement, rowCountMax);
  }

  #canHaveGraph(): boolean {
    return this.#graph !== null || this.#rows.liveCount >= GRAPH_ROW_COUNT_MIN;
  }

  #buildTail(rowCountMax: number): number {
    assert(this.#factory !== null, 'a graph needs a factory');
    this.#graph ??= this.#factory.create(this.#options);
    const start = this.#tailStart;
    const end = Math.min(this.#rows.rowCount, start + rowCountMax);
    for (let row = start; row < end; row++) {
      if (this.#rows.isLive(row)) {
        if (!this.#graph.hasRow(row)) this.#graph.addRow(row, this.#rows.vectors.vector(row));
        this.#coveredLiveCount += 1;
      }
      this.#tailStart = row + 1;
    }
    return end - start;
  }

  #buildReplacement(replacement: Replacement, rowCountMax: number): number {
    const start = replacement.nextRow;
    const end = Math.min(this.#tailStart, start + rowCountMax);
    for (let row = start; row < end; row++) {
      if (this.#rows.isLive(row)) replacement.graph.addRow(row, this.#rows.vectors.vector(row));
      replacement.nextRow = row + 1;
    }
    if (replacement.nextRow >= this.#tailStart) {
      this.#graph = replacement.graph;
      this.#replacement = null;
      this.#rebuildCounts[replacement.reason] += 1;
    }
    return end - start;
  }

  #isMostlyDead(): boolean {
    if (this.#graph === null || this.#replacement !== null) return false;
    const { deletedCount, rowCount } = this.#graph;
    return rowCount >= GRAPH_ROW_COUNT_MIN && deletedCount > rowCount * DEAD_SHARE_MAX;
  }

  #replaceDead(): void {
    if (this.#rows.liveCount >= GRAPH_ROW_COUNT_MIN) {
      this.rebuild('deadRows');
      return;
    }
    // So few are left that a scan is faster.
    this.#graph = null;
    this.#tailStart = 0;
    this.#coveredLiveCount = 0;
  }

  /** Moves the start of the tail over rows that are dead or in the graph already. */
  #skipCovered(): void {
    for (let row = this.#tailStart; row < this.#rows.rowCount; row++) {
      const isLive = this.#rows.isLive(row);
      if (isLive && this.#graph?.hasRow(row) !== true) return;
      if (isLive) this.#coveredLiveCount += 1;
      this.#tailStart = row + 1;
    }
  }
}
