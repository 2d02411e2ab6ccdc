/**
 * Maintenance of one node under writes: the leader is stopped in order, the others go on, and it
 * comes back with what they have.
 */
import { must } from '@holdfast/base';
import { expectEqualDigests } from '../cluster/agreement.ts';
import type { NodeDigest, NodeName } from '../cluster/cluster.ts';
import type { ProcessCluster } from '../cluster/process-cluster.ts';
import { waitFor } from '../wait.ts';
import type { DrillWriter } from './drill-writer.ts';

export interface DrainReport {
  readonly nodeName: NodeName;
  /** From the signal until it was gone, its leadership handed over. */
  readonly stoppedMs: number;
  /** From the signal until the others were ready and had acknowledged another write. */
  readonly healthyMs: number;
  /** From its start until all were ready. */
  readonly returnedMs: number;
  /** Of all nodes, equal, with the writers held for it. */
  readonly digests: readonly NodeDigest[];
}

const WAIT_TIMEOUT_MS = 30_000;

/** @throws Error when the cluster does not go on, the node does not come back, or states differ */
export async function drainLeader(
  cluster: ProcessCluster,
  writer: DrillWriter,
): Promise<DrainReport> {
  const { nodeName } = must(await cluster.leader(), 'a cluster that takes writes has a leader');
  const signalledMs = performance.now();
  await cluster.signal(nodeName, 'SIGTERM');
  const stoppedMs = performance.now() - signalledMs;
  await othersReady(cluster, nodeName);
  await nextWrite(writer);
  const healthyMs = performance.now() - signalledMs;
  const startedMs = performance.now();
  await cluster.start(nodeName);
  await cluster.waitUntilReady();
  const returnedMs = performance.now() - startedMs;
  const digests = await writer.whileQuiet(() => expectEqualDigests(cluster));
  return { nodeName, stoppedMs, healthyMs, returnedMs, digests };
}

async function othersReady(cluster: ProcessCluster, gone: NodeName): Promise<void> {
  const others = cluster.nodeNames.filter((name) => name !== gone);
  await waitFor({ what: 'the others to be ready', timeoutMs: WAIT_TIMEOUT_MS }, async () => {
    const healths = await Promise.all(others.map((name) => cluster.health(name)));
    return healths.every((health) => health?.isReady === true) ? true : null;
  });
}

async function nextWrite(writer: DrillWriter): Promise<void> {
  const before = writer.acknowledgedCount;
  const what = 'a write while one node is away';
  await waitFor({ what, timeoutMs: WAIT_TIMEOUT_MS }, async () =>
    writer.acknowledgedCount > before ? true : null,
  );
}
