/**
 * What a benchmark hands back: named figures with their targets, and the raw samples behind them.
 */
import type { Figure } from '@holdfast/jepsen-lite';
import type { BenchSizes } from './options.ts';

export type { Figure, TargetCheck } from '@holdfast/jepsen-lite';
export { atLeast, atMost, below, figure, formatNumber } from '@holdfast/jepsen-lite';

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
