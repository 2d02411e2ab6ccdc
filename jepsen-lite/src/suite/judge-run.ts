/**
 * The verdicts about a run as a whole, beside that of its workload: whether it showed anything, how
 * long clients waited, whether nodes contradicted themselves, what they cost and what they logged.
 * Pure.
 */
import { judgeAvailability } from '../checker/availability.ts';
import { judgeCoverage } from '../checker/coverage.ts';
import { judgeInvariants } from '../checker/invariants.ts';
import { judgeLogs, type NodeLog } from '../checker/node-logs.ts';
import { judgeResources } from '../checker/resources.ts';
import type { Verdict } from '../checker/verdict.ts';
import type { HistoryEvent } from '../history.ts';
import { SQUEEZES } from '../nemesis/squeeze.ts';
import type { Samples } from '../sampler.ts';

/**
 * After everything was healed; twice the longest pause between two attempts of a node to come back,
 * and what a start takes on a machine that has other things to do.
 */
const RECOVERY_MS_MAX = 20_000;

const MEMORY_SQUEEZES: ReadonlySet<string> = new Set(
  SQUEEZES.filter((action) => action.startsWith('memory-')),
);

export interface RunEvidence {
  readonly events: readonly HistoryEvent[];
  readonly samples: Samples;
  readonly logs: readonly NodeLog[];
  /** False: too short for that; the windows are shown and not judged, and samples may be few. */
  readonly isCoverageJudged: boolean;
}

export function judgeRun(evidence: RunEvidence): Readonly<Record<string, Verdict>> {
  const { events, isCoverageJudged, logs, samples } = evidence;
  const limits = { writeGapMsMax: Infinity, recoveryMsMax: RECOVERY_MS_MAX };
  const resources = judgeResources(samples.series);
  const starved = starvedNodes(events);
  return {
    ...(isCoverageJudged ? { coverage: judgeCoverage(events) } : {}),
    availability: judgeAvailability(events, limits),
    invariants: judgeInvariants(samples.statuses),
    ...(isCoverageJudged || resources.kind !== 'unknown' ? { resources } : {}),
    'node-logs': judgeLogs(logs.map((log) => ({ ...log, isStarved: starved.has(log.nodeName) }))),
  };
}

/** Those that had too little memory at some time. */
function starvedNodes(events: readonly HistoryEvent[]): ReadonlySet<string> {
  const names = events.flatMap((event) =>
    event.kind === 'fault' && MEMORY_SQUEEZES.has(event.action) ? event.targets : [],
  );
  return new Set(names);
}
