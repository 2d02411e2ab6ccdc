/** Bringing nodes back after a fault: what every healing that restarts nodes does. */
import type { Cluster, NodeName } from '../cluster/cluster.ts';
import { readJson } from '../cluster/node-http.ts';
import { waitFor } from '../wait.ts';

/** Recovery of what a fault left on disk, on a machine under load. */
const SERVING_TIMEOUT_MS = 45_000;

export async function startIfDown(cluster: Cluster, nodeName: NodeName): Promise<boolean> {
  if (cluster.isRunning(nodeName)) return false;
  await cluster.start(nodeName);
  return true;
}

/**
 * True when the node serves as a voter within the time. A node that stopped by itself is started
 * again once: it may do so when it learns what was done to its disk.
 */
export async function isServingSoon(cluster: Cluster, nodeName: NodeName): Promise<boolean> {
  let startCount = 0;
  const what = `${nodeName} to serve again`;
  try {
    await waitFor({ what, timeoutMs: SERVING_TIMEOUT_MS, pollIntervalMs: 100 }, async () => {
      if (startCount < 2 && (await startIfDown(cluster, nodeName))) startCount += 1;
      return (await isVoter(cluster, nodeName)) ? true : null;
    });
    return true;
  } catch {
    // Other faults may keep it from it; whoever asked says so in the outcome.
    return false;
  }
}

async function isVoter(cluster: Cluster, nodeName: NodeName): Promise<boolean> {
  const answer = await readJson(cluster.addressOf(nodeName), '/api/v1/cluster/status');
  return (
    answer?.status === 200 && answer.body.membership === 'voter' && answer.body.isReady === true
  );
}
