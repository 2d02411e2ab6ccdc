/**
 * How long clients waited. Not a safety property: the verdict is invalid only when a stated limit
 * is passed; the figures are what a reader wants.
 */
import { finishedOperations, type HistoryEvent } from '../history.ts';
import { invalid, unknown, type Verdict, valid } from './verdict.ts';

export interface AvailabilityLimits {
  /** Longest allowed time between two acknowledged writes around a fault. */
  readonly writeGapMsMax: number;
}

export interface WriteGap {
  readonly action: string;
  readonly gapMs: number;
}

/**
 * For each installed fault the longest silence that it can explain: the longest time between two
 * acknowledged writes, from the last one before the fault to the first one after the next fault.
 * (The very next acknowledgement may still come out of the socket of a process that is dead.)
 * A fault without a write on both sides gives no gap.
 */
export function writeGapsOf(events: readonly HistoryEvent[]): readonly WriteGap[] {
  const acknowledgedMs = finishedOperations(events)
    .filter(({ operation, outcome }) => outcome === 'ok' && isWrite(operation.kind))
    .map((finished) => finished.finishedMs)
    .sort((left, right) => left - right);
  const faults = events.filter((event) => event.kind === 'fault' && event.outcome === 'installed');
  const gaps: WriteGap[] = [];
  faults.forEach((fault, position) => {
    if (fault.kind !== 'fault') return;
    const untilMs = faults[position + 1]?.timeMs ?? Infinity;
    const gapMs = longestSilenceMs(acknowledgedMs, fault.timeMs, untilMs);
    if (gapMs !== null) gaps.push({ action: fault.action, gapMs });
  });
  return gaps;
}

function longestSilenceMs(
  acknowledgedMs: readonly number[],
  fromMs: number,
  untilMs: number,
): number | null {
  const first = acknowledgedMs.findLastIndex((timeMs) => timeMs <= fromMs);
  if (first === -1 || first === acknowledgedMs.length - 1) return null;
  let longestMs = 0;
  for (let i = first; i + 1 < acknowledgedMs.length; i++) {
    const [begin = 0, end = 0] = [acknowledgedMs[i], acknowledgedMs[i + 1]];
    if (begin > untilMs) break;
    longestMs = Math.max(longestMs, end - begin);
  }
  return longestMs;
}

export function judgeAvailability(
  events: readonly HistoryEvent[],
  limits: AvailabilityLimits,
): Verdict {
  const gaps = writeGapsOf(events);
  const tooLong = gaps.filter((gap) => gap.gapMs > limits.writeGapMsMax);
  if (tooLong.length > 0) {
    return invalid(`writes stood still for more than ${limits.writeGapMsMax} ms`, tooLong);
  }
  const faultCount = events.filter(
    (event) => event.kind === 'fault' && event.outcome === 'installed',
  ).length;
  if (faultCount > gaps.length) return unknown('a fault has no acknowledged write on both sides');
  return valid({ gapMsMax: Math.max(0, ...gaps.map((gap) => gap.gapMs)), faultCount });
}

const isWrite = (kind: string): boolean =>
  kind === 'add' || kind === 'write' || kind === 'compareAndSet';
