/**
 * Thousands of seeds on all cores. Every result is kept in a file as it comes; a run that was
 * interrupted goes on where it stopped, unless the sources have changed meanwhile.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { RunResult } from './run-plan.ts';
import { type Progress, runSeeds } from './run-seeds.ts';
import { Totals } from './totals.ts';

export interface NightlyOptions {
  readonly seeds: readonly number[];
  readonly jobCount: number;
  readonly durationMs: number;
  readonly commit: string;
  /** Where the progress file is. */
  readonly store: string;
  /** Where the report goes; null: it is only printed. */
  readonly reportFile: string | null;
  readonly onProgress: (progress: Progress) => void;
  readonly print: (line: string) => void;
}

interface Header {
  readonly commit: string;
  readonly durationMs: number;
}

export async function runNightly(options: NightlyOptions): Promise<Totals> {
  const { seeds, commit, durationMs, jobCount, print, reportFile } = options;
  const file = join(options.store, 'sim-nightly.jsonl');
  mkdirSync(options.store, { recursive: true });
  const header: Header = { commit, durationMs };
  const known = readProgress(file, header);
  if (known === null) writeFileSync(file, `${JSON.stringify(header)}\n`);
  const done = known ?? [];
  const wanted = new Set(seeds);
  const totals = new Totals();
  for (const result of done) if (wanted.delete(result.seed)) totals.add(result);
  if (totals.seedCount > 0) print(`goes on after ${totals.seedCount} seeds in ${file}`);
  const startedAtMs = Date.now();
  const left = [...wanted];
  await runSeeds({ seeds: left, jobCount, durationMs }, (progress) => {
    totals.add(progress.result);
    appendFileSync(file, `${JSON.stringify(slim(progress.result))}\n`);
    options.onProgress(progress);
  });
  const seconds = Math.round((Date.now() - startedAtMs) / 1_000);
  const report = reportOf(options, totals, seconds, left.length);
  for (const line of report) print(line);
  if (reportFile !== null) {
    mkdirSync(dirname(reportFile), { recursive: true });
    writeFileSync(reportFile, `${report.join('\n')}\n`);
  }
  return totals;
}

/** Null when the file is of other sources, or does not exist. */
function readProgress(file: string, header: Header): readonly RunResult[] | null {
  if (!existsSync(file)) return null;
  const [first = '', ...lines] = readFileSync(file, 'utf8').split('\n');
  if (first !== JSON.stringify(header)) return null;
  const results: RunResult[] = [];
  for (const line of lines) {
    try {
      results.push(JSON.parse(line) as RunResult);
    } catch {
      // The last line of an interrupted run may be cut; its seed runs again.
    }
  }
  return results;
}

/** The events of a seed without problems are not worth keeping: it can be run again. */
const slim = (result: RunResult): RunResult =>
  result.problems.length > 0 ? result : { ...result, lastEvents: [] };

function reportOf(
  { commit, seeds, durationMs, jobCount }: NightlyOptions,
  totals: Totals,
  seconds: number,
  ranCount: number,
): readonly string[] {
  const hours = (totals.simulatedMs / 3_600_000).toFixed(1);
  return [
    '# Simulator, nightly run',
    '',
    `commit ${commit}, ${new Date().toISOString()}`,
    `seeds ${seeds[0]} to ${seeds.at(-1)}, each ${durationMs / 1_000} simulated seconds of faults`,
    `${totals.seedCount} seeds, ${totals.failures.length} failed, ${hours} simulated hours`,
    `${ranCount} of them in this part of the run: ${seconds} s on ${jobCount} processes`,
    `failed: ${totals.failures.map(({ seed }) => seed).join(', ') || 'none'}`,
    `not reached: ${totals.unreached().join(', ') || 'nothing'}`,
    '',
    '```',
    ...totals.tables().slice(1),
    '```',
  ];
}
