/**
 * The disaster drill: a cluster under writes makes a full backup, one node is taken out in order
 * and comes back, and then all nodes and all disks are lost in one moment. It is rebuilt from the
 * store through the command line, and judged by what its writers were told.
 *
 * Promised: every write acknowledged up to the restored index is there, nothing else is, all nodes
 * hold the same state, and what is lost is younger than a second.
 */
import { expectEqualDigests } from '../cluster/agreement.ts';
import type { NodeDigest } from '../cluster/cluster.ts';
import type { ProcessCluster } from '../cluster/process-cluster.ts';
import { pause, waitFor } from '../wait.ts';
import { clusterIdOf } from './archived.ts';
import { type DrainReport, drainLeader } from './drain.ts';
import { DRILL_COLLECTION, DrillWriter, drillVector } from './drill-writer.ts';
import { holdfast } from './holdfast-command.ts';
import { judgeRestored, type RestoreVerdict } from './judge-restored.ts';
import { keepSecret, loseEverything, rebuild } from './rebuild.ts';
import { readRestoredRows } from './restored-rows.ts';
import { withClient } from './with-client.ts';

export interface DrillOptions {
  /** Archives into `store`. */
  readonly cluster: ProcessCluster;
  readonly store: string;
  readonly seed: number;
  readonly workerCount: number;
  /** Writing before the backup, and after it until the loss. */
  readonly writeMs: number;
  readonly onProgress: (line: string) => void;
}

export interface DrillPhase {
  readonly name: string;
  readonly tookMs: number;
}

export interface DrillReport {
  readonly drain: DrainReport;
  readonly verdict: RestoreVerdict;
  /** From the loss to the first acknowledged write, in order. */
  readonly phases: readonly DrillPhase[];
  readonly rtoMs: number;
  readonly restoredIndex: number;
  readonly digests: readonly NodeDigest[];
  readonly isGood: boolean;
}

/** More than this is no seconds-old archive any more. */
export const RPO_MS_MAX = 1_000;
const READY_TIMEOUT_MS = 60_000;
/** Written after the rebuild; no worker has it. */
const PROBE_ID = 0;

export async function runDrill(options: DrillOptions): Promise<DrillReport> {
  const { cluster, onProgress, store, writeMs } = options;
  const clusterId = clusterIdOf(cluster);
  const secretPath = keepSecret(cluster);
  const writer = await DrillWriter.start(cluster.addresses, options);
  onProgress(`cluster ${clusterId} takes writes and archives into ${store}`);
  await writeFor(writer, writeMs, onProgress);
  onProgress('full backup under writes');
  const made = await holdfast('backup', 'create', '--full', '--nodes', cluster.addressOf('n1'));
  onProgress(made.trim().replaceAll(/\s+/g, ' '));
  const drain = await drainLeader(cluster, writer);
  onProgress(`${drain.nodeName} was taken out and is back, its state equal to the others'`);
  await writeFor(writer, writeMs, onProgress);
  refuseFailures(writer);

  const phases = new Phases();
  const lostAtMs = phases.startMs;
  await loseEverything(cluster);
  phases.end('all nodes killed, all data directories deleted');
  onProgress('all nodes are killed, all data directories are deleted; rebuilding');
  const stories = await writer.end();
  phases.end('writers stopped');
  const rebuilt = await rebuild({
    ...{ cluster, store, secretPath, target: ['--cluster', clusterId] },
    onPhase: (phase) => {
      phases.end(PHASE_NAMES[phase]);
      onProgress(PHASE_NAMES[phase]);
    },
  });
  await firstWrite(cluster);
  phases.end('first acknowledged write');
  onProgress('the new cluster takes writes; comparing');
  const digests = await expectEqualDigests(cluster);
  const rows = (await readRestoredRows(cluster)).filter(({ id }) => id !== PROBE_ID);
  const verdict = judgeRestored(stories, rows, { index: rebuilt.index, lostAtMs });
  const isGood = verdict.wrong.length === 0 && verdict.oldestLostAgeMs < RPO_MS_MAX;
  const { list, totalMs: rtoMs } = phases;
  const restoredIndex = rebuilt.index;
  return { drain, verdict, phases: list, rtoMs, restoredIndex, digests, isGood };
}

const PHASE_NAMES = {
  planned: 'restore plan',
  laid: 'restore run on every node',
  started: 'nodes started, with a leader',
} as const;

class Phases {
  readonly startMs = performance.now();
  readonly list: DrillPhase[] = [];
  #sinceMs = this.startMs;

  get totalMs(): number {
    return this.#sinceMs - this.startMs;
  }

  end(name: string): void {
    const nowMs = performance.now();
    this.list.push({ name, tookMs: nowMs - this.#sinceMs });
    this.#sinceMs = nowMs;
  }
}

async function writeFor(
  writer: DrillWriter,
  writeMs: number,
  onProgress: (line: string) => void,
): Promise<void> {
  const endMs = performance.now() + writeMs;
  for (let leftMs = writeMs; leftMs > 0; leftMs = endMs - performance.now()) {
    await pause(Math.min(leftMs, 1_000));
    onProgress(`${writer.acknowledgedCount} writes acknowledged`);
  }
}

/** Before the disaster every write must succeed: the drill would prove less than it says. */
function refuseFailures({ failures: [first] }: DrillWriter): void {
  if (first !== undefined) throw new Error('a write failed before the loss', { cause: first });
}

async function firstWrite(cluster: ProcessCluster): Promise<void> {
  await waitFor({ what: 'the first write', timeoutMs: READY_TIMEOUT_MS }, () =>
    withClient(cluster, (client) =>
      client.collection(DRILL_COLLECTION).upsert({ id: PROBE_ID, vector: drillVector(1) }),
    ),
  );
}
