/** What a run was like, beside its verdicts: lines for the console. Pure. */
import { longestWriteGapOf, type WriteGap } from '../checker/availability.ts';
import { coverageOf, describeCoverage } from '../checker/coverage.ts';
import type { HistoryEvent } from '../history.ts';

export function describeRun(events: readonly HistoryEvent[]): readonly string[] {
  const gap = longestWriteGapOf(events);
  const lines = gap === null ? [] : [`longest write gap ${describeGap(gap)}`];
  return [...lines, ...describeCoverage(coverageOf(events))];
}

/** How long, where, and around which fault. */
export function describeGap({ action, fromMs, gapMs }: WriteGap): string {
  return `${Math.round(gapMs)} ms, from ${Math.round(fromMs)} ms on, around ${action}`;
}
