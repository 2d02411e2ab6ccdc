/** The table for people and the JSON for machines. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { renderTable as renderFigures } from '@holdfast/jepsen-lite';
import type { Environment } from './environment.ts';
import type { BenchResult } from './result.ts';

export interface Report {
  readonly environment: Environment;
  readonly isQuick: boolean;
  readonly results: readonly BenchResult[];
}

/** One row per figure, columns aligned. */
export const renderTable = (results: readonly BenchResult[]): string =>
  renderFigures(results, 'bench');

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
