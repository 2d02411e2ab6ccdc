/**
 * Three-valued verdicts. `unknown` is not a pass: it says that the run could not show anything.
 * A failure of the harness itself is an exception and never a verdict.
 */
import { unreachable } from '@holdfast/base';

export type Verdict =
  | { readonly kind: 'valid'; readonly summary: Readonly<Record<string, unknown>> }
  | { readonly kind: 'unknown'; readonly reason: string }
  | {
      readonly kind: 'invalid';
      readonly reason: string;
      /** A few witnesses, small enough to print. */
      readonly examples: readonly InvalidExample[];
    };

/** A witness: whatever facts explain it, and who and when, so that a picture can mark it. */
export interface InvalidExample {
  readonly processIds?: readonly number[];
  /** The moment at which it shows; the span that it is about. Since the start of the run. */
  readonly timeMs?: number;
  readonly fromMs?: number;
  readonly toMs?: number;
  readonly [fact: string]: unknown;
}

/** How many witnesses an invalid verdict carries. */
export const EXAMPLE_COUNT_MAX = 10;

export const valid = (summary: Readonly<Record<string, unknown>> = {}): Verdict => ({
  kind: 'valid',
  summary,
});
export const unknown = (reason: string): Verdict => ({ kind: 'unknown', reason });
export const invalid = (reason: string, examples: readonly InvalidExample[]): Verdict => ({
  kind: 'invalid',
  reason,
  examples: examples.slice(0, EXAMPLE_COUNT_MAX),
});

const severityOf = (verdict: Verdict): number => {
  switch (verdict.kind) {
    case 'valid':
      return 0;
    case 'unknown':
      return 1;
    case 'invalid':
      return 2;
    default:
      return unreachable(verdict);
  }
};

/** The worst of several verdicts; the first of equals. Nothing checked is unknown. */
export function worstOf(verdicts: readonly Verdict[]): Verdict {
  let worst: Verdict | null = null;
  for (const verdict of verdicts) {
    if (worst === null || severityOf(verdict) > severityOf(worst)) worst = verdict;
  }
  return worst ?? unknown('nothing was checked');
}
