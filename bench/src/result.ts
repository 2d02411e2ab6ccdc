/**
 * What a benchmark hands back: named figures with their targets, and the raw samples behind them.
 */

import type { BenchSizes } from './options.ts';

export type TargetCheck = 'met' | 'missed' | 'notMeasured';

export interface Figure {
  readonly name: string;
  /** Null when it could not be measured; the note says why. */
  readonly value: number | null;
  readonly unit: string;
  /** Printed beside the figure, for example ">= 4,000". */
  readonly target?: string;
  readonly check?: TargetCheck;
}

export interface BenchResult {
  readonly name: string;
  readonly figures: readonly Figure[];
  /** Sentences a reader of the figures must know: an absent peer, a short run. */
  readonly notes: readonly string[];
  /** Samples and settings, for the JSON only. */
  readonly raw: Readonly<Record<string, unknown>>;
  readonly durationMs: number;
}

export interface BenchContext {
  /** Short and small, to see that everything works; figures of a quick run mean nothing. */
  readonly isQuick: boolean;
  /** What the caller chose; each benchmark has its own defaults. */
  readonly sizes: BenchSizes;
  readonly log: (line: string) => void;
}

export interface Bench {
  readonly name: string;
  readonly description: string;
  /** Takes many minutes: runs only when named. */
  readonly isOnRequest?: boolean;
  run(context: BenchContext): Promise<Omit<BenchResult, 'name' | 'durationMs'>>;
}

export const figure = (name: string, value: number | null, unit: string): Figure => ({
  name,
  value,
  unit,
});

export const atLeast = (name: string, value: number | null, unit: string, min: number): Figure => ({
  ...figure(name, value, unit),
  target: `>= ${formatNumber(min)}`,
  check: value === null ? 'notMeasured' : value >= min ? 'met' : 'missed',
});

export const below = (name: string, value: number | null, unit: string, limit: number): Figure => ({
  ...figure(name, value, unit),
  target: `< ${formatNumber(limit)}`,
  check: value === null ? 'notMeasured' : value < limit ? 'met' : 'missed',
});

export const atMost = (name: string, value: number | null, unit: string, max: number): Figure => ({
  ...figure(name, value, unit),
  target: `<= ${formatNumber(max)}`,
  check: value === null ? 'notMeasured' : value <= max ? 'met' : 'missed',
});

/** Three significant digits below 1,000, whole numbers with separators above. */
export function formatNumber(value: number): string {
  if (Number.isInteger(value) || Math.abs(value) >= 1_000) {
    return Math.round(value).toLocaleString('en-US');
  }
  return String(Number(value.toPrecision(3)));
}
