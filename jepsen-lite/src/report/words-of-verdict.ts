/** Verdicts for people, on the page of a run and on the console. Pure. */
import { unreachable } from '@holdfast/base';
import type { Verdict } from '../checker/verdict.ts';
import { wordsOfName } from './anomalies.ts';

/** The reason, or the plain figures of the checker: tables of them are in the files of the run. */
export function wordsOf(verdict: Verdict): string {
  switch (verdict.kind) {
    case 'valid':
      return Object.entries(verdict.summary)
        .filter(([, value]) => typeof value !== 'object' || value === null)
        .map(([name, value]) => `${wordsOfName(name)}: ${figure(value)}`)
        .join(', ');
    case 'unknown':
    case 'invalid':
      return verdict.reason;
    default:
      return unreachable(verdict);
  }
}

function figure(value: unknown): string {
  return typeof value === 'number' && !Number.isInteger(value) ? value.toFixed(2) : String(value);
}
