/**
 * The simulator. See DESIGN.md for what a run is.
 *
 *   npm run sim -- [--seeds 20] [--first-seed 1] [--jobs 2] [--seconds 30]   many seeds
 *   npm run sim -- --seed 7                          one seed again, byte for byte, with its trace
 *   npm run sim -- --seed 7 --shrink                 the smallest plan that still fails like it
 *   npm run sim -- --plan FILE                       a plan that shrinking has written
 *   npm run sim -- --coverage [--seeds 100]          and which lines of the product they ran
 *   npm run sim:nightly -- [--seeds 5000] [--first-seed 1] [--report FILE]   resumable, all cores
 *
 * Exit code 0: no seed failed and, from 100 seeds on, every expected state was reached; 1: a seed
 * failed; 3: a state was not reached; 2: bad usage.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { commitName } from './commit-name.ts';
import { coverageOf, coverageTable } from './coverage.ts';
import { DURATION_MS, drawPlan } from './draw-plan.ts';
import { runNightly } from './nightly.ts';
import type { SimPlan } from './plan.ts';
import { describeFailure, describePlan, describeRun, ProgressLine } from './report.ts';
import { runPlan } from './run-plan.ts';
import { runSeeds } from './run-seeds.ts';
import { shrink } from './shrink.ts';
import type { Totals } from './totals.ts';

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
const EXIT_UNREACHED = 3;
const SHRINK_RUN_COUNT_MAX = 300;
/** Failures shown with their last events; the others by seed. */
const FAILURES_SHOWN_MAX = 3;
const STORE = fileURLToPath(new URL('../../../store/', import.meta.url));

const print = (line: string): void => void process.stdout.write(`${line}\n`);

function readOptions() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seeds: { type: 'string' },
      'first-seed': { type: 'string', default: '1' },
      jobs: { type: 'string', default: String(availableParallelism()) },
      seconds: { type: 'string', default: String(DURATION_MS / 1_000) },
      seed: { type: 'string' },
      plan: { type: 'string' },
      shrink: { type: 'boolean', default: false },
      coverage: { type: 'boolean', default: false },
      report: { type: 'string' },
    },
  });
  const isNightly = positionals[0] === 'nightly';
  if (positionals.length > (isNightly ? 1 : 0))
    throw new TypeError(`what is '${positionals.at(-1)}'?`);
  const defaultSeedCount = isNightly ? 5_000 : values.coverage ? 100 : 20;
  const seedCount = positive('seeds', values.seeds ?? String(defaultSeedCount));
  const firstSeed = positive('first-seed', values['first-seed']);
  return {
    isNightly,
    seeds: Array.from({ length: seedCount }, (_, i) => firstSeed + i),
    jobCount: positive('jobs', values.jobs),
    durationMs: positive('seconds', values.seconds) * 1_000,
    seed: values.seed === undefined ? null : positive('seed', values.seed),
    planFile: values.plan ?? null,
    isShrinking: values.shrink,
    isCoverage: values.coverage,
    reportFile: values.report ?? null,
  };
}

type Options = ReturnType<typeof readOptions>;

function positive(name: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new TypeError(`--${name} must be a positive integer, not '${text}'`);
}

async function runOne(plan: SimPlan, isShrinking: boolean): Promise<number> {
  const result = await runPlan(plan);
  for (const line of [...describeRun(result), ...describePlan(plan)]) print(line);
  if (result.problems.length === 0) {
    print(`seed ${plan.seed}: no problem found`);
    return 0;
  }
  for (const line of describeFailure(result, commitName())) print(line);
  if (!isShrinking) return EXIT_FAILED;
  const shrunk = await shrink(plan, result, {
    run: runPlan,
    runCountMax: SHRINK_RUN_COUNT_MAX,
    onStep: ({ runCount, plan: { faults, clientCount, durationMs } }) =>
      print(`run ${runCount}: ${faults.length} faults, ${clientCount} clients, ${durationMs} ms`),
  });
  const file = join(STORE, `sim-seed-${plan.seed}.json`);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(shrunk.plan, null, 2)}\n`);
  print(`\nshrunk in ${shrunk.runCount} runs`);
  for (const line of [
    ...describePlan(shrunk.plan),
    ...describeFailure(shrunk.result, commitName()),
  ])
    print(line);
  print(`  replay the small one: npm run sim -- --plan ${file}`);
  return EXIT_FAILED;
}

async function runMany(options: Options, environment: NodeJS.ProcessEnv = {}): Promise<number> {
  const { seeds, jobCount, durationMs } = options;
  const commit = commitName();
  print(`${seeds.length} seeds from ${seeds[0]}, commit ${commit}, ${jobCount} processes`);
  const line = progressLine();
  const totals = await runSeeds({ seeds, jobCount, durationMs, environment }, (progress) =>
    line.show(progress),
  );
  line.end();
  for (const text of totals.tables()) print(text);
  return verdictOf(totals, commit);
}

function progressLine(): ProgressLine {
  return new ProgressLine({
    nowMs: () => performance.now(),
    isTerminal: process.stdout.isTTY === true,
    write: (text) => void process.stdout.write(text),
  });
}

function verdictOf(totals: Totals, commit: string): number {
  const { failures } = totals;
  for (const failure of failures.slice(0, FAILURES_SHOWN_MAX))
    for (const text of ['', ...describeFailure(failure, commit)]) print(text);
  for (const failure of failures.slice(FAILURES_SHOWN_MAX))
    print(`seed ${failure.seed} FAILED: ${failure.problems[0]?.split('\n')[0]}`);
  const unreached = totals.unreached();
  if (unreached.length > 0) print(`\nnot reached: ${unreached.join(', ')}`);
  print(`\n${totals.seedCount} seeds, ${failures.length} failed`);
  if (failures.length > 0) return EXIT_FAILED;
  return unreached.length > 0 ? EXIT_UNREACHED : 0;
}

async function runCoverage(options: Options): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-sim-coverage-'));
  try {
    const code = await runMany(options, { NODE_V8_COVERAGE: directory });
    for (const text of coverageTable(coverageOf(directory))) print(text);
    return code;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function main(): Promise<number> {
  const options = readOptions();
  const { planFile, seed, durationMs, isShrinking } = options;
  if (planFile !== null) {
    const plan = JSON.parse(readFileSync(planFile, 'utf8')) as SimPlan;
    return runOne(plan, isShrinking);
  }
  if (seed !== null) return runOne(drawPlan(seed, durationMs), isShrinking);
  if (options.isNightly) {
    const line = progressLine();
    const commit = commitName();
    const totals = await runNightly({
      ...options,
      commit,
      store: STORE,
      onProgress: (progress) => line.show(progress),
      print,
    });
    line.end();
    return verdictOf(totals, commit);
  }
  return options.isCoverage ? runCoverage(options) : runMany(options);
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof TypeError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = EXIT_USAGE;
}
