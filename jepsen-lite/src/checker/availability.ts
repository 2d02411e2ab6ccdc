/**
 * How long clients waited. Not a safety property: the verdict is invalid only when a stated limit
 * is passed; the figures are what a reader wants.
 */
import { type FaultEvent, finishedOperations, type HistoryEvent } from '../history.ts';
import { isWrite } from '../operation.ts';
import { invalid, unknown, type Verdict, valid } from './verdict.ts';

export interface AvailabilityLimits {
  /** Longest allowed time between two acknowledged writes around a fault. */
  readonly writeGapMsMax: number;
  /** Longest allowed time from the end of a healing to the next acknowledged write. */
  readonly recoveryMsMax?: number;
}

export interface WriteGap {
  readonly nemesis: string;
  readonly action: string;
  readonly isHealing: boolean;
  /** Since the start of the run: the acknowledgements before and after the longest silence. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly gapMs: number;
}

export interface Recovery {
  readonly nemesis: string;
  /** When the healing was in place. */
  readonly healedMs: number;
  /** To the first write that was acknowledged afterwards; null: none was. */
  readonly recoveryMs: number | null;
}

/**
 * For each installed fault the longest silence that it can explain: the longest time between two
 * acknowledged writes, from the last one before the fault to the first one after the next fault.
 * (The very next acknowledgement may still come out of the socket of a process that is dead.)
 * A fault without a write on both sides gives no gap.
 */
export function writeGapsOf(events: readonly HistoryEvent[]): readonly WriteGap[] {
  const acknowledgedMs = acknowledgedWritesMs(events);
  const faults = installedFaults(events);
  return faults.flatMap((fault, position) => {
    const { nemesis, action, isHealing } = fault;
    const untilMs = faults[position + 1]?.timeMs ?? Infinity;
    const silence = longestSilence(acknowledgedMs, fault.timeMs, untilMs);
    return silence === null ? [] : [{ nemesis, action, isHealing, ...silence }];
  });
}

/** The longest of them; null: there is none. */
export function longestWriteGapOf(events: readonly HistoryEvent[]): WriteGap | null {
  const [first, ...rest] = writeGapsOf(events);
  return rest.reduce<WriteGap | null>(
    (longest, gap) => (longest === null || gap.gapMs > longest.gapMs ? gap : longest),
    first ?? null,
  );
}

/** For each installed healing the time until writes went on. */
export function recoveriesOf(events: readonly HistoryEvent[]): readonly Recovery[] {
  const acknowledgedMs = acknowledgedWritesMs(events);
  return installedFaults(events)
    .filter(({ isHealing }) => isHealing)
    .map(({ nemesis, doneMs }) => {
      const next = acknowledgedMs.find((timeMs) => timeMs >= doneMs);
      return { nemesis, healedMs: doneMs, recoveryMs: next === undefined ? null : next - doneMs };
    });
}

const installedFaults = (events: readonly HistoryEvent[]): readonly FaultEvent[] =>
  events.filter((event) => event.kind === 'fault').filter((one) => one.outcome === 'installed');

function acknowledgedWritesMs(events: readonly HistoryEvent[]): readonly number[] {
  return finishedOperations(events)
    .filter(({ operation, outcome }) => outcome === 'ok' && isWrite(operation))
    .map((finished) => finished.finishedMs)
    .sort((left, right) => left - right);
}

function longestSilence(
  acknowledgedMs: readonly number[],
  fromMs: number,
  untilMs: number,
): Pick<WriteGap, 'fromMs' | 'toMs' | 'gapMs'> | null {
  const first = acknowledgedMs.findLastIndex((timeMs) => timeMs <= fromMs);
  if (first === -1 || first === acknowledgedMs.length - 1) return null;
  let longest = { fromMs: 0, toMs: 0, gapMs: -1 };
  for (let i = first; i + 1 < acknowledgedMs.length; i++) {
    const [begin = 0, end = 0] = [acknowledgedMs[i], acknowledgedMs[i + 1]];
    if (begin > untilMs) break;
    if (end - begin > longest.gapMs) longest = { fromMs: begin, toMs: end, gapMs: end - begin };
  }
  return longest;
}

export function judgeAvailability(
  events: readonly HistoryEvent[],
  limits: AvailabilityLimits,
): Verdict {
  const gaps = writeGapsOf(events);
  const recoveries = recoveriesOf(events);
  const tooLong = gaps.filter((gap) => gap.gapMs > limits.writeGapMsMax);
  if (tooLong.length > 0) {
    const examples = tooLong.map((gap) => ({ ...gap, timeMs: gap.toMs }));
    return invalid(`writes stood still for more than ${limits.writeGapMsMax} ms`, examples);
  }
  const { recoveryMsMax = Infinity } = limits;
  const tooLate = recoveries.filter(({ recoveryMs }) => (recoveryMs ?? 0) > recoveryMsMax);
  if (tooLate.length > 0) {
    const examples = tooLate.map((one) => ({ ...one, timeMs: one.healedMs }));
    return invalid(`no write for more than ${recoveryMsMax} ms after healing`, examples);
  }
  const faultCount = installedFaults(events).length;
  // The healing at the very end has no load after it; and without a limit there is nothing to miss.
  const harmCount = installedFaults(events).filter(({ isHealing }) => !isHealing).length;
  if (limits.writeGapMsMax < Infinity && gaps.length < harmCount) {
    return unknown('a fault has no acknowledged write on both sides');
  }
  return valid({
    faultCount,
    gapMsMax: Math.max(0, ...gaps.map(({ gapMs }) => gapMs)),
    recoveryMsMax: Math.max(0, ...recoveries.map(({ recoveryMs }) => recoveryMs ?? 0)),
  });
}
