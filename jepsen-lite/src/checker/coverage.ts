/**
 * Whether a run could have shown anything: each installed harm must have had operations while it
 * lasted and until the next one, the cluster must have taken most of them while it was healthy, and
 * the register workload must have had several operations at a time on a key. A run that falls short
 * is unknown, however well it looks.
 *
 * A harm is in force until the next healing of its nemesis is done; its episode lasts until the
 * next harm of that nemesis. Most operations are asked for in the episode, because what a harm did
 * may show only afterwards, and because while all nodes are dead hardly any can begin. An operation
 * belongs to the time in which it began. Healthy is all time in which no harm is in force, as long
 * as the load lasted.
 */
import {
  type FinishedOperation,
  finishedOperations,
  type HistoryEvent,
  type Outcome,
} from '../history.ts';
import { faultBandsOf } from '../report/fault-bands.ts';
import { unknown, type Verdict, valid } from './verdict.ts';

export interface WindowCoverage {
  /** `healthy` for all time without a fault together. */
  readonly name: string;
  readonly fromMs: number;
  readonly toMs: number;
  readonly operationCount: number;
  /** Shares of those; 0 when there are none. */
  readonly okRatio: number;
  readonly failRatio: number;
  readonly infoRatio: number;
  /** Operations under way at a time, on average over the window. */
  readonly concurrency: number;
}

/** The figures are of the time in which it was in force. */
export interface FaultCoverage extends WindowCoverage {
  readonly nemesis: string;
  /** Until the next harm of the nemesis. */
  readonly episodeCount: number;
}

export interface Coverage {
  readonly healthy: WindowCoverage;
  readonly faults: readonly FaultCoverage[];
  /**
   * For each register operation the most that were under way on its key at one moment of its life;
   * of these the middle one. 0 without register operations.
   */
  readonly keyConcurrency: number;
}

export interface CoverageLimits {
  /** In the episode of every harm. */
  readonly operationCountMin: number;
  /** While any harm of a nemesis was in force, over the whole run. */
  readonly inForceCountMin: number;
  readonly healthyOkRatioMin: number;
  /** Of register operations; 0 for workloads without registers. */
  readonly keyConcurrencyMin: number;
}

export const COVERAGE_LIMITS: CoverageLimits = {
  operationCountMin: 500,
  inForceCountMin: 50,
  healthyOkRatioMin: 0.5,
  keyConcurrencyMin: 5,
};

export function judgeCoverage(
  events: readonly HistoryEvent[],
  limits: CoverageLimits = COVERAGE_LIMITS,
): Verdict {
  const { faults, healthy, keyConcurrency } = coverageOf(events);
  const short = faults.filter(({ episodeCount }) => episodeCount < limits.operationCountMin);
  const [worst] = short.toSorted((left, right) => left.episodeCount - right.episodeCount);
  if (worst !== undefined) {
    const { episodeCount, name } = worst;
    return unknown(
      `only ${episodeCount} operations from ${name} on, ${limits.operationCountMin} are needed` +
        `; ${short.length} of ${faults.length} faults had too few`,
    );
  }
  for (const [nemesis, count] of inForceCounts(faults)) {
    if (count >= limits.inForceCountMin) continue;
    return unknown(`only ${count} operations began while a fault of ${nemesis} was in force`);
  }
  if (healthy.operationCount === 0) return unknown('no operation began while all was well');
  if (healthy.okRatio < limits.healthyOkRatioMin) {
    const percent = Math.round(healthy.okRatio * 100);
    return unknown(`only ${percent} % of the operations succeeded while all was well`);
  }
  if (keyConcurrency > 0 && keyConcurrency < limits.keyConcurrencyMin) {
    return unknown(
      `${keyConcurrency} operations at a time on a key, ${limits.keyConcurrencyMin} are needed`,
    );
  }
  return valid({ faultCount: faults.length, healthy, faults, keyConcurrency });
}

function inForceCounts(faults: readonly FaultCoverage[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { nemesis, operationCount } of faults) {
    counts.set(nemesis, (counts.get(nemesis) ?? 0) + operationCount);
  }
  return counts;
}

export function coverageOf(events: readonly HistoryEvent[]): Coverage {
  // Final operations have negative processes: they come one by one when the load is over.
  const operations = finishedOperations(events).filter(({ processId }) => processId >= 0);
  // Spans are open at their end, and the last operation belongs to the load.
  const endMs = operations.reduce((last, { invokedMs }) => Math.max(last, invokedMs + 1), 0);
  const spans = faultBandsOf(events).map(({ fromMs, toMs, harm }) => ({
    ...{ name: `${harm.action} at ${Math.round(fromMs)} ms`, fromMs, toMs: toMs ?? endMs },
    nemesis: harm.nemesis,
  }));
  const healthySpans = complementOf(spans, endMs);
  const healthyParts = healthySpans.map((span) => ({ span, parts: within(operations, span) }));
  const faults = spans.map((span) => {
    const { fromMs, name, nemesis } = span;
    const next = spans.find((one) => one.nemesis === nemesis && one.fromMs > fromMs);
    const episode = { fromMs, toMs: next?.fromMs ?? Infinity };
    return {
      ...windowOf(name, [span], within(operations, span)),
      ...{ nemesis, episodeCount: within(operations, episode).length },
    };
  });
  const healthy = windowOf(
    'healthy',
    healthySpans,
    healthyParts.flatMap(({ parts }) => parts),
  );
  return { healthy, faults, keyConcurrency: keyConcurrencyOf(operations) };
}

/** For people: a line per window. */
export function describeCoverage({ faults, healthy, keyConcurrency }: Coverage): readonly string[] {
  const percent = (ratio: number): string => `${Math.round(ratio * 100)} %`;
  const shares = ({ operationCount, okRatio, failRatio, infoRatio, concurrency }: WindowCoverage) =>
    `${operationCount} operations, ${percent(okRatio)} ok, ${percent(failRatio)} fail, ` +
    `${percent(infoRatio)} info, ${concurrency.toFixed(1)} at a time`;
  const lines = [
    `healthy: ${shares(healthy)}`,
    ...faults.map((one) => `${one.name}: ${shares(one)}; ${one.episodeCount} until the next`),
  ];
  if (keyConcurrency > 0) lines.push(`${keyConcurrency} operations at a time on a key`);
  return lines;
}

interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/** What of 0 to `endMs` no span covers. */
function complementOf(spans: readonly Span[], endMs: number): readonly Span[] {
  const free: Span[] = [];
  let fromMs = 0;
  for (const span of spans.toSorted((left, right) => left.fromMs - right.fromMs)) {
    if (span.fromMs > fromMs) free.push({ fromMs, toMs: span.fromMs });
    fromMs = Math.max(fromMs, span.toMs);
  }
  if (endMs > fromMs) free.push({ fromMs, toMs: endMs });
  return free;
}

const within = (operations: readonly FinishedOperation[], { fromMs, toMs }: Span) =>
  operations.filter(({ invokedMs }) => invokedMs >= fromMs && invokedMs < toMs);

function windowOf(
  name: string,
  spans: readonly Span[],
  operations: readonly FinishedOperation[],
): WindowCoverage {
  const count = (outcome: Outcome): number =>
    operations.filter((one) => one.outcome === outcome).length;
  const ratio = (outcome: Outcome): number =>
    operations.length === 0 ? 0 : count(outcome) / operations.length;
  const lengthMs = spans.reduce((sum, { fromMs, toMs }) => sum + toMs - fromMs, 0);
  const toMs = spans.at(-1)?.toMs ?? 0;
  const busyMs = operations.reduce(
    (sum, { invokedMs, finishedMs }) => sum + Math.min(finishedMs, toMs) - invokedMs,
    0,
  );
  return {
    name,
    fromMs: spans[0]?.fromMs ?? 0,
    toMs,
    operationCount: operations.length,
    ...{ okRatio: ratio('ok'), failRatio: ratio('fail'), infoRatio: ratio('info') },
    concurrency: lengthMs === 0 ? 0 : busyMs / lengthMs,
  };
}

const REGISTER_KINDS: ReadonlySet<string> = new Set(['read', 'write', 'compareAndSet']);

function keyConcurrencyOf(operations: readonly FinishedOperation[]): number {
  const byKey = new Map<string, FinishedOperation[]>();
  for (const finished of operations) {
    const { operation } = finished;
    if (!REGISTER_KINDS.has(operation.kind) || !('key' in operation)) continue;
    const group = byKey.get(operation.key) ?? [];
    group.push(finished);
    byKey.set(operation.key, group);
  }
  const peaks = [...byKey.values()].flatMap(peaksOf).sort((left, right) => left - right);
  return peaks[Math.floor(peaks.length / 2)] ?? 0;
}

/** For each operation the most that were under way at one moment of its life, itself included. */
function peaksOf(operations: readonly FinishedOperation[]): readonly number[] {
  // An operation nobody answered counts until its client gave it up, which is not recorded here:
  // as if it had ended at once.
  const lives = operations.map(({ invokedMs, finishedMs }) => ({
    ...{ fromMs: invokedMs, toMs: finishedMs === Infinity ? invokedMs : finishedMs, peak: 1 },
  }));
  const begins = lives.toSorted((left, right) => left.fromMs - right.fromMs);
  let open: typeof lives = [];
  for (const life of begins) {
    open = open.filter(({ toMs }) => toMs >= life.fromMs);
    open.push(life);
    for (const one of open) one.peak = Math.max(one.peak, open.length);
  }
  return lives.map(({ peak }) => peak);
}
