/**
 * Cut lines between nodes: bytes vanish and nobody is told, as with a cut cable. Clients reach all
 * nodes all the time, those in a minority too, unless the partition says otherwise.
 */
import type { Cluster } from '../cluster/cluster.ts';
import { type FaultOutcome, installed, type Nemesis, skipped } from './nemesis.ts';
import { PARTITIONS, type PartitionKind, planPartition } from './partitions.ts';
import { chanceOf, leaderNameOf } from './targets.ts';

const HEAL = 'mend-lines';

export function partitionNemesis(
  kinds: readonly PartitionKind[] = PARTITIONS,
  name = 'partition',
): Nemesis {
  const hasClientProxies = kinds.includes('leader-with-clients');
  return {
    ...{ name, family: 'network', colour: '#7b52ab' },
    needs: hasClientProxies ? { hasPeerProxies: true, hasClientProxies } : { hasPeerProxies: true },
    harmfulActions: kinds,
    healingAction: HEAL,
    perform: (action, pick, cluster) => perform(action, pick, cluster),
  };
}

async function perform(action: string, pick: number, cluster: Cluster): Promise<FaultOutcome> {
  const { network, nodeNames } = cluster;
  if (network === null) return skipped('the lines of this cluster cannot be cut');
  if (action === HEAL) {
    await network.heal();
    return installed('every line passes');
  }
  const kind = PARTITIONS.find((one) => one === action);
  if (kind === undefined) return skipped(`unknown action ${action}`);
  const facts = { nodeNames, leader: await leaderNameOf(cluster) };
  const plan = planPartition(kind, facts, chanceOf(pick));
  if (plan === null) return skipped('no leader at this moment, or too few nodes');
  if (plan.withoutClients.length > 0 && !network.hasClientLinks) {
    return skipped('clients are not behind proxies');
  }
  await Promise.all([
    ...plan.cuts.map(({ from, to }) => network.setLink(from, to, { kind: 'silence' })),
    ...plan.withoutClients.map((node) => network.setClients(node, { kind: 'silence' })),
  ]);
  return installed(plan.detail, plan.targets);
}
