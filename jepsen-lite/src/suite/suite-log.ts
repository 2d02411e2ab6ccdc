/**
 * What became of the runs of a suite: one line per run, appended when it has been judged. A suite
 * that is begun again leaves out what it finds here, so it can be done in parts; which commit each
 * verdict belongs to is in the line.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import type { Verdict } from '../checker/verdict.ts';
import type { RunSummary } from '../store/run-summary.ts';

export interface SuiteLine {
  /** `keyOf` of the experiment. */
  readonly key: string;
  readonly commit: string;
  /** Directory in the store. */
  readonly run: string;
  /** Of all checkers; `failed`: the harness broke, which is no verdict. */
  readonly verdict: Verdict['kind'] | 'failed';
  /** Of each checker that is not valid, or why the harness broke. */
  readonly reasons: readonly string[];
  readonly seconds: number;
  readonly summary: RunSummary | null;
  /** Names of the failpoints that any node got to. */
  readonly failpoints?: readonly string[];
}

/** A torn last line, of a harness that was killed, is left out: that run is done again. */
export function readSuiteLog(path: string): readonly SuiteLine[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .split('\n')
    .flatMap((line) => {
      try {
        return line === '' ? [] : [JSON.parse(line) as SuiteLine];
      } catch {
        return [];
      }
    });
}

export function appendSuiteLine(path: string, line: SuiteLine): void {
  appendFileSync(path, `${JSON.stringify(line)}\n`);
}

/** The newest line of every run: one that was repeated after a mend counts by its last verdict. */
export function newestByKey(lines: readonly SuiteLine[]): ReadonlyMap<string, SuiteLine> {
  return new Map(lines.map((line) => [line.key, line]));
}
