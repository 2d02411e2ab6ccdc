/** The table for people and the JSON for machines. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Environment } from './environment.ts';
import { type BenchResult, type Figure, formatNumber } from './result.ts';

export interface Report {
  readonly environment: Environment;
  readonly isQuick: boolean;
  readonly results: readonly BenchResult[];
}

const CHECK_WORDS = { met: 'met', missed: 'MISSED', notMeasured: 'not measured' } as const;

/** One row per figure, columns aligned. */
export function renderTable(results: readonly BenchResult[]): string {
  const rows = [['bench', 'figure', 'value', 'unit', 'target', '']];
  for (const result of results) {
    for (const figure of result.figures) rows.push(rowOf(result.name, figure));
  }
  const widths = rows[0]?.map((_cell, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  const lines = rows.map((row) =>
    row
      .map((cell, i) => (i === 2 ? cell.padStart(widths?.[i] ?? 0) : cell.padEnd(widths?.[i] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
  const rule = '-'.repeat(Math.max(...lines.map((line) => line.length)));
  const notes = results.flatMap((result) => result.notes.map((note) => `${result.name}: ${note}`));
  return [lines[0], rule, ...lines.slice(1), ...(notes.length > 0 ? [rule, ...notes] : [])].join(
    '\n',
  );
}

function rowOf(benchName: string, figure: Figure): string[] {
  return [
    benchName,
    figure.name,
    figure.value === null ? '-' : formatNumber(figure.value),
    figure.unit,
    figure.target ?? '',
    figure.check === undefined ? '' : CHECK_WORDS[figure.check],
  ];
}

/** Writes one file per run and `latest.json`; returns the path of the former. */
export function writeReport(directory: string, report: Report): string {
  mkdirSync(directory, { recursive: true });
  const text = `${JSON.stringify(report, null, 2)}\n`;
  const path = join(directory, `${report.environment.takenAt.replaceAll(':', '-')}.json`);
  writeFileSync(path, text);
  writeFileSync(join(directory, 'latest.json'), text);
  return path;
}

/** True when no figure misses its target; figures that were not measured do not count. */
export const hasMetTargets = (results: readonly BenchResult[]): boolean =>
  results.every((result) => result.figures.every((figure) => figure.check !== 'missed'));
