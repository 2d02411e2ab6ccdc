/**
 * integer, float and datetime: (number, row) pairs in sorted runs, found by binary search. New
 * pairs collect unsorted; a full buffer becomes a run, and runs of like length are merged, so a
 * pair is copied about log2(n) times in its life. Dead rows leave when half of all are dead.
 *
 * `integer` and `float` hold all numbers alike, because a range asks about numbers, not about how
 * they were declared: an index must not change an answer.
 */
import { ROW_GONE } from '../segment/sealed-segment.ts';
import type { KeyCondition, NumericRange } from './filter.ts';
import { isInside, numericRange } from './predicate.ts';
import type { RowBitmap } from './row-bitmap.ts';
import type { EncodedPath } from './scan.ts';
import { someValue } from './scan.ts';
import { instantAt, numberAt } from './token.ts';
import { valuesOf } from './token-index.ts';
import type { Liveness, ValueIndex } from './value-index.ts';

/** Sorted in well under a millisecond, scanned in a microsecond. */
const BUFFER_PAIR_COUNT = 1_024;
const DEAD_COUNT_MIN = 1_024;
const PAIR_SIZE_BYTES = 12;

interface Run {
  /** Ascending. */
  readonly values: Float64Array;
  readonly rows: Uint32Array;
}

export class NumberIndex implements ValueIndex {
  readonly #path: EncodedPath;
  readonly #isTime: boolean;
  readonly #isLive: Liveness;
  /** Longest first. */
  #runs: Run[] = [];
  readonly #values = new Float64Array(BUFFER_PAIR_COUNT);
  readonly #rows = new Uint32Array(BUFFER_PAIR_COUNT);
  #bufferCount = 0;
  #pairCount = 0;
  #deadCount = 0;

  constructor(path: EncodedPath, isTime: boolean, isLive: Liveness) {
    this.#path = path;
    this.#isTime = isTime;
    this.#isLive = isLive;
  }

  get sizeBytes(): number {
    return this.#pairCount * PAIR_SIZE_BYTES;
  }

  add(payload: Uint8Array, row: number): void {
    this.#eachValue(payload, (value) => {
      this.#values[this.#bufferCount] = value;
      this.#rows[this.#bufferCount] = row;
      this.#bufferCount += 1;
      this.#pairCount += 1;
      if (this.#bufferCount === BUFFER_PAIR_COUNT) this.#spill();
    });
  }

  remove(payload: Uint8Array, _row: number): void {
    this.#eachValue(payload, () => {
      this.#deadCount += 1;
    });
    if (this.#deadCount < DEAD_COUNT_MIN || this.#deadCount * 2 <= this.#pairCount) return;
    this.#dropDead(null);
  }

  renumber(newRowOf: Uint32Array): void {
    this.#dropDead(newRowOf);
  }

  canAnswer(condition: KeyCondition): boolean {
    if ('range' in condition) return numericRange(condition.range).isTime === this.#isTime;
    const values = valuesOf(condition);
    // A time as text is matched as text, not as time.
    return !this.#isTime && (values?.every((value) => typeof value === 'number') ?? false);
  }

  estimate(condition: KeyCondition): number {
    let count = 0;
    for (const range of rangesOf(condition)) {
      for (const { values } of this.#runs) count += endOf(values, range) - startOf(values, range);
      for (let i = 0; i < this.#bufferCount; i++) if (isInside(range, this.#values[i]!)) count += 1;
    }
    return count;
  }

  collect(condition: KeyCondition, into: RowBitmap): void {
    const isLive = this.#isLive;
    // Looking a row up costs three times as much as setting its bit.
    const isAllLive = this.#deadCount === 0;
    for (const range of rangesOf(condition)) {
      for (const { values, rows } of this.#runs) {
        const end = endOf(values, range);
        for (let i = startOf(values, range); i < end; i++)
          if (isAllLive || isLive(rows[i]!)) into.add(rows[i]!);
      }
      for (let i = 0; i < this.#bufferCount; i++) {
        const row = this.#rows[i]!;
        if (isInside(range, this.#values[i]!) && isLive(row)) into.add(row);
      }
    }
  }

  #eachValue(payload: Uint8Array, take: (value: number) => void): void {
    const read = this.#isTime ? instantAt : numberAt;
    someValue(payload, this.#path, (bytes, start) => {
      const value = read(bytes, start);
      if (value !== null) take(value);
      return false;
    });
  }

  /** `newRowOf` null: rows keep their numbers. */
  #dropDead(newRowOf: Uint32Array | null): void {
    if (this.#bufferCount > 0) this.#runs.push(this.#takeBuffer());
    this.#runs = this.#runs.map((run) => withoutDead(run, this.#isLive, newRowOf));
    this.#pairCount = this.#runs.reduce((sum, run) => sum + run.rows.length, 0);
    this.#deadCount = 0;
    this.#mergeRuns();
  }

  #spill(): void {
    this.#runs.push(this.#takeBuffer());
    this.#mergeRuns();
  }

  /** What is in the buffer as a run. */
  #takeBuffer(): Run {
    const order = Uint32Array.from({ length: this.#bufferCount }, (_, i) => i);
    order.sort((left, right) => this.#values[left]! - this.#values[right]!);
    this.#bufferCount = 0;
    return {
      values: Float64Array.from(order, (at) => this.#values[at]!),
      rows: Uint32Array.from(order, (at) => this.#rows[at]!),
    };
  }

  #mergeRuns(): void {
    while (this.#runs.length > 1) {
      const [long, short] = this.#runs.slice(-2) as [Run, Run];
      if (long.rows.length > 2 * short.rows.length) return;
      this.#runs.splice(-2, 2, merged(long, short));
    }
  }
}

function rangesOf(condition: KeyCondition): readonly NumericRange[] {
  if ('range' in condition) return [numericRange(condition.range)];
  const values = new Set(valuesOf(condition) ?? []);
  return [...values].map((value) => numericRange({ gte: Number(value), lte: Number(value) }));
}

/** First position whose value is not below the range. */
const startOf = (values: Float64Array, range: NumericRange): number =>
  firstWhere(values, (value) => (range.isLowIncluded ? value >= range.low : value > range.low));

/** First position whose value is above the range; not before `startOf`, also for empty ranges. */
const endOf = (values: Float64Array, range: NumericRange): number =>
  Math.max(
    startOf(values, range),
    firstWhere(values, (value) =>
      range.isHighIncluded ? value > range.high : value >= range.high,
    ),
  );

/** Binary search: `holds` is false and then true. */
function firstWhere(values: Float64Array, holds: (value: number) => boolean): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (holds(values[middle]!)) high = middle;
    else low = middle + 1;
  }
  return low;
}

function merged(left: Run, right: Run): Run {
  const count = left.rows.length + right.rows.length;
  const run = { values: new Float64Array(count), rows: new Uint32Array(count) };
  let [l, r] = [0, 0];
  for (let i = 0; i < count; i++) {
    const isLeft =
      r === right.rows.length || (l < left.rows.length && left.values[l]! <= right.values[r]!);
    const from = isLeft ? left : right;
    const at = isLeft ? l++ : r++;
    run.values[i] = from.values[at]!;
    run.rows[i] = from.rows[at]!;
  }
  return run;
}

function withoutDead(run: Run, isLive: Liveness, newRowOf: Uint32Array | null): Run {
  const values = new Float64Array(run.rows.length);
  const rows = new Uint32Array(run.rows.length);
  let kept = 0;
  for (let i = 0; i < run.rows.length; i++) {
    const row = newRowOf === null ? run.rows[i]! : newRowOf[run.rows[i]!]!;
    if (row === ROW_GONE || !isLive(row)) continue;
    values[kept] = run.values[i]!;
    rows[kept] = row;
    kept += 1;
  }
  return { values: values.slice(0, kept), rows: rows.slice(0, kept) };
}
