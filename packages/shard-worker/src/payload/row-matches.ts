/**
 * The rows of one shard that match a filter, found as lazily as it pays: by the indexes alone, by
 * testing what the indexes left, or, when a great many rows are left and the graph will be asked,
 * row by row as they come up, with an estimate from a sample.
 *
 * Lives within one read: nothing is appended or deleted meanwhile. Whoever made it is called
 * between slices of tested payloads, and ends the read by throwing.
 */
import { NO_ROW } from '../engine/row-store.ts';
import type { Shard } from '../engine/shard.ts';
import type { Candidates } from './candidates.ts';
import { candidatesOf } from './candidates.ts';
import type { Filter } from './filter.ts';
import type { PointTest } from './predicate.ts';
import { compileFilter } from './predicate.ts';
import { RowBitmap } from './row-bitmap.ts';

/** Rows tested for an estimate: the share is then off by about 3 % of all rows. */
const SAMPLE_ROW_COUNT = 256;
/** Up to so many rows are all tested at once: 10,000 payloads are read in about 2 ms. */
const TESTED_ROW_COUNT_MAX = 10_000;
/** Between two calls of `onSlice`: a millisecond or two. A power of two. */
const SLICE_TEST_COUNT = 4_096;

export class RowMatches {
  readonly #shard: Shard;
  readonly #test: PointTest;
  readonly #onSlice: () => void;
  /** A superset of the matches; null: every live row. */
  readonly #candidates: RowBitmap | null;
  readonly hasIndex: boolean;
  #matches: RowBitmap | null = null;
  #count = 0;
  #estimated: number | null = null;
  #testedRowCount = 0;

  constructor(shard: Shard, filter: Filter, onSlice: () => void = () => {}) {
    this.#shard = shard;
    this.#onSlice = onSlice;
    const found = findCandidates(shard, filter);
    this.hasIndex = found !== null;
    this.#candidates = found?.rows ?? null;
    this.#test = compileFilter(filter, (ids) => {
      const rows = new Set(ids.map((id) => shard.findRow(id)));
      return (row) => rows.has(row);
    });
    if (found?.isExact === true) this.#know(found.rows);
  }

  /** Rows whose payload was read so far. */
  get testedRowCount(): number {
    return this.#testedRowCount;
  }

  /** True: `count` is no estimate. */
  get isKnown(): boolean {
    return this.#matches !== null;
  }

  /** How many match; an estimate unless `isKnown`. Tests few rows at most. */
  get count(): number {
    if (this.#matches !== null) return this.#count;
    if (this.#estimated !== null) return this.#estimated;
    const candidateCount = this.#candidates?.count ?? this.#shard.rows.liveCount;
    if (candidateCount <= TESTED_ROW_COUNT_MAX) return this.all().count;
    this.#estimated = this.#estimate(candidateCount);
    return this.#estimated;
  }

  /** The row must be live. */
  has(row: number): boolean {
    if (this.#matches !== null) return this.#matches.has(row);
    if (this.#candidates?.has(row) === false) return false;
    this.#testedRowCount += 1;
    if (this.#testedRowCount % SLICE_TEST_COUNT === 0) this.#onSlice();
    return this.#test(this.#shard.rows.payload(row), row);
  }

  /** Every match; tests every candidate. */
  all(): { readonly count: number; readonly rows: RowBitmap } {
    if (this.#matches === null) {
      const { rows } = this.#shard;
      const matches = new RowBitmap(rows.rowCount);
      for (let row = 0; row < rows.rowCount; row++)
        if (rows.isLive(row) && this.has(row)) matches.add(row);
      return this.#know(matches);
    }
    return { count: this.#count, rows: this.#matches };
  }

  #know(matches: RowBitmap): { readonly count: number; readonly rows: RowBitmap } {
    this.#matches = matches;
    this.#count = matches.count;
    return { count: this.#count, rows: matches };
  }

  /** From candidates spread evenly over the rows; at least 1, because none in the sample is few. */
  #estimate(candidateCount: number): number {
    const { rows } = this.#shard;
    // Odd, because payloads often repeat with an even period.
    const step = Math.floor(rows.rowCount / (4 * SAMPLE_ROW_COUNT)) | 1;
    let sampled = 0;
    let matched = 0;
    for (let row = 0; row < rows.rowCount && sampled < SAMPLE_ROW_COUNT; row += step) {
      if (!rows.isLive(row) || this.#candidates?.has(row) === false) continue;
      sampled += 1;
      if (this.has(row)) matched += 1;
    }
    return sampled === 0 ? 1 : Math.max(1, Math.round((candidateCount * matched) / sampled));
  }
}

function findCandidates(shard: Shard, filter: Filter): Candidates | null {
  const { rows, indexes } = shard;
  return candidatesOf(filter, {
    indexes,
    emptySet: () => new RowBitmap(rows.rowCount),
    liveSet: () => {
      const live = new RowBitmap(rows.rowCount);
      for (let row = 0; row < rows.rowCount; row++) if (rows.isLive(row)) live.add(row);
      return live;
    },
    rowsOf: (ids) => ids.map((id) => shard.findRow(id)).filter((row) => row !== NO_ROW),
  });
}
