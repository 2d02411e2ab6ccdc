/**
 * One experiment on the simulator, kept in the store like any other. Instead of logs and data
 * directories it keeps the plan and the last events: with the seed everything comes back.
 */
import { mkdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { judgeAvailability } from '../checker/availability.ts';
import { worstOf } from '../checker/verdict.ts';
import { describeRun } from '../report/describe-run.ts';
import { writeIndex, writeTimeline } from '../report/write-reports.ts';
import { summarizeRun } from '../store/run-summary.ts';
import { followHistory, RunWriter, writeWhole } from '../store/run-writer.ts';
import { checkNames, type Experiment, reproduceLine } from '../suite/experiment.ts';
import type { ExperimentResult, ExperimentTools } from '../suite/run-experiment.ts';
import { commitName } from './commit-name.ts';
import type { SimPlan } from './plan.ts';
import { describePlan } from './report.ts';
import { judgeWorkloadCoverage } from './workload-coverage.ts';
import { workloadPlan } from './workload-plan.ts';
import { runWorkload, type WorkloadReport } from './workload-run.ts';

/** Waits are shown, not judged: a plan may take every majority away for as long as it likes. */
const NO_LIMITS = { writeGapMsMax: Infinity, recoveryMsMax: Infinity };

/**
 * @throws TypeError when the simulator cannot do what the experiment asks for; Error when the
 * harness broke: that is no verdict; the store has what there is
 */
export async function runSimExperiment(
  experiment: Experiment,
  { log, registry, storeDirectory }: ExperimentTools,
): Promise<ExperimentResult> {
  checkNames(experiment, registry);
  const { durationMs, nodeCount, seed, workerCount } = experiment;
  const workload = registry.workloads[experiment.workload]?.({ nodeCount, seed });
  if (workload === undefined) throw new TypeError(`unknown workload '${experiment.workload}'`);
  const hasFaults = experiment.nemeses.length > 0;
  const plan = workloadPlan({ seed, nodeCount, durationMs, hasFaults });
  const writer = await RunWriter.create(storeDirectory, factsOf(experiment));
  try {
    const report = await runWorkload({
      ...{ workload, plan, workerCount },
      follow: (source) => followHistory(writer, source),
    });
    log(`${Math.round(report.simulatedMs)} simulated ms, trace ${report.traceHash}`);
    await keepTrace(writer.directory, plan, report);
    return await judge(writer, report, experiment);
  } catch (thrown) {
    await writer.close();
    throw thrown;
  } finally {
    await writeTimeline(storeDirectory, basename(writer.directory));
    await writeIndex(storeDirectory);
  }
}

async function judge(
  writer: RunWriter,
  { events, verdicts: found }: WorkloadReport,
  { isCoverageJudged }: Experiment,
): Promise<ExperimentResult> {
  const verdicts = {
    ...found,
    ...(isCoverageJudged ? { coverage: judgeWorkloadCoverage(events) } : {}),
    availability: judgeAvailability(events, NO_LIMITS),
  };
  const summary = summarizeRun(events);
  await writer.writeVerdicts({ verdicts, summary });
  await writer.close();
  return {
    ...{ directory: writer.directory, verdicts, summary },
    worst: worstOf(Object.values(verdicts)),
    windows: describeRun(events),
    failpoints: [],
  };
}

async function keepTrace(
  directory: string,
  plan: SimPlan,
  { lastEvents, traceHash }: WorkloadReport,
): Promise<void> {
  await mkdir(join(directory, 'logs'));
  const lines = [`trace ${traceHash}`, ...describePlan(plan), 'last events:', ...lastEvents];
  await writeWhole(join(directory, 'logs', 'simulator.log'), `${lines.join('\n')}\n`);
}

function factsOf(experiment: Experiment) {
  const { durationMs, nemeses, nodeCount, seed, workerCount, workload } = experiment;
  return {
    formatVersion: 1 as const,
    ...{ workload, seed, workerCount, durationMs },
    nemeses: nemeses.map((name) => ({ name })),
    nodeNames: Array.from({ length: nodeCount }, (_unused, i) => `n${i + 1}`),
    cluster: experiment.cluster,
    commit: commitName(),
    startedAt: new Date().toISOString(),
    reproduceLine: reproduceLine(experiment),
    settings: {},
  };
}
