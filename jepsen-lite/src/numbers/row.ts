/** A row of the table of numbers: what is done how often, and what came out. */
import type { Verdict } from '../checker/verdict.ts';
import type { Machine } from '../nemesis/needs.ts';
import type { Figure } from './figure.ts';

export interface RowContext {
  /** How often the row does what it is about. */
  readonly times: number;
  /** Repeats what is drawn, not the timing of the machine. */
  readonly seed: number;
  readonly isQuick: boolean;
  /** A line of progress. */
  readonly log: (line: string) => void;
}

export interface RowOutcome {
  readonly figures: readonly Figure[];
  /** By name of the checker, the worst of all parts of the row. */
  readonly verdicts: Readonly<Record<string, Verdict>>;
  /** Sentences a reader of the figures must know. */
  readonly notes: readonly string[];
  /** What the figures were made of, for the file only. */
  readonly samples: readonly Readonly<Record<string, unknown>>[];
}

export interface NumberRow {
  readonly name: string;
  /** Ends "measures ...", for the list of rows. */
  readonly what: string;
  readonly timesDefault: number;
  readonly timesQuick: number;
  /** Of the clients, for whoever reads the figures. */
  readonly load: string;
  /** Why it cannot be measured here; null when it can. */
  whyNot(machine: Machine): string | null;
  /** @throws Error when the harness broke; what the cluster did wrong is in the outcome */
  run(context: RowContext): Promise<RowOutcome>;
}

export const everywherePossible = (): null => null;
