/** Share of the true k nearest that were found; equal scores count as equal points. */
import type { OracleHit } from './brute-force-oracle.ts';

/** Relative difference below which two scores are one: f32 sums against doubles. */
const SCORE_TOLERANCE = 1e-5;

export function recallAtK(
  found: readonly OracleHit[],
  truth: readonly OracleHit[],
  isSmallerBetter: boolean,
): number {
  const worst = truth.at(-1);
  if (worst === undefined) return 1;
  const slack = Math.abs(worst.score) * SCORE_TOLERANCE + SCORE_TOLERANCE;
  const isGoodEnough = (score: number) =>
    isSmallerBetter ? score <= worst.score + slack : score >= worst.score - slack;
  const ids = new Set(found.filter(({ score }) => isGoodEnough(score)).map(({ id }) => id));
  return Math.min(1, ids.size / truth.length);
}
