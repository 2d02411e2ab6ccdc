/** Keeps what was not valid as a run in the store, with logs, data directories and a page. */
import { basename } from 'node:path';
import type { Verdict } from '../checker/verdict.ts';
import type { ProcessCluster } from '../cluster/process-cluster.ts';
import type { HistoryEvent } from '../history.ts';
import { writeIndex, writeTimeline } from '../report/write-reports.ts';
import { commitName } from '../sim/commit-name.ts';
import { keepDataDirectories, keepLogs } from '../store/keep-evidence.ts';
import { summarizeRun } from '../store/run-summary.ts';
import { RunWriter } from '../store/run-writer.ts';
import { STORE_DIRECTORY } from '../suite/run-experiment.ts';

export interface Evidence {
  readonly row: string;
  readonly seed: number;
  /** Its nodes have ended. */
  readonly cluster: ProcessCluster;
  readonly events: readonly HistoryEvent[];
  readonly verdicts: Readonly<Record<string, Verdict>>;
}

/** Pages show clients in so many lanes. */
const LANE_COUNT = 16;

/** Returns the directory. */
export async function keepEvidence(evidence: Evidence): Promise<string> {
  const { cluster, events, row, seed, verdicts } = evidence;
  const nodeNames = [...cluster.nodeNames];
  const writer = await RunWriter.create(STORE_DIRECTORY, {
    ...{ formatVersion: 1, workload: `numbers-${row}`, nemeses: [{ name: row }], seed, nodeNames },
    ...{ cluster: 'process', workerCount: LANE_COUNT, durationMs: events.at(-1)?.timeMs ?? 0 },
    ...{ commit: commitName(), startedAt: new Date().toISOString(), settings: {} },
    reproduceLine: `npm run jepsen:numbers -- ${row} --seed ${seed}`,
  });
  await writer.append(events);
  await writer.writeVerdicts({ verdicts, summary: summarizeRun(events) });
  await writer.close();
  const pathsOf = (path: (nodeName: string) => string) =>
    Object.fromEntries(nodeNames.map((nodeName) => [nodeName, path(nodeName)]));
  await keepLogs(
    writer.directory,
    pathsOf((nodeName) => cluster.logPathOf(nodeName)),
  );
  await keepDataDirectories(
    writer.directory,
    pathsOf((nodeName) => cluster.dataDirectoryOf(nodeName)),
  );
  await writeTimeline(STORE_DIRECTORY, basename(writer.directory));
  await writeIndex(STORE_DIRECTORY);
  return writer.directory;
}
