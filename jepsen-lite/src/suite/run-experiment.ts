/**
 * Runs one experiment on a cluster of its own and keeps everything about it: the impure side of
 * `experiment.ts`. Data directories are kept only of a run that was not valid.
 */
import { basename, join } from 'node:path';
import { unreachable } from '@holdfast/base';
import type { Verdict } from '../checker/verdict.ts';
import { worstOf } from '../checker/verdict.ts';
import { launchNetnsCluster } from '../cluster/netns-cluster.ts';
import { ProcessCluster } from '../cluster/process-cluster.ts';
import { whyNotTogether } from '../nemesis/catalogue.ts';
import { lookAtMachine, planLaunch } from '../nemesis/needs.ts';
import type { Nemesis } from '../nemesis/nemesis.ts';
import { writeIndex, writeTimeline } from '../report/write-reports.ts';
import { type RunReport, run } from '../runner.ts';
import { commitName } from '../sim/commit-name.ts';
import { keepDataDirectories, keepLogs } from '../store/keep-evidence.ts';
import { type RunSummary, summarizeRun } from '../store/run-summary.ts';
import { followHistory, RunWriter } from '../store/run-writer.ts';
import { type Experiment, type Registry, reproduceLine } from './experiment.ts';

export interface ExperimentResult {
  /** Where everything about it is. */
  readonly directory: string;
  readonly verdicts: Readonly<Record<string, Verdict>>;
  readonly worst: Verdict;
  readonly summary: RunSummary;
}

export interface ExperimentTools {
  readonly registry: Registry;
  readonly storeDirectory: string;
  readonly log: (line: string) => void;
}

/** @throws Error when the harness broke: that is no verdict; the store has what there is */
export async function runExperiment(
  experiment: Experiment,
  { log, registry, storeDirectory }: ExperimentTools,
): Promise<ExperimentResult> {
  const { nodeCount, seed } = experiment;
  const workload = registry.workloads[experiment.workload]?.({ nodeCount, seed });
  if (workload === undefined) throw new TypeError(`unknown workload '${experiment.workload}'`);
  const nemeses = experiment.nemeses.map((name) => registry.nemeses[name]?.(seed) ?? unknown(name));
  const reason = whyNotTogether(nemeses);
  if (reason !== null) throw new TypeError(reason);
  const cluster = await launch(experiment, nemeses, log);
  try {
    const facts = factsOf(experiment, cluster, nemeses);
    const writer = await RunWriter.create(storeDirectory, facts);
    const report = await run({
      ...{ cluster, workload, nemeses, seed, log },
      durationMs: experiment.durationMs,
      faultIntervalMs: experiment.faultIntervalMs,
      workerCount: experiment.workerCount,
      follow: (source) => followHistory(writer, source),
    });
    const result = await judge(writer, report, cluster);
    await writeTimeline(storeDirectory, basename(writer.directory));
    await writeIndex(storeDirectory);
    return result;
  } catch (thrown) {
    log(cluster.describeLogs());
    throw thrown;
  } finally {
    await cluster.stop();
  }
}

async function judge(
  writer: RunWriter,
  { events, verdicts }: RunReport,
  cluster: ProcessCluster,
): Promise<ExperimentResult> {
  const summary = summarizeRun(events);
  const worst = worstOf(Object.values(verdicts));
  await writer.writeVerdicts({ verdicts, summary });
  await writer.close();
  await cluster.stopNodes();
  const { nodeNames } = cluster;
  const pathsOf = (path: (nodeName: string) => string) =>
    Object.fromEntries(nodeNames.map((nodeName) => [nodeName, path(nodeName)]));
  await keepLogs(
    writer.directory,
    pathsOf((nodeName) => cluster.logPathOf(nodeName)),
  );
  if (worst.kind !== 'valid') {
    const data = pathsOf((nodeName) => cluster.dataDirectoryOf(nodeName));
    await keepDataDirectories(writer.directory, data);
  }
  return { directory: writer.directory, verdicts, worst, summary };
}

/** What the machine cannot offer is said, and the faults that need it are skipped in the run. */
async function launch(
  experiment: Experiment,
  nemeses: readonly Nemesis[],
  log: ExperimentTools['log'],
): Promise<ProcessCluster> {
  const { nodeCount, seed, workload } = experiment;
  const needs = nemeses.map((nemesis) => nemesis.needs);
  const { missing, options } = planLaunch(needs, lookAtMachine());
  for (const reason of missing) log(reason);
  const common = { ...options, name: `jepsen-${workload}`, nodeCount, seed };
  switch (experiment.cluster) {
    case 'process':
      return ProcessCluster.launch(common);
    case 'netns':
      return launchNetnsCluster(common);
    default:
      return unreachable(experiment.cluster);
  }
}

function factsOf(experiment: Experiment, cluster: ProcessCluster, nemeses: readonly Nemesis[]) {
  const { durationMs, faultIntervalMs, seed, workerCount, workload } = experiment;
  return {
    formatVersion: 1 as const,
    ...{ workload, seed, workerCount, durationMs },
    nemeses: nemeses.map(({ colour, name }) => ({ name, colour })),
    nodeNames: [...cluster.nodeNames],
    cluster: experiment.cluster,
    commit: commitName(),
    startedAt: new Date().toISOString(),
    reproduceLine: reproduceLine(experiment),
    settings: { faultIntervalMs },
  };
}

function unknown(name: string): never {
  throw new TypeError(`unknown nemesis '${name}'`);
}

/** Beside the sources, whichever directory the command was started in. */
export const STORE_DIRECTORY: string = join(import.meta.dirname, '..', '..', '..', 'store');
