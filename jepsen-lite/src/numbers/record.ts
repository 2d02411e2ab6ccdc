/**
 * What was measured: one line of JSON per row and time, appended, so that the table may be done row
 * by row; and the newest of each row as a table. The pages quote figures with commit and machine.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Verdict, worstOf } from '../checker/verdict.ts';
import { type Figure, formatNumber } from './figure.ts';
import { CHECK_WORDS, type FigureGroup } from './figure-table.ts';

export type RowResult = 'met' | 'missed' | 'skipped';

export interface NumberRecord {
  readonly row: string;
  readonly commit: string;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  readonly coreCount: number;
  /** Processes that wanted a processor in the minute before: above a few, figures mean little. */
  readonly loadAverage: number;
  readonly load: string;
  readonly times: number;
  readonly seed: number;
  readonly isQuick: boolean;
  readonly seconds: number;
  readonly result: RowResult;
  readonly figures: readonly Figure[];
  readonly verdicts: Readonly<Record<string, Verdict>>;
  readonly notes: readonly string[];
  readonly samples: readonly unknown[];
}

/** Pure: every target met and everything that was judged valid; unknown is not a pass. */
export function resultOf(
  figures: readonly Figure[],
  verdicts: Readonly<Record<string, Verdict>>,
): Exclude<RowResult, 'skipped'> {
  const isMet = figures.every(({ check }) => check === undefined || check === 'met');
  return isMet && worstOf(Object.values(verdicts)).kind === 'valid' ? 'met' : 'missed';
}

export function appendRecord(path: string, record: NumberRecord): void {
  mkdirSync(dirname(path), { recursive: true });
  appendFileSync(path, `${JSON.stringify(record)}\n`);
}

/** A torn last line, of a harness that was killed, is left out. */
export function readRecords(path: string): readonly NumberRecord[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .split('\n')
    .flatMap((line) => {
      try {
        return line === '' ? [] : [JSON.parse(line) as NumberRecord];
      } catch {
        return [];
      }
    });
}

/** Pure: of each row the newest that was measured in full, in the order of `rows`. */
export function newestOf(
  records: readonly NumberRecord[],
  rows: readonly string[],
): readonly NumberRecord[] {
  return rows.flatMap((row) => {
    const own = records.filter((one) => one.row === row && !one.isQuick);
    return own.findLast(({ result }) => result !== 'skipped') ?? own.at(-1) ?? [];
  });
}

/** Pure: the figures, then what was not valid and why. */
export function groupOf({ figures, notes, row, verdicts }: NumberRecord): FigureGroup {
  const bad = Object.entries(verdicts).flatMap(([name, verdict]) =>
    verdict.kind === 'valid' ? [] : [`${name} is ${verdict.kind}: ${verdict.reason}`],
  );
  return { name: row, figures, notes: [...notes, ...bad] };
}

/** Pure: for a page, a line per row with its figures, their targets and the command. */
export function renderMarkdown(records: readonly NumberRecord[], whatOf: WhatOf): string {
  const head = ['| what | measured (target) | | command | commit |', '|---|---|---|---|---|'];
  return [...head, ...records.map((record) => lineOf(record, whatOf(record.row)))].join('\n');
}

/** What a row is about, by its name. */
export type WhatOf = (row: string) => string;

function lineOf(
  { commit, figures, notes, result, row, times }: NumberRecord,
  what: string,
): string {
  const measured = figures.filter(({ check }) => check !== undefined).map(wordsOf);
  const command = `\`npm run jepsen:numbers -- ${row}\``;
  const text = result === 'skipped' ? notes.join('; ') : measured.join('; ');
  const word = result === 'missed' ? 'MISSED' : result;
  return `| ${[`${what} (${times})`, text, word, command, commit].join(' | ')} |`;
}

function wordsOf({ check = 'notMeasured', name, target = '', unit, value }: Figure): string {
  const measured = value === null ? '-' : `${formatNumber(value)} ${unit}`.trim();
  const word = check === 'met' ? '' : `, ${CHECK_WORDS[check]}`;
  return `${name} **${measured}** (${target}${word})`;
}
