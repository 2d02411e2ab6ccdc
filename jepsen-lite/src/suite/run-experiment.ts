/**
 * Runs one experiment on a cluster of its own and keeps everything about it: the impure side of
 * `experiment.ts`. Data directories are kept only of a run that was not valid.
 */
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { unreachable } from '@holdfast/base';
import { ARCHIVE_SETTINGS, type ArchiveOutcome, ArchiveWatch } from '../archive/archive-watch.ts';
import type { NodeLog } from '../checker/node-logs.ts';
import type { Verdict } from '../checker/verdict.ts';
import { worstOf } from '../checker/verdict.ts';
import { launchNetnsCluster } from '../cluster/netns-cluster.ts';
import { ProcessCluster } from '../cluster/process-cluster.ts';
import { makeScratchDirectory, removeScratchDirectory } from '../cluster/scratch-directory.ts';
import type { ServerSettings } from '../cluster/server-command.ts';
import { whyNotTogether } from '../nemesis/catalogue.ts';
import { lookAtMachine, planLaunch } from '../nemesis/needs.ts';
import type { Nemesis } from '../nemesis/nemesis.ts';
import { describeRun } from '../report/describe-run.ts';
import { writeIndex, writeTimeline } from '../report/write-reports.ts';
import { type RunReport, run } from '../runner.ts';
import { commitName } from '../sim/commit-name.ts';
import { runSimExperiment } from '../sim/sim-experiment.ts';
import { keepDataDirectories, keepLogs } from '../store/keep-evidence.ts';
import { type RunSummary, summarizeRun } from '../store/run-summary.ts';
import { followHistory, RunWriter } from '../store/run-writer.ts';
import { type Experiment, type Registry, reproduceLine } from './experiment.ts';
import { judgeRun } from './judge-run.ts';
import { prefill } from './prefill.ts';

export interface ExperimentResult {
  /** Where everything about it is. */
  readonly directory: string;
  readonly verdicts: Readonly<Record<string, Verdict>>;
  readonly worst: Verdict;
  readonly summary: RunSummary;
  /** For people: the longest write gap, and what ran while all was well and during each fault. */
  readonly windows: readonly string[];
  /** Places of the product at which a test may end it, as far as a node got to them. */
  readonly failpoints: readonly string[];
}

/**
 * Two lanes, so that shards of one collection are on different threads, whatever the machine has:
 * with one lane no batch is ever decided, and no read put together, over several. And everything
 * that goes by size or time small, so that a run of a minute sees logs end, checkpoints, snapshots
 * for who fell behind, and comparisons of digests. Faults may ask for other values.
 */
const RUN_SETTINGS: ServerSettings = {
  laneCount: 2,
  walFileSizeBytes: 1 << 20,
  checkpointIntervalMs: 5_000,
  checkpointLogSizeBytes: 4 << 20,
  logRetentionEntryCount: 200,
  logRetentionSizeBytesMax: 1 << 20,
  followerLogHoldSizeBytesMax: 1 << 20,
  digestVerifyIntervalMs: 5_000,
  // Shorter than a run: a breaker that stays open to its end shows nothing of its closing.
  walCircuitBreakerTimeoutMs: 2_000,
};

export interface ExperimentTools {
  readonly registry: Registry;
  readonly storeDirectory: string;
  readonly log: (line: string) => void;
}

/** @throws Error when the harness broke: that is no verdict; the store has what there is */
export async function runExperiment(
  experiment: Experiment,
  tools: ExperimentTools,
): Promise<ExperimentResult> {
  if (experiment.cluster === 'sim') return runSimExperiment(experiment, tools);
  const { log, registry, storeDirectory } = tools;
  const { nodeCount, seed } = experiment;
  const workload = registry.workloads[experiment.workload]?.({ nodeCount, seed });
  if (workload === undefined) throw new TypeError(`unknown workload '${experiment.workload}'`);
  const nemeses = experiment.nemeses.map((name) => registry.nemeses[name]?.(seed) ?? unknown(name));
  const reason = whyNotTogether(nemeses);
  if (reason !== null) throw new TypeError(reason);
  const cluster = await launch(experiment, nemeses, log);
  const archive = watchArchive(cluster, nemeses);
  try {
    const writer = await RunWriter.create(storeDirectory, factsOf(experiment, cluster, nemeses));
    try {
      await prefill(cluster, experiment.prefillRowCount);
      const report = await run({
        ...{ cluster, workload, nemeses, seed, log },
        durationMs: experiment.durationMs,
        faultIntervalMs: experiment.faultIntervalMs,
        workerCount: experiment.workerCount,
        follow: (source) => followHistory(writer, source),
      });
      const archived = (await archive?.finish()) ?? null;
      return await judge(writer, report, { archived, cluster, experiment });
    } catch (thrown) {
      log(cluster.describeLogs());
      // What broke the harness is the news; that less of it could be kept is a line beside it.
      await keepBroken(writer, cluster).catch((why: unknown) => log(`not all was kept: ${why}`));
      throw thrown;
    } finally {
      await writeTimeline(storeDirectory, basename(writer.directory));
      await writeIndex(storeDirectory);
    }
  } finally {
    await archive?.stop();
    await cluster.stop();
    if (cluster.storeDirectory !== null) removeScratchDirectory(cluster.storeDirectory);
  }
}

function watchArchive(cluster: ProcessCluster, nemeses: readonly Nemesis[]): ArchiveWatch | null {
  if (cluster.storeDirectory === null) return null;
  const isGapAllowed = nemeses.some(({ needs }) => needs.hasStore === true);
  return new ArchiveWatch({ cluster, isGapAllowed });
}

interface Judged {
  /** Null: the run does not archive. */
  readonly archived: ArchiveOutcome | null;
  readonly experiment: Experiment;
  readonly cluster: ProcessCluster;
}

async function judge(
  writer: RunWriter,
  report: RunReport,
  { archived, cluster, experiment }: Judged,
): Promise<ExperimentResult> {
  const { events, samples } = report;
  const { isCoverageJudged } = experiment;
  await cluster.stopNodes();
  await keepLogs(writer.directory, pathsOf(cluster, 'log'));
  const logs = await readLogs(cluster);
  const verdicts = {
    ...report.verdicts,
    ...(archived === null ? {} : { archive: archived.verdict }),
    ...judgeRun({ events, samples, logs, isCoverageJudged }),
  };
  const summary = summarizeRun(events);
  const worst = worstOf(Object.values(verdicts));
  await writer.writeSeries(samples.series);
  await writer.writeVerdicts({ verdicts, summary });
  await writer.close();
  if (worst.kind !== 'valid') {
    const store = cluster.storeDirectory === null ? {} : { store: cluster.storeDirectory };
    await keepDataDirectories(writer.directory, { ...pathsOf(cluster, 'data'), ...store });
  }
  const windows = describeRun(events);
  const seen = [...cluster.failpointsSeen(), ...(archived?.failpoints ?? [])];
  const failpoints = [...new Set(seen)].sort();
  return { directory: writer.directory, verdicts, worst, summary, windows, failpoints };
}

/** A harness that broke leaves what there is; the run is shown as not ended. */
async function keepBroken(writer: RunWriter, cluster: ProcessCluster): Promise<void> {
  await cluster.stopNodes();
  await writer.close();
  await keepLogs(writer.directory, pathsOf(cluster, 'log'));
  await keepDataDirectories(writer.directory, pathsOf(cluster, 'data'));
}

const pathsOf = (cluster: ProcessCluster, what: 'log' | 'data'): Record<string, string> =>
  Object.fromEntries(
    cluster.nodeNames.map((nodeName) => [
      nodeName,
      what === 'log' ? cluster.logPathOf(nodeName) : cluster.dataDirectoryOf(nodeName),
    ]),
  );

const readLogs = (cluster: ProcessCluster): Promise<readonly NodeLog[]> =>
  Promise.all(
    cluster.nodeNames.map(async (nodeName) => {
      const text = await readFile(cluster.logPathOf(nodeName), 'utf8');
      return { nodeName, lines: text.split('\n') };
    }),
  );

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
  const { isArchiving } = experiment;
  const archive = isArchiving ? ARCHIVE_SETTINGS : {};
  const settings = { ...RUN_SETTINGS, ...archive, ...options.settings };
  const store = isArchiving ? { storeDirectory: makeScratchDirectory('jepsen-store') } : {};
  const name = `jepsen-${workload}`;
  const common = {
    ...options,
    ...store,
    settings,
    name,
    nodeCount,
    seed,
    isNotingFailpoints: true,
  };
  switch (experiment.cluster) {
    case 'process':
      return ProcessCluster.launch(common);
    case 'netns':
      return launchNetnsCluster(common);
    case 'sim':
      throw new TypeError('the simulator has no processes to launch');
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
