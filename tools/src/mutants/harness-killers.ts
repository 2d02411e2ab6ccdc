/**
 * What may catch a planted bug of the harness, and what counts as catching it: a checker of
 * jepsen-lite that says from what clients and nodes answered that a promise was broken, or an
 * invariant or checker of the simulator. A node that stops, a failed assertion in its log, a
 * cluster that is slow or does not come back, a harness that breaks: none of that is a catch,
 * however clearly something is wrong. There the product noticed the bug, and not the harness.
 */
import type { Killer } from './killers.ts';
import type { PlantedBug } from './mutant.ts';
import type { KillerRun } from './run-killer.ts';

/** One experiment on real processes, on loopback. */
export interface ClusterKiller {
  readonly kind: 'cluster';
  readonly workload: string;
  /** Names with commas between them, or `none`. */
  readonly nemesis: string;
  readonly nodeCount: 3 | 5;
  readonly seconds: number;
  /** From one fault or healing to the next. */
  readonly intervalSeconds: number;
  /** The timing of the machine does not repeat: later tries take the next ones. */
  readonly seed: number;
}

/** Simulated clusters under every fault: one workload, which is older than these mutants. */
export interface SimulatorKiller {
  readonly kind: 'simulator';
  readonly firstSeed: number;
  readonly seedCount: number;
}

export type HarnessKiller = ClusterKiller | SimulatorKiller;

export interface HarnessMutant extends PlantedBug {
  /** What clients were promised and do not get. */
  readonly breaks: string;
  readonly killer: HarnessKiller;
}

export type Judgement =
  | {
      readonly kind: 'caught';
      /** Who said invalid, and why. */
      readonly checker: string;
      readonly reason: string;
      readonly seed: number | null;
    }
  | {
      readonly kind: 'missed';
      readonly reason: string;
      /** Everything was looked at and nothing found; false: it showed nothing. */
      readonly isValid: boolean;
    };

const CLUSTER_FILE = 'jepsen-lite/dist/src/cli.js';
const SIMULATOR_FILE = 'jepsen-lite/dist/src/sim/cli.js';
/** Seeds of the simulator side by side. */
const SIMULATOR_JOB_COUNT = 2;
/** As the command line of jepsen-lite documents them. */
const EXIT_INVALID = 1;
const EXIT_UNKNOWN = 3;
const REASON_LENGTH_MAX = 160;

/** Checkers of how a run went. What they find is no broken promise about data. */
const NO_PROOFS: ReadonlySet<string> = new Set(['availability', 'resources', 'node-logs']);

/**
 * A problem of a simulated run that is no finding of a checker: a node or a client that ended by
 * itself, or something that did not happen in time.
 */
const STOPS = /stopped by itself|does not start any more|did not happen:|a client died|the process/;

/** As a list: what there is to vary between two tries is the seed alone. */
export function killerAt(killer: HarnessKiller, attempt: number, storeDirectory: string): Killer {
  if (killer.kind === 'simulator') {
    const seeds = ['--seeds', `${killer.seedCount}`, '--first-seed', `${killer.firstSeed}`];
    return {
      file: SIMULATOR_FILE,
      arguments: [...seeds, '--jobs', `${SIMULATOR_JOB_COUNT}`],
      isSeeded: true,
    };
  }
  const { intervalSeconds, nemesis, nodeCount, seconds, seed, workload } = killer;
  return {
    file: CLUSTER_FILE,
    arguments: [
      ...['--workload', workload, '--nemesis', nemesis, '--nodes', `${nodeCount}`],
      ...['--seconds', `${seconds}`, '--interval-seconds', `${intervalSeconds}`],
      ...['--seed', `${seed + attempt}`, '--store', storeDirectory],
      // Too short to prove the absence of bugs; this is about the presence of one.
      ...['--coverage', 'shown'],
    ],
    isSeeded: false,
  };
}

export function describeKiller(killer: HarnessKiller): string {
  if (killer.kind === 'simulator') return 'simulator x every fault';
  return `${killer.workload} x ${killer.nemesis}`;
}

export function judge(killer: HarnessKiller, run: KillerRun, attempt: number): Judgement {
  if (run.outcome === 'hung') return missed(run.detail);
  if (run.outcome === 'passed') {
    return { kind: 'missed', reason: 'everything was valid', isValid: true };
  }
  return killer.kind === 'cluster' ? judgeCluster(run, killer.seed + attempt) : judgeSimulator(run);
}

/** Its checkers are printed one a line: name, verdict, and why. */
function judgeCluster({ exitCode, output }: KillerRun, seed: number): Judgement {
  if (exitCode !== EXIT_INVALID && exitCode !== EXIT_UNKNOWN) {
    return missed(`the harness ended with ${exitCode}: ${lastLineOf(output)}`);
  }
  const lines = [...output.matchAll(/^(\S+) +(invalid|unknown) +(\S.*)$/gm)];
  for (const [, checker = '', verdict, reason = ''] of lines) {
    if (verdict !== 'invalid' || NO_PROOFS.has(checker)) continue;
    return { kind: 'caught', checker, reason: shortened(reason), seed };
  }
  return missed(lines[0]?.[0].replaceAll(/ +/g, ' ') ?? lastLineOf(output));
}

/** `seed 7 FAILED at commit c`, then a problem a line, with two spaces before it. */
function judgeSimulator({ exitCode, output }: KillerRun): Judgement {
  let firstStop: string | null = null;
  for (const [, seed, problems = ''] of output.matchAll(
    /^seed (\d+) FAILED at .*\n((?: {2}\S.*\n)*)/gm,
  )) {
    for (const problem of problems.split('\n').map((line) => line.trim())) {
      if (problem === '' || problem === 'last events:' || problem.startsWith('replay:')) continue;
      if (STOPS.test(problem)) firstStop ??= problem;
      else {
        // What follows the sentence are facts of the seed, for whoever runs it again.
        const reason = shortened(problem.replace(/ [{[].*$/, ''));
        return { kind: 'caught', checker: 'simulator', reason, seed: Number(seed) };
      }
    }
  }
  return missed(firstStop ?? `the simulator ended with ${exitCode}: ${lastLineOf(output)}`);
}

const missed = (reason: string): Judgement => ({
  ...{ kind: 'missed', reason: shortened(reason), isValid: false },
});

const lastLineOf = (output: string): string => output.trim().split('\n').at(-1) ?? '';

const shortened = (text: string): string =>
  text.length <= REASON_LENGTH_MAX ? text : `${text.slice(0, REASON_LENGTH_MAX - 3)}...`;
