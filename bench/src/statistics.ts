/** Order statistics by the nearest-rank method: every answer is a sample that really occurred. */
import { assert } from '@holdfast/base';

/** `share` in (0, 1]; the smallest sample that at least that share of samples does not exceed. */
export function percentile(samples: readonly number[], share: number): number {
  assert(samples.length > 0, 'a percentile needs samples');
  assert(share > 0 && share <= 1, 'share must be in (0, 1]', { share });
  const sorted = [...samples].sort((left, right) => left - right);
  return sorted[Math.ceil(share * sorted.length) - 1] ?? 0;
}

export const median = (samples: readonly number[]): number => percentile(samples, 0.5);

/** NaN for no samples would be a figure that looks like one; null is not. */
export const medianOrNull = (samples: readonly number[]): number | null =>
  samples.length === 0 ? null : median(samples);

export const sum = (samples: readonly number[]): number =>
  samples.reduce((total, value) => total + value, 0);
