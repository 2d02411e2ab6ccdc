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
 */
import { assert } from '@holdfast/base';
import { TopK } from '../distance/top-k.ts';
import type { Filter } from '../payload/filter.ts';
import { RowMatches } from '../payload/row-matches.ts';
import type { ShardFilterPlan } from '../tasks.ts';
import type { PreparedQuery, ShardSearchOptions, ShardSearchResult } from './search.ts';
import { CANDIDATE_SLACK, coveredRows, offerRows } from './search.ts';
import type { Shard } from './shard.ts';

/**
 * Rows of a list that the kernel compares in the time in which the graph widens its beam by one:
 * about 40 ns against 1.2 us at 128 components, in the same proportion at 768. As measured, the two
 * ways cost the same at a fifth to a third of 20,000 rows.
 */
const ROWS_PER_EF = 32;
/** More neighbours than the share of matches asks for, because chance may put fewer among them. */
const OVERFETCH_FACTOR = 1.5;

export function searchFiltered(
  shard: Shard,
  query: PreparedQuery,
  options: ShardSearchOptions,
  filter: Filter,
): ShardSearchResult {
  assert(Number.isInteger(options.k) && options.k >= 1, 'k must be at least 1', { k: options.k });
  const matches = new RowMatches(shard, filter);
  const { rows } = shard;
  const k = Math.min(options.k, rows.liveCount);
  if (k === 0) return finish(shard, matches, new TopK(0, () => 0), 'exact', 0, 0);
  rows.vectors.setQuery(query.vector);
  const width = graphWidth(shard, query, options, matches);
  if (width !== null) {
    const best = topOf(shard, k);
    const found = offerFromGraph(shard, query, { count: width, ef: options.ef }, matches, best);
    const tailRowCount = offerTail(shard, query, matches, best);
    const isEnough = best.size === (matches.isKnown ? Math.min(k, matches.count) : k);
    if (isEnough) return finish(shard, matches, best, 'graph', found, tailRowCount);
  }
  const all = matches.all();
  const best = topOf(shard, Math.min(k, all.count));
  offerRows(shard, query, all.rows.rows(), best);
  assert(best.size === Math.min(k, all.count), 'comparing all matches finds k of them', { k });
  return finish(shard, matches, best, width === null ? 'exact' : 'fallback', 0, all.count);
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

/** Returns how many rows the graph proposed. */
function offerFromGraph(
  shard: Shard,
  query: PreparedQuery,
  width: { readonly count: number; readonly ef: number },
  matches: RowMatches,
  best: TopK,
): number {
  const { graph } = shard.queue;
  assert(graph !== null, 'there is a graph to ask');
  if (candidates.length < width.count) candidates = new Uint32Array(width.count);
  const ef = Math.max(width.ef, width.count);
  const found = graph.search(query.vector, width.count, ef, candidates);
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

/** Offers the matches that the graph does not cover; returns how many. */
function offerTail(shard: Shard, query: PreparedQuery, matches: RowMatches, best: TopK): number {
  const { rows, queue } = shard;
  const tail = new Uint32Array(rows.rowCount - queue.tailStart);
  let count = 0;
  for (let row = queue.tailStart; row < rows.rowCount; row++) {
    if (!rows.isLive(row) || !matches.has(row)) continue;
    tail[count] = row;
    count += 1;
  }
  offerRows(shard, query, tail.subarray(0, count), best);
  return count;
}

function finish(
  { shard, queue }: Shard,
  matches: RowMatches,
  best: TopK,
  way: ShardFilterPlan['way'],
  graphFoundCount: number,
  exactRowCount: number,
): ShardSearchResult {
  const { testedRowCount, hasIndex } = matches;
  const filter = { way, matchedRowCount: matches.count, testedRowCount, hasIndex };
  const graphRowCount = graphFoundCount === 0 ? 0 : queue.graphLiveCount;
  return { ranked: best.drain(), plan: { shard, graphRowCount, exactRowCount, filter } };
}
