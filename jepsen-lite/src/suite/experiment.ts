/**
 * One run from its description: a fresh cluster, the workload, the faults, the verdicts, and
 * everything about it in a directory of the store. What a description means is the same whoever
 * asks for it: the command line, a suite, the hunt for planted bugs.
 */
import type { Nemesis } from '../nemesis/nemesis.ts';
import { SIM_WORKER_COUNT_MAX } from '../sim/workload-plan.ts';
import type { Workload, WorkloadOptions } from '../workload/workload.ts';

/** Real processes on loopback or in network namespaces, or the simulator. */
export type ClusterMode = 'process' | 'netns' | 'sim';

/** What the simulator draws from its seed: faults of all kinds, at any time, several at once. */
export const SIM_NEMESIS = 'plan';

export interface Experiment {
  readonly workload: string;
  /** Names, in the order of their colours; empty: a run without faults. */
  readonly nemeses: readonly string[];
  readonly seed: number;
  readonly nodeCount: number;
  readonly durationMs: number;
  readonly faultIntervalMs: number;
  readonly workerCount: number;
  readonly cluster: ClusterMode;
  /** False for runs that are too short for it: their windows are shown, not judged. */
  readonly isCoverageJudged: boolean;
  /** Rows beside the workload, loaded before it: over 65,536 there are segments and graphs. */
  readonly prefillRowCount: number;
  /** Nodes archive their log and make backups meanwhile; what the store holds is judged. */
  readonly isArchiving: boolean;
}

export const EXPERIMENT_DEFAULTS = {
  nodeCount: 5,
  durationMs: 60_000,
  faultIntervalMs: 5_000,
  workerCount: 12,
  cluster: 'process',
  isCoverageJudged: true,
  prefillRowCount: 0,
  isArchiving: false,
} as const satisfies Partial<Experiment>;

/** What can be asked for by name. */
export interface Registry {
  readonly workloads: Readonly<Record<string, (options: WorkloadOptions) => Workload>>;
  readonly nemeses: Readonly<Record<string, (seed: number) => Nemesis>>;
}

/** The one line that does it again. */
export function reproduceLine(experiment: Experiment): string {
  const { cluster, durationMs, faultIntervalMs, nemeses, nodeCount } = experiment;
  const { seed, workerCount, workload } = experiment;
  const prefill = experiment.prefillRowCount > 0 ? ` --prefill ${experiment.prefillRowCount}` : '';
  const archive = experiment.isArchiving ? ' --archive' : '';
  const coverage = experiment.isCoverageJudged ? '' : ' --coverage shown';
  return [
    `npm run jepsen -- --workload ${workload} --nemesis ${nemeses.join(',') || 'none'}`,
    `--seed ${seed} --nodes ${nodeCount} --seconds ${durationMs / 1_000}`,
    `--interval-seconds ${faultIntervalMs / 1_000} --workers ${workerCount}`,
    `--cluster ${cluster}${prefill}${archive}${coverage}`,
  ].join(' ');
}

/** @throws TypeError naming what there is, when a name is not known */
export function checkNames(experiment: Experiment, registry: Registry): void {
  checkName('workload', experiment.workload, Object.keys(registry.workloads));
  if (experiment.cluster === 'sim') {
    checkSimulated(experiment);
    return;
  }
  for (const name of experiment.nemeses) checkName('nemesis', name, Object.keys(registry.nemeses));
}

function checkSimulated(experiment: Experiment): void {
  const { isArchiving, nemeses, prefillRowCount, workerCount } = experiment;
  const isPlan = nemeses.length === 1 && nemeses[0] === SIM_NEMESIS;
  if (nemeses.length > 0 && !isPlan) {
    throw new TypeError(
      `the simulator has faults of its own, drawn from the seed: --nemesis is '${SIM_NEMESIS}' ` +
        `or 'none' there, not '${nemeses.join(',')}'`,
    );
  }
  if (workerCount > SIM_WORKER_COUNT_MAX) {
    throw new TypeError(`the simulator has room for ${SIM_WORKER_COUNT_MAX} workers at most`);
  }
  if (prefillRowCount > 0) {
    throw new TypeError('the simulator takes no --prefill: it seals segments after few rows');
  }
  if (isArchiving) {
    throw new TypeError(
      'the simulator takes no --archive: its plans draw whether there is a store',
    );
  }
}

function checkName(what: string, name: string, known: readonly string[]): void {
  if (known.includes(name)) return;
  throw new TypeError(`unknown ${what} '${name}'; there are: ${known.join(', ')}`);
}
