/** A run in a few figures: what the list of runs shows without reading whole histories. Pure. */
import { longestWriteGapOf } from '../checker/availability.ts';
import { finishedOperations, type HistoryEvent } from '../history.ts';

export interface RunSummary {
  readonly okCount: number;
  readonly failCount: number;
  readonly infoCount: number;
  readonly installedFaultCount: number;
  readonly skippedFaultCount: number;
  /** Around a fault; null when there was none with acknowledged writes on both sides. */
  readonly longestWriteGapMs: number | null;
  readonly lastEventMs: number;
}

export function summarizeRun(events: readonly HistoryEvent[]): RunSummary {
  const counts = { ok: 0, fail: 0, info: 0 };
  for (const { outcome } of finishedOperations(events)) counts[outcome] += 1;
  const faults = events.filter((event) => event.kind === 'fault' && !event.isHealing);
  const faultsThat = (outcome: string): number =>
    faults.filter((event) => event.kind === 'fault' && event.outcome === outcome).length;
  return {
    okCount: counts.ok,
    failCount: counts.fail,
    infoCount: counts.info,
    installedFaultCount: faultsThat('installed'),
    skippedFaultCount: faultsThat('skipped'),
    longestWriteGapMs: longestWriteGapOf(events)?.gapMs ?? null,
    lastEventMs: events.reduce((last, { timeMs }) => Math.max(last, timeMs), 0),
  };
}
