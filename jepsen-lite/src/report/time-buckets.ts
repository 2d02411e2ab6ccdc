/** Rate and latency per second, of all operations by the time of their end. Pure. */
import { assert } from '@holdfast/base';
import type { PageBuckets } from './page/page-data.ts';
import type { DrawnOperation } from './pair-operations.ts';

const WIDTH_MS = 1_000;
/** A day has wider buckets, in whole seconds: a chart has no more pixels anyway. */
const BUCKET_COUNT_MAX = 7_200;

/** `endMs` is the end of the run; what ends later counts into the last bucket. */
export function timeBucketsOf(operations: readonly DrawnOperation[], endMs: number): PageBuckets {
  assert(endMs >= 0, 'a run ends after it began', { endMs });
  const widthMs = WIDTH_MS * Math.max(1, Math.ceil(endMs / WIDTH_MS / BUCKET_COUNT_MAX));
  const count = Math.floor(endMs / widthMs) + 1;
  const counts = {
    ok: new Array<number>(count).fill(0),
    fail: new Array<number>(count).fill(0),
    info: new Array<number>(count).fill(0),
  };
  const latenciesMs = Array.from({ length: count }, (): number[] => []);
  for (const { endMs: toldMs, intendedMs, outcome } of operations) {
    if (toldMs === null) continue;
    const bucket = Math.min(count - 1, Math.floor(toldMs / widthMs));
    counts[outcome][bucket] = (counts[outcome][bucket] ?? 0) + 1;
    if (outcome === 'ok') latenciesMs[bucket]?.push(toldMs - intendedMs);
  }
  for (const values of latenciesMs) values.sort((left, right) => left - right);
  const quantiles = (share: number): (number | null)[] =>
    latenciesMs.map((sorted) => quantileOf(sorted, share));
  return { widthMs, ...counts, p50: quantiles(0.5), p99: quantiles(0.99), max: quantiles(1) };
}

/** The smallest value that `share` of the sorted ones do not exceed; null of none. */
export function quantileOf(sorted: readonly number[], share: number): number | null {
  if (sorted.length === 0) return null;
  const position = Math.max(0, Math.ceil(share * sorted.length) - 1);
  const value = sorted[position];
  assert(value !== undefined, 'a quantile is one of the values', { position });
  return Math.round(value * 1_000) / 1_000;
}
