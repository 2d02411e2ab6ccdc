/**
 * Search of one shard: the graph proposes candidates among the rows it covers, the kernel scans the
 * tail, and every score comes from the kernel over the stored f32 bits, so approximate and exact
 * search give the same score to the same row. Dead rows never appear. When the graph returns too
 * few rows the shard is scanned: an answer is never short because of an approximation.
 *
 * Keys order ascending: the squared distance, or the negated similarity.
 */
import { assert } from '@holdfast/base';
import {
  dotExact,
  normaliseInto,
  normExact,
  squaredDistanceExact,
} from '../distance/exact-math.ts';
import type { RankedRow } from '../distance/top-k.ts';
import { TopK } from '../distance/top-k.ts';
import { BLOCK_ROW_COUNT } from '../distance/vector-store.ts';
import type { Metric } from '../model.ts';
import type { SearchPlan } from '../tasks.ts';
import type { IsOver, SearchLayer, SearchLayers } from './layers.ts';
import { searchTimeout } from './layers.ts';
import { FLAG_EXTREME, FLAG_LIVE } from './row-store.ts';
import type { Shard } from './shard.ts';

/** More than k, so that ties and rounding inside the graph cannot cost a better row. */
export const CANDIDATE_SLACK = 8;
/** Between two looks at the clock: 0.4 ms with 128 components, 4 ms with 1,536. */
export const SLICE_ROW_COUNT = 16 * BLOCK_ROW_COUNT;

export interface PreparedQuery {
  readonly metric: Metric;
  /** For cosine the unit vector. */
  readonly vector: Float32Array;
  /** A zero query is similar to nothing: every score is 0 and only the id order decides. */
  readonly isZeroCosine: boolean;
}

export interface ShardSearchOptions {
  readonly k: number;
  readonly ef: number;
  readonly isExact: boolean;
  /** Deadlines of the layers, and of all of it by the same clock. Null: there are none. */
  readonly timing?: SearchTiming | null;
}

export interface SearchTiming {
  readonly layers: SearchLayers;
  readonly deadlineMs: number;
}

export interface ShardSearchResult {
  /** Best first. */
  readonly ranked: readonly RankedRow[];
  readonly plan: SearchPlan;
}

/** The vector must be finite and of the collection's dimension. */
export function prepareQuery(metric: Metric, vector: Float32Array): PreparedQuery {
  if (metric !== 'cosine') return { metric, vector, isZeroCosine: false };
  const unit = new Float32Array(vector.length);
  normaliseInto(unit, vector);
  return { metric, vector: unit, isZeroCosine: normExact(vector) === 0 };
}

/** The score that clients see. `+ 0` turns -0 into 0. */
export const scoreOfKey = (metric: Metric, key: number): number =>
  metric === 'l2' ? Math.sqrt(key) : -key + 0;

/** @throws HoldfastError REQUEST_TIMEOUT */
export function searchShard(
  shard: Shard,
  query: PreparedQuery,
  options: ShardSearchOptions,
): ShardSearchResult {
  assert(Number.isInteger(options.k) && options.k >= 1, 'k must be at least 1', { k: options.k });
  const { rows, queue } = shard;
  const timing = options.timing ?? null;
  const k = Math.min(options.k, rows.liveCount);
  const best = new TopK(k, (left, right) => rows.compareIds(left, right));
  if (k === 0) return finish(shard, best, 0, 0);
  rows.vectors.setQuery(query.vector);
  const graphLiveCount = queue.graphLiveCount;
  let skippedLayer: SearchLayer | null = null;
  if (!options.isExact && graphLiveCount > 0 && !query.isZeroCosine) {
    const startMs = timing === null ? 0 : timing.layers.nowMs();
    if (timing === null || timing.layers.tryPass('graph', startMs)) {
      offerFromGraph(shard, query, { ...options, k }, best);
      timing?.layers.graphDone(startMs);
      const isTailWhole = offerTail(shard, query, timing, best);
      const tailLiveCount = isTailWhole ? rows.liveCount - graphLiveCount : 0;
      const skipped = isTailWhole ? null : 'tail';
      if (best.size === k) return finish(shard, best, graphLiveCount, tailLiveCount, skipped);
      best.clear();
    } else {
      skippedLayer = 'graph';
    }
  }
  const isOver = timing === null ? null : timing.layers.scanOver(timing.deadlineMs);
  if (!offerRange(shard, query, 0, best, rows.rowCount, isOver)) throw searchTimeout(shard.shard);
  assert(best.size === k, 'an exact scan finds k of the live rows', { k, found: best.size });
  return finish(shard, best, 0, rows.liveCount, skippedLayer);
}

/** False: there was no time for all of it. What was seen of it counts. */
function offerTail(
  shard: Shard,
  query: PreparedQuery,
  timing: SearchTiming | null,
  best: TopK,
): boolean {
  const { tailStart } = shard.queue;
  // A tail of one slice is scanned without a look at any clock.
  const isShort = shard.rows.rowCount - tailStart <= SLICE_ROW_COUNT;
  if (timing === null || isShort) return offerRange(shard, query, tailStart, best);
  const { layers, deadlineMs } = timing;
  if (!layers.tryPass('tail', layers.nowMs())) return false;
  const isOver = layers.tailOver(deadlineMs);
  const isWhole = offerRange(shard, query, tailStart, best, shard.rows.rowCount, isOver);
  layers.tailDone(isWhole);
  return isWhole;
}

function finish(
  { shard }: Shard,
  best: TopK,
  graphRowCount: number,
  exactRowCount: number,
  skippedLayer: SearchLayer | null = null,
): ShardSearchResult {
  const plan = { shard, graphRowCount, exactRowCount };
  const ranked = best.drain();
  return skippedLayer === null ? { ranked, plan } : { ranked, plan: { ...plan, skippedLayer } };
}

let candidates = new Uint32Array(1024);

/** Offers what the graph finds among the rows it covers. */
export function offerFromGraph(
  shard: Shard,
  query: PreparedQuery,
  options: ShardSearchOptions,
  best: TopK,
): void {
  const { graph } = shard.queue;
  if (graph === null) return;
  const wanted = options.k + CANDIDATE_SLACK;
  if (candidates.length < wanted) candidates = new Uint32Array(wanted);
  const found = graph.search(query.vector, wanted, options.ef, candidates);
  offerRows(shard, query, coveredRows(shard, candidates.subarray(0, found)), best);
}

/**
 * Those of `rows` that the graph answers for, moved to the front of it. A graph that was loaded may
 * hold rows of the tail as well, and those are offered by the scan of the tail, once.
 */
export function coveredRows({ queue }: Shard, rows: Uint32Array): Uint32Array {
  const { tailStart } = queue;
  let kept = 0;
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!;
    if (row >= tailStart) continue;
    rows[kept] = row;
    kept += 1;
  }
  return rows.subarray(0, kept);
}

/**
 * Offers every live row from `first` on, up to `end`. False: `isOver` said so before the end.
 */
export function offerRange(
  shard: Shard,
  query: PreparedQuery,
  first: number,
  best: TopK,
  end = shard.rows.rowCount,
  isOver: IsOver | null = null,
): boolean {
  const { vectors } = shard.rows;
  const kind = query.metric === 'l2' ? 'l2' : 'dot';
  let sliceEnd = first + SLICE_ROW_COUNT;
  for (let start = first; start < end; start += BLOCK_ROW_COUNT) {
    if (start >= sliceEnd) {
      if (isOver?.() === true) return false;
      sliceEnd = start + SLICE_ROW_COUNT;
    }
    const count = Math.min(BLOCK_ROW_COUNT, end - start);
    const results = vectors.distancesOfRange(kind, start, count);
    offerBlock(shard, query, { results, rows: null, start, count }, best);
  }
  return true;
}

/** As `offerRows`, in slices. False: `isOver` said so before the end. */
export function offerRowsInTime(
  shard: Shard,
  query: PreparedQuery,
  rows: Uint32Array,
  best: TopK,
  isOver: IsOver | null,
): boolean {
  for (let start = 0; start < rows.length; start += SLICE_ROW_COUNT) {
    if (start > 0 && isOver?.() === true) return false;
    offerRows(shard, query, rows.subarray(start, start + SLICE_ROW_COUNT), best);
  }
  return true;
}

/** Offers those of `rows` that are live. */
export function offerRows(shard: Shard, query: PreparedQuery, rows: Uint32Array, best: TopK): void {
  const { vectors } = shard.rows;
  const kind = query.metric === 'l2' ? 'l2' : 'dot';
  for (let start = 0; start < rows.length; start += BLOCK_ROW_COUNT) {
    const count = Math.min(BLOCK_ROW_COUNT, rows.length - start);
    const results = vectors.distancesOfRows(kind, rows, start, count);
    offerBlock(shard, query, { results, rows, start, count }, best);
  }
}

interface Block {
  readonly results: Float32Array;
  /** Null: rows start, start + 1, ... themselves. Otherwise positions in this list. */
  readonly rows: Uint32Array | null;
  readonly start: number;
  readonly count: number;
}

function offerBlock(
  shard: Shard,
  query: PreparedQuery,
  { results, rows: list, start, count }: Block,
  best: TopK,
): void {
  const { flags, norms } = shard.rows;
  const isCosine = query.metric === 'cosine';
  const sign = query.metric === 'l2' ? 1 : -1;
  let { worstKey } = best;
  for (let i = 0; i < count; i++) {
    const row = list === null ? start + i : list[start + i]!;
    const flag = flags[row]!;
    const roughKey = isCosine
      ? Math.min(1, (sign * results[i]!) / norms[row]!)
      : sign * results[i]!;
    // Most rows leave here. NaN, infinities and extreme rows do not: keyOf computes them anew.
    if (roughKey > worstKey && roughKey !== Number.POSITIVE_INFINITY && (flag & FLAG_EXTREME) === 0)
      continue;
    if ((flag & FLAG_LIVE) === 0) continue;
    const key = keyOf(shard, query, row, results[i]!);
    if (key > worstKey) continue;
    best.offer(key, row);
    worstKey = best.worstKey;
  }
}

/** `value` is the kernel's result; rows that f32 sums cannot carry are computed in doubles. */
function keyOf({ rows }: Shard, query: PreparedQuery, row: number, value: number): number {
  if (query.metric === 'l2') {
    if (Number.isFinite(value)) return value;
    return squaredDistanceExact(query.vector, rows.vectors.vector(row));
  }
  const isCosine = query.metric === 'cosine';
  const isTrusted = Number.isFinite(value) && !(isCosine && rows.isExtreme(row));
  const dot = isTrusted ? value : dotExact(query.vector, rows.vectors.vector(row));
  if (!isCosine) return -dot;
  const norm = isTrusted ? rows.norms[row]! : normExact(rows.vectors.vector(row));
  if (norm === 0) return 0;
  return -Math.min(1, Math.max(-1, dot / norm));
}
