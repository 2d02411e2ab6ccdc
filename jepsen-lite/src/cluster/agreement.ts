/**
 * Waits until replicas can be compared: digests mean something only at an equal applied index, so
 * writes must have stopped and every node must have caught up.
 */
import { judgeAgreement } from '../checker/replica-agreement.ts';
import { waitFor } from '../wait.ts';
import type { Cluster, NodeDigest } from './cluster.ts';

/**
 * Resolves with one digest per node, all taken at the same applied index. It does not say that they
 * are equal: that is the checker's verdict.
 * @throws Error when the nodes do not reach one index in time
 */
export async function digestsAtOneIndex(
  cluster: Cluster,
  timeoutMs = 30_000,
): Promise<readonly NodeDigest[]> {
  const what = 'all nodes to report a digest at one applied index';
  return waitFor({ what, timeoutMs, pollIntervalMs: 50 }, async () => {
    const digests: NodeDigest[] = [];
    for (const nodeName of cluster.nodeNames) {
      const digest = await cluster.digest(nodeName);
      if (digest === null) return null;
      digests.push(digest);
    }
    const isOneIndex = digests.every((one) => one.appliedIndex === digests[0]?.appliedIndex);
    return isOneIndex ? digests : null;
  });
}

/** As above, and throws with all digests when two differ. */
export async function expectEqualDigests(
  cluster: Cluster,
  timeoutMs?: number,
): Promise<readonly NodeDigest[]> {
  const digests = await digestsAtOneIndex(cluster, timeoutMs);
  const verdict = judgeAgreement(digests);
  if (verdict.kind !== 'valid') throw new Error(`replicas differ: ${JSON.stringify(verdict)}`);
  return digests;
}
