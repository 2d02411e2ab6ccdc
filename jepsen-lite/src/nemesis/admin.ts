/** What faults ask of the cluster as an operator would: who is a member, and with what rights. */
import { HoldfastError } from '@holdfast/base';
import { HoldfastClient } from '@holdfast/client';
import type { Cluster } from '../cluster/cluster.ts';

const CHANGE_TIMEOUT_MS = 10_000;

/** False: the cluster could not do it now; what was begun is ended by a healing. */
export async function withAdmin(
  cluster: Cluster,
  body: (admin: HoldfastClient['admin']) => Promise<void>,
): Promise<boolean> {
  const nodes = [...cluster.addresses];
  try {
    const client = await HoldfastClient.connect({ nodes, timeoutMs: CHANGE_TIMEOUT_MS });
    try {
      await body(client.admin);
      return true;
    } finally {
      await client.close();
    }
  } catch (thrown) {
    if (thrown instanceof HoldfastError) return false;
    throw thrown;
  }
}

/**
 * Gives votes back that a change of members took. A wiped node gets its own by itself. False: not
 * now.
 */
export function isEveryoneVoter(cluster: Cluster): Promise<boolean> {
  return withAdmin(cluster, async (admin) => {
    const { members } = await admin.members();
    for (const { nodeId, role } of members) {
      if (role !== 'voter' && cluster.isRunning(nodeId)) await admin.promoteMember(nodeId);
    }
  });
}
