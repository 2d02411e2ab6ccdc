/**
 * Suites are data: which workloads run under which faults, and how long. A suite gives the same
 * experiments in the same order, so a run that was cut off goes on where it was. Pure.
 */
import { deriveSeed, SeededRandom } from '@holdfast/base';
import { type ClusterMode, EXPERIMENT_DEFAULTS, type Experiment } from './experiment.ts';

/** Every workload of a block under every set of faults of it. */
export interface SuiteBlock {
  readonly workloads: readonly string[];
  /** Each run has the faults of one of these; `[]` is a run without. */
  readonly nemeses: readonly (readonly string[])[];
  /** Times each is run, with other seeds. Default 1. */
  readonly repeat?: number;
  readonly seconds?: number;
  /** Longer where all nodes may be down: starting again takes part of the time until the next. */
  readonly faultIntervalSeconds?: number;
  /** Default 'process'. */
  readonly cluster?: ClusterMode;
  /** Default 0. */
  readonly prefillRowCount?: number;
  /** Default false. */
  readonly archive?: boolean;
}

export interface Suite {
  readonly name: string;
  readonly seed: number;
  readonly nodeCount: number;
  readonly seconds: number;
  readonly faultIntervalSeconds: number;
  /** 'shown' for runs that are too short to be judged by it. Default 'judged'. */
  readonly coverage?: 'judged' | 'shown';
  readonly blocks: readonly SuiteBlock[];
}

/** With seeds of their own, derived from what they are: another block more changes none of them. */
export function experimentsOf(suite: Suite): readonly Experiment[] {
  const experiments: Experiment[] = [];
  const seen = new Set<string>();
  for (const block of suite.blocks) {
    for (let round = 1; round <= (block.repeat ?? 1); round++) {
      for (const workload of block.workloads) {
        for (const nemeses of block.nemeses) {
          const { cluster = EXPERIMENT_DEFAULTS.cluster } = block;
          const where = cluster === EXPERIMENT_DEFAULTS.cluster ? '' : ` in ${cluster}`;
          const isArchiving = block.archive ?? EXPERIMENT_DEFAULTS.isArchiving;
          const how = isArchiving ? ', archived' : '';
          const name = `${workload} ${nemeses.join('+')} ${round}${where}${how}`;
          if (seen.has(name)) throw new TypeError(`suite ${suite.name} has '${name}' twice`);
          seen.add(name);
          experiments.push({
            ...EXPERIMENT_DEFAULTS,
            ...{ workload, nemeses, nodeCount: suite.nodeCount },
            seed: deriveSeed(suite.seed, name) % 1_000_000,
            durationMs: (block.seconds ?? suite.seconds) * 1_000,
            faultIntervalMs: (block.faultIntervalSeconds ?? suite.faultIntervalSeconds) * 1_000,
            ...{ cluster, isArchiving },
            prefillRowCount: block.prefillRowCount ?? EXPERIMENT_DEFAULTS.prefillRowCount,
            isCoverageJudged: suite.coverage !== 'shown',
          });
        }
      }
    }
  }
  return experiments;
}

/** What a run of a suite is known by, whatever the commit. */
export function keyOf(experiment: Experiment): string {
  const { durationMs, isArchiving, nemeses, nodeCount, seed, workload } = experiment;
  const archive = isArchiving ? '|archive' : '';
  return `${workload}|${nemeses.join('+')}|${seed}|${nodeCount}|${durationMs}${archive}`;
}

/** Which runs are to be done again, whatever came of them. */
export interface RepeatChoice {
  readonly workloads: readonly string[];
  readonly nemeses: readonly string[];
  /** All that archive. */
  readonly isArchiving: boolean;
  /** So many of the others, drawn by the seed. */
  readonly sampleCount: number;
  readonly seed: number;
}

/** Pure. In the order of the suite. */
export function chooseRuns(
  experiments: readonly Experiment[],
  choice: RepeatChoice,
): readonly Experiment[] {
  const isTouched = ({ isArchiving, nemeses, workload }: Experiment): boolean =>
    choice.workloads.includes(workload) ||
    nemeses.some((name) => choice.nemeses.includes(name)) ||
    (choice.isArchiving && isArchiving);
  const random = new SeededRandom(choice.seed);
  const others = experiments.filter((one) => !isTouched(one));
  const drawn = new Set<Experiment>();
  while (drawn.size < Math.min(choice.sampleCount, others.length)) {
    const one = others[random.nextBelow(others.length)];
    if (one !== undefined) drawn.add(one);
  }
  return experiments.filter((one) => isTouched(one) || drawn.has(one));
}

/** @throws TypeError when the text is no suite */
export function parseSuite(text: string): Suite {
  const value = JSON.parse(text) as Partial<Suite>;
  const { blocks, faultIntervalSeconds, name, nodeCount, seconds, seed } = value;
  const numbers = [seed, nodeCount, seconds, faultIntervalSeconds];
  const areNumbers = numbers.every((one) => typeof one === 'number' && one > 0);
  if (typeof name !== 'string' || !areNumbers || !Array.isArray(blocks))
    throw new TypeError('a suite has name, seed, nodeCount, seconds, faultIntervalSeconds, blocks');
  return value as Suite;
}
