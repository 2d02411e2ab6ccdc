/** Runs what of a suite was not run yet, one experiment after the other. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { commitName } from '../sim/commit-name.ts';
import type { Experiment } from './experiment.ts';
import type { ExperimentTools } from './run-experiment.ts';
import { runExperiment } from './run-experiment.ts';
import { chooseRuns, experimentsOf, keyOf, type RepeatChoice, type Suite } from './suite.ts';
import { appendSuiteLine, newestByKey, readSuiteLog, type SuiteLine } from './suite-log.ts';
import { countSuite, reportSuite, type SuiteCounts } from './suite-report.ts';

export interface SuiteOptions extends ExperimentTools {
  /** Runs that were invalid, unknown or broken are done again. */
  readonly isRepeatingBad: boolean;
  /** These are done, also when they were valid: after a mend. Null: what is open. */
  readonly repeat: RepeatChoice | null;
  /** Stops after so many; for a suite that is done in parts. */
  readonly runCountMax: number;
  readonly progress: (line: string) => void;
}

export async function runSuite(suite: Suite, options: SuiteOptions): Promise<SuiteCounts> {
  const { progress, storeDirectory } = options;
  mkdirSync(storeDirectory, { recursive: true });
  const logPath = join(storeDirectory, `suite-${suite.name}.jsonl`);
  const experiments = experimentsOf(suite);
  const done = newestByKey(readSuiteLog(logPath));
  const isOpen = (experiment: Experiment): boolean => {
    const line = done.get(keyOf(experiment));
    return line === undefined || (options.isRepeatingBad && line.verdict !== 'valid');
  };
  const { repeat } = options;
  const chosen = repeat === null ? experiments.filter(isOpen) : chooseRuns(experiments, repeat);
  const open = chosen.slice(0, options.runCountMax);
  progress(`suite ${suite.name}: ${experiments.length} runs, ${open.length} to do now`);
  for (const [i, experiment] of open.entries()) {
    const startMs = performance.now();
    const line = await attempt(experiment, options);
    appendSuiteLine(logPath, line);
    const seconds = Math.round((performance.now() - startMs) / 1_000);
    const what = `${experiment.workload} under ${experiment.nemeses.join(' + ') || 'nothing'}`;
    progress(`[${i + 1}/${open.length}] ${what}: ${line.verdict}, ${seconds} s  ${line.run}`);
    for (const reason of line.reasons) progress(`    ${reason}`);
  }
  const lines = readSuiteLog(logPath);
  const report = reportSuite(suite, experiments, lines);
  writeFileSync(join(storeDirectory, `suite-${suite.name}.md`), report);
  return countSuite(experiments, lines);
}

async function attempt(experiment: Experiment, options: SuiteOptions): Promise<SuiteLine> {
  const startMs = performance.now();
  const about = { key: keyOf(experiment), commit: commitName() };
  const seconds = (): number => Math.round((performance.now() - startMs) / 1_000);
  try {
    const { directory, failpoints, summary, verdicts, worst } = await runExperiment(
      experiment,
      options,
    );
    const reasons = Object.entries(verdicts).flatMap(([name, verdict]) =>
      verdict.kind === 'valid' ? [] : [`${name}: ${verdict.reason}`],
    );
    const run = basename(directory);
    return { ...about, run, verdict: worst.kind, reasons, seconds: seconds(), summary, failpoints };
  } catch (thrown) {
    // A harness that broke is no verdict; the suite goes on, and says so.
    const reasons = [thrown instanceof Error ? thrown.message : String(thrown)];
    return { ...about, run: '', verdict: 'failed', reasons, seconds: seconds(), summary: null };
  }
}
