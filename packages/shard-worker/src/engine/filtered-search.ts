/**
 * Search among the rows that match a filter: the planner.
 *
 * Few matches: the kernel compares them all. Many: the graph is asked for so many more neighbours
 * that about k of them match, and those are kept. The nearest matching rows among the true n
 * nearest of all are the true nearest matching rows, however filter and vectors are related, so
 * this loses nothing but what the graph loses; where a relation makes them fewer than k, all
 * matches are compared after all. The choice is by cost, in rows compared.
 *
 * Asking for more and choosing works with every graph engine. A test inside the native search would
 * visit the same nodes and call back into JavaScript for each (ADR 0020).
 *
 * Graph and tail are the layers of layers.ts, with the same deadlines and breakers as without a
 * filter; reading payloads and comparing all matches end with the request's own time.
 */
import { assert } from '@holdfast/base';
import { TopK } from '../distance/top-k.ts';
import type { Filter } from '../payload/filter.ts';
import { RowMatches } from '../payload/row-matches.ts';
import type { ShardFilterPlan } from '../tasks.ts';
import type { IsOver, SearchLayer } from './layers.ts';
import { searchTimeout } from './layers.ts';
import type {
  PreparedQuery,
  SearchTiming,
  ShardSearchOptions,
  ShardSearchResult,
} from './search.ts';
import {
  CANDIDATE_SLACK,
  coveredRows,
  offerRows,
  offerRowsInTime,
  SLICE_ROW_COUNT,
} from './search.ts';
import type { Shard } from './shard.ts';

/**
 * Rows of a list that the kernel compares in the time in which the graph widens its beam by one:
 * about 40 ns against 1.2 us at 128 components, in the same proportion at 768. As measured, the two
 * ways cost the same at a fifth to a third of 20,000 rows.
 */
const ROWS_PER_EF = 32;
/** More neighbours than the share of matches asks for, because chance may put fewer among them. */
const OVERFETCH_FACTOR = 1.5;

/** @throws HoldfastError REQUEST_TIMEOUT */
export function searchFiltered(
  shard: Shard,
  query: PreparedQuery,
  options: ShardSearchOptions,
  filter: Filter,
): ShardSearchResult {
  assert(Number.isInteger(options.k) && options.k >= 1, 'k must be at least 1', { k: options.k });
  const timing = options.timing ?? null;
  const matches = new RowMatches(shard, filter, sliceOf(shard, timing));
  const { rows } = shard;
  const k = Math.min(options.k, rows.liveCount);
  if (k === 0) return finish(shard, matches, new TopK(0, () => 0), { way: 'exact' });
  rows.vectors.setQuery(query.vector);
  const width = graphWidth(shard, query, options, matches);
  let skippedLayer: SearchLayer | null = null;
  if (width !== null) {
    const best = topOf(shard, k);
    const graphFoundCount = offerFromGraph(shard, query, { ...options, width }, matches, best);
    if (graphFoundCount !== null) {
      const { isWhole, rowCount } = offerTail(shard, query, timing, matches, best);
      const isEnough = best.size === (matches.isKnown ? Math.min(k, matches.count) : k);
      const facts = { graphFoundCount, exactRowCount: rowCount };
      const skipped = isWhole ? null : 'tail';
      if (isEnough) return finish(shard, matches, best, { way: 'graph', ...facts }, skipped);
    } else skippedLayer = 'graph';
  }
  const all = matches.all();
  const best = topOf(shard, Math.min(k, all.count));
  const isOver = timing === null ? null : timing.layers.scanOver(timing.deadlineMs);
  if (!offerRowsInTime(shard, query, all.rows.rows(), best, isOver))
    throw searchTimeout(shard.shard);
  assert(best.size === Math.min(k, all.count), 'comparing all matches finds k of them', { k });
  const way = width === null || skippedLayer !== null ? 'exact' : 'fallback';
  return finish(shard, matches, best, { way, exactRowCount: all.count }, skippedLayer);
}

/** For between slices of read payloads: shows life, and ends with the time of the read. */
export function sliceOf({ shard }: Shard, timing: SearchTiming | null): () => void {
  if (timing === null) return () => {};
  const isOver = timing.layers.scanOver(timing.deadlineMs);
  return () => {
    if (isOver()) throw searchTimeout(shard);
  };
}

const topOf = ({ rows }: Shard, capacity: number): TopK =>
  new TopK(capacity, (left, right) => rows.compareIds(left, right));

/** How many neighbours to ask the graph for; null when comparing all matches is cheaper. */
function graphWidth(
  { rows, queue }: Shard,
  query: PreparedQuery,
  { k, ef, isExact }: ShardSearchOptions,
  matches: RowMatches,
): number | null {
  if (isExact || query.isZeroCosine || queue.graph === null) return null;
  const graphCount = queue.graphLiveCount;
  const matchedCount = matches.count;
  if (graphCount === 0 || matchedCount <= k) return null;
  const share = matchedCount / rows.liveCount;
  const width = Math.ceil(((k + CANDIDATE_SLACK) / share) * OVERFETCH_FACTOR);
  const isScanCheaper = matchedCount <= ROWS_PER_EF * Math.max(ef, width);
  return isScanCheaper || width > graphCount ? null : width;
}

let candidates = new Uint32Array(1024);

interface GraphQuestion extends ShardSearchOptions {
  readonly width: number;
}

/** Returns how many rows the graph proposed; null: it is left out. */
function offerFromGraph(
  shard: Shard,
  query: PreparedQuery,
  { ef, timing = null, width }: GraphQuestion,
  matches: RowMatches,
  best: TopK,
): number | null {
  const { graph } = shard.queue;
  assert(graph !== null, 'there is a graph to ask');
  const startMs = timing === null ? 0 : timing.layers.nowMs();
  if (timing !== null && !timing.layers.tryPass('graph', startMs)) return null;
  if (candidates.length < width) candidates = new Uint32Array(width);
  const found = graph.search(query.vector, width, Math.max(ef, width), candidates);
  timing?.layers.graphDone(startMs);
  const covered = coveredRows(shard, candidates.subarray(0, found));
  let kept = 0;
  for (const row of covered) {
    if (!shard.rows.isLive(row) || !matches.has(row)) continue;
    covered[kept] = row;
    kept += 1;
  }
  offerRows(shard, query, covered.subarray(0, kept), best);
  return found;
}

interface OfferedTail {
  /** False: there was no time for all of it. What was seen of it counts. */
  readonly isWhole: boolean;
  readonly rowCount: number;
}

/** Offers the matches that the graph does not cover. */
function offerTail(
  shard: Shard,
  query: PreparedQuery,
  timing: SearchTiming | null,
  matches: RowMatches,
  best: TopK,
): OfferedTail {
  const { rows, queue } = shard;
  // A tail of one slice is looked through without a look at any clock.
  const isShort = rows.rowCount - queue.tailStart <= SLICE_ROW_COUNT;
  if (timing === null || isShort) return offerTailInTime(shard, query, matches, best, null);
  const { deadlineMs, layers } = timing;
  if (!layers.tryPass('tail', layers.nowMs())) return { isWhole: false, rowCount: 0 };
  const tail = offerTailInTime(shard, query, matches, best, layers.tailOver(deadlineMs));
  layers.tailDone(tail.isWhole);
  return tail;
}

function offerTailInTime(
  shard: Shard,
  query: PreparedQuery,
  matches: RowMatches,
  best: TopK,
  isOver: IsOver | null,
): OfferedTail {
  const { rows, queue } = shard;
  const slice = new Uint32Array(SLICE_ROW_COUNT);
  let rowCount = 0;
  for (let start = queue.tailStart; start < rows.rowCount; start += SLICE_ROW_COUNT) {
    if (start > queue.tailStart && isOver?.() === true) return { isWhole: false, rowCount };
    const end = Math.min(rows.rowCount, start + SLICE_ROW_COUNT);
    let count = 0;
    for (let row = start; row < end; row++) {
      if (!rows.isLive(row) || !matches.has(row)) continue;
      slice[count] = row;
      count += 1;
    }
    offerRows(shard, query, slice.subarray(0, count), best);
    rowCount += count;
  }
  return { isWhole: true, rowCount };
}

interface Work {
  readonly way: ShardFilterPlan['way'];
  readonly graphFoundCount?: number;
  readonly exactRowCount?: number;
}

function finish(
  { shard, queue }: Shard,
  matches: RowMatches,
  best: TopK,
  { exactRowCount = 0, graphFoundCount = 0, way }: Work,
  skippedLayer: SearchLayer | null = null,
): ShardSearchResult {
  const { testedRowCount, hasIndex } = matches;
  const filter = { way, matchedRowCount: matches.count, testedRowCount, hasIndex };
  const graphRowCount = graphFoundCount === 0 ? 0 : queue.graphLiveCount;
  const skipped = skippedLayer === null ? {} : { skippedLayer };
  const plan = { shard, graphRowCount, exactRowCount, filter, ...skipped };
  return { ranked: best.drain(), plan };
}
