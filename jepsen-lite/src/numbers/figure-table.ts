/** Figures as a table for people. Pure. */
import { type Figure, formatNumber, type TargetCheck } from './figure.ts';

export interface FigureGroup {
  readonly name: string;
  readonly figures: readonly Figure[];
  /** Sentences a reader of the figures must know. */
  readonly notes: readonly string[];
}

export const CHECK_WORDS: Readonly<Record<TargetCheck, string>> = {
  met: 'met',
  missed: 'MISSED',
  notMeasured: 'not measured',
};

/** One row per figure, columns aligned; `title` heads the column of the groups' names. */
export function renderTable(groups: readonly FigureGroup[], title: string): string {
  const rows = [[title, 'figure', 'value', 'unit', 'target', '']];
  for (const { name, figures } of groups) {
    for (const figure of figures) rows.push(rowOf(name, figure));
  }
  const widths = rows[0]?.map((_cell, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  const lines = rows.map((row) =>
    row
      .map((cell, i) => (i === 2 ? cell.padStart(widths?.[i] ?? 0) : cell.padEnd(widths?.[i] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
  const rule = '-'.repeat(Math.max(...lines.map((line) => line.length)));
  const notes = groups.flatMap(({ name, notes }) => notes.map((note) => `${name}: ${note}`));
  return [lines[0], rule, ...lines.slice(1), ...(notes.length > 0 ? [rule, ...notes] : [])].join(
    '\n',
  );
}

function rowOf(name: string, { check, name: what, target, unit, value }: Figure): string[] {
  return [
    ...[name, what],
    value === null ? '-' : formatNumber(value),
    ...[unit, target ?? ''],
    check === undefined ? '' : CHECK_WORDS[check],
  ];
}
