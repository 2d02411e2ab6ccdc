/**
 * Runs one experiment, or a suite of them, on clusters of real processes or in the simulator.
 *
 *   npm run jepsen -- --workload register --nemesis kill,pause --seed 7 --nodes 5 --seconds 60
 *   npm run jepsen -- --workload bank --cluster sim --seed 7
 *   npm run jepsen -- --suite fast
 *   npm run jepsen -- --suite nightly --workload schema --sample 20   (after a mend)
 *   npm run jepsen -- --list
 *
 * Exit code 0: everything valid; 1: something invalid; 3: something unknown; 2: bad usage; 4: the
 * harness itself broke.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Verdict } from './checker/verdict.ts';
import { wordsOf } from './report/words-of-verdict.ts';
import {
  type ClusterMode,
  checkNames,
  EXPERIMENT_DEFAULTS,
  type Experiment,
  reproduceLine,
  SIM_NEMESIS,
} from './suite/experiment.ts';
import { REGISTRY } from './suite/registry.ts';
import { runExperiment, STORE_DIRECTORY } from './suite/run-experiment.ts';
import { runSuite } from './suite/run-suite.ts';
import { parseSuite, type RepeatChoice } from './suite/suite.ts';

const EXIT_CODES = { valid: 0, invalid: 1, unknown: 3 } as const;
const EXIT_USAGE = 2;
const EXIT_BROKEN = 4;
const CLUSTER_MODES: readonly ClusterMode[] = ['process', 'netns', 'sim'];

const [SECONDS, INTERVAL_SECONDS] = [
  EXPERIMENT_DEFAULTS.durationMs / 1_000,
  EXPERIMENT_DEFAULTS.faultIntervalMs / 1_000,
];

const HELP = `Breaks a real cluster while clients write and read, and judges what it kept.

  npm run jepsen -- --workload register --nemesis kill,pause --seed 7
  npm run jepsen -- --suite fast
  npm run jepsen -- --list                 all workloads and faults by name

  --workload NAME          what the clients do (register)
  --nemesis NAMES          what is broken, with commas between them, or none (kill)
  --seed N                 repeats operations and faults (drawn)
  --nodes N                (${EXPERIMENT_DEFAULTS.nodeCount})
  --workers N              clients (${EXPERIMENT_DEFAULTS.workerCount})
  --seconds S              how long (${SECONDS})
  --interval-seconds S     from one fault or healing to the next (${INTERVAL_SECONDS})
  --cluster MODE           ${CLUSTER_MODES.join(', ')} (${EXPERIMENT_DEFAULTS.cluster})
  --store DIRECTORY        where runs are kept (jepsen-lite/store)
  --prefill ROWS           rows beside the workload (0)
  --archive                the nodes archive and make backups; the store is judged
  --coverage judged|shown  whether too few operations make the run unknown (judged)
  --suite NAME|FILE        many experiments; with --runs N, --again, or with --workload,
                           --nemesis, --archive, --sample N: which of them are done again

Exit code 0: valid; 1: invalid; 3: unknown; 2: bad usage; 4: the harness itself broke.
jepsen-lite/README.md explains workloads, faults, verdicts and the page of a run.`;

const SUITES_DIRECTORY = join(import.meta.dirname, '..', '..', 'suites');

const print = (line: string): void => void process.stdout.write(`${line}\n`);

function readArguments() {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    options: {
      ...{ workload: text, nemesis: text, seed: text, nodes: text, seconds: text, cluster: text },
      ...{ workers: text, suite: text, runs: text, store: text, 'interval-seconds': text },
      ...{ coverage: text, prefill: text },
      list: { type: 'boolean' },
      again: { type: 'boolean' },
      archive: { type: 'boolean' },
      sample: text,
      help: { type: 'boolean' },
    },
  });
  return values;
}

type Arguments = ReturnType<typeof readArguments>;

function positive(name: string, given: string | undefined, fallback: number): number {
  const value = given === undefined ? fallback : Number(given);
  if (!(value > 0)) throw new TypeError(`--${name} must be a positive number, not '${given}'`);
  return value;
}

function experimentOf(values: Arguments): Experiment {
  const defaults = EXPERIMENT_DEFAULTS;
  const { cluster = defaults.cluster, workload = 'register' } = values;
  const { nemesis = cluster === 'sim' ? SIM_NEMESIS : 'kill' } = values;
  const { coverage = 'judged' } = values;
  if (coverage !== 'judged' && coverage !== 'shown') {
    throw new TypeError(`--coverage is judged or shown, not '${coverage}'`);
  }
  const mode = CLUSTER_MODES.find((known) => known === cluster);
  if (mode === undefined) throw new TypeError(`unknown cluster '${cluster}': ${CLUSTER_MODES}`);
  const experiment: Experiment = {
    workload,
    nemeses: nemesis === 'none' ? [] : nemesis.split(',').filter((name) => name !== ''),
    seed: positive('seed', values.seed, 1 + (Date.now() % 1_000_000)),
    nodeCount: positive('nodes', values.nodes, defaults.nodeCount),
    durationMs: 1_000 * positive('seconds', values.seconds, defaults.durationMs / 1_000),
    faultIntervalMs:
      1_000 *
      positive('interval-seconds', values['interval-seconds'], defaults.faultIntervalMs / 1_000),
    workerCount: positive('workers', values.workers, defaults.workerCount),
    cluster: mode,
    isCoverageJudged: coverage !== 'shown',
    prefillRowCount: values.prefill === undefined ? 0 : positive('prefill', values.prefill, 0),
    isArchiving: values.archive === true,
  };
  checkNames(experiment, REGISTRY);
  return experiment;
}

function printVerdicts(verdicts: Readonly<Record<string, Verdict>>): void {
  const width = Math.max(...Object.keys(verdicts).map((name) => name.length));
  for (const [name, verdict] of Object.entries(verdicts)) {
    print(`${name.padEnd(width)}  ${verdict.kind.padEnd(7)}  ${wordsOf(verdict)}`);
  }
}

async function runOne(values: Arguments): Promise<number> {
  const experiment = experimentOf(values);
  const storeDirectory = values.store ?? STORE_DIRECTORY;
  print(reproduceLine(experiment));
  const result = await runExperiment(experiment, {
    registry: REGISTRY,
    storeDirectory,
    log: print,
  });
  const { failCount, infoCount, okCount } = result.summary;
  print(`ok ${okCount}, fail ${failCount}, info ${infoCount}`);
  for (const line of result.windows) print(line);
  printVerdicts(result.verdicts);
  print(`${result.worst.kind}: ${join(result.directory, 'timeline.html')}`);
  return EXIT_CODES[result.worst.kind];
}

const namesIn = (list: string | undefined): readonly string[] =>
  (list ?? '').split(',').filter((name) => name !== '');

/** Beside --suite the flags of one experiment say which of its runs are done again. */
function repeatOf(values: Arguments): RepeatChoice | null {
  const { archive, nemesis, sample, workload } = values;
  const isAsked = [archive, nemesis, sample, workload].some((value) => value !== undefined);
  if (!isAsked) return null;
  return {
    ...{ workloads: namesIn(workload), nemeses: namesIn(nemesis), isArchiving: archive === true },
    sampleCount: sample === undefined ? 0 : positive('sample', sample, 0),
    seed: positive('seed', values.seed, 1),
  };
}

async function runNamedSuite(name: string, values: Arguments): Promise<number> {
  // One of the project by its name, or any file.
  const path = name.endsWith('.json') ? name : join(SUITES_DIRECTORY, `${name}.json`);
  const counts = await runSuite(parseSuite(readFileSync(path, 'utf8')), {
    registry: REGISTRY,
    storeDirectory: values.store ?? STORE_DIRECTORY,
    log: () => {},
    progress: print,
    isRepeatingBad: values.again === true,
    repeat: repeatOf(values),
    runCountMax: positive('runs', values.runs, Number.MAX_SAFE_INTEGER),
  });
  const { failed, invalid, missing, total, unknown, valid } = counts;
  print(
    `${total} runs: ${valid} valid, ${invalid} invalid, ${unknown} unknown, ${failed} broken, ` +
      `${missing} not run`,
  );
  if (invalid > 0) return EXIT_CODES.invalid;
  if (failed > 0) return EXIT_BROKEN;
  return unknown > 0 || missing > 0 ? EXIT_CODES.unknown : EXIT_CODES.valid;
}

async function main(): Promise<number> {
  const values = readArguments();
  if (values.help === true) {
    print(HELP);
    return 0;
  }
  if (values.list === true) {
    print(`workloads: ${Object.keys(REGISTRY.workloads).join(', ')}`);
    print(`nemeses: ${Object.keys(REGISTRY.nemeses).join(', ')}`);
    print(`nemesis of the simulator: ${SIM_NEMESIS}`);
    return 0;
  }
  return values.suite === undefined ? runOne(values) : runNamedSuite(values.suite, values);
}

async function exitCodeOf(run: () => Promise<number>): Promise<number> {
  try {
    return await run();
  } catch (thrown) {
    const isUsage = thrown instanceof TypeError;
    const words = isUsage
      ? `${thrown.message}\n--help names the options, --list the workloads and the faults`
      : ((thrown as Error).stack ?? thrown);
    process.stderr.write(`${words}\n`);
    return isUsage ? EXIT_USAGE : EXIT_BROKEN;
  }
}

// Not by an empty event loop: after faults of lines Node 20 was seen to spin for ever in its own
// clean-up, waiting for a socket that never closes.
process.exit(await exitCodeOf(main));
