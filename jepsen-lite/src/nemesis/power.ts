/**
 * The power of nodes goes, of all at one moment or of some: what was not synced is really gone from
 * their disks. Needs ext4 volumes, and so root.
 */
import type { Cluster } from '../cluster/cluster.ts';
import { claimsOf } from './claims.ts';
import { type FaultOutcome, installed, type Nemesis, skipped } from './nemesis.ts';
import { isServingSoon, startIfDown } from './restart.ts';
import { chanceOf, drawTargets, leaderNameOf } from './targets.ts';

export const POWER_FAULTS = ['power-cut-all', 'power-cut-leader', 'power-cut-minority'] as const;
export type PowerFault = (typeof POWER_FAULTS)[number];

const TARGETS = {
  'power-cut-all': 'all',
  'power-cut-leader': 'leader',
  'power-cut-minority': 'minority',
} as const;
const HEAL = 'power-on';

export function powerNemesis(kinds: readonly PowerFault[] = POWER_FAULTS, name = 'power'): Nemesis {
  return {
    ...{ name, family: 'power', colour: '#444444', needs: { volume: 'ext4' } },
    harmfulActions: kinds,
    healingAction: HEAL,
    perform: (action, pick, cluster) => perform(name, action, pick, cluster),
  };
}

async function perform(
  owner: string,
  action: string,
  pick: number,
  cluster: Cluster,
): Promise<FaultOutcome> {
  if (action === HEAL) return heal(owner, cluster);
  const kind = POWER_FAULTS.find((one) => one === action);
  if (kind === undefined) return skipped(`unknown action ${action}`);
  const claims = claimsOf(cluster);
  const { nodeNames } = cluster;
  const candidates = nodeNames.filter(
    (name) => cluster.volumeOf(name)?.kind === 'ext4' && !claims.isTaken(name, owner),
  );
  if (candidates.length === 0) return skipped('nodes have no volumes that can lose power');
  const leader = await leaderNameOf(cluster);
  const facts = { candidates, leader, nodeCount: nodeNames.length };
  const targets = drawTargets(TARGETS[kind], facts, chanceOf(pick));
  if (targets.length === 0) return skipped('no leader at this moment');
  for (const name of targets) claims.take(name, owner, 'held');
  await cluster.cutPower(targets);
  return installed(targets.join(','), targets);
}

async function heal(owner: string, cluster: Cluster): Promise<FaultOutcome> {
  const claims = claimsOf(cluster);
  const owned = claims.ownedBy(owner);
  const late: string[] = [];
  for (const name of owned) await startIfDown(cluster, name);
  for (const name of owned) {
    claims.release(name, owner);
    if (!(await isServingSoon(cluster, name))) late.push(name);
  }
  if (late.length === 0) return installed(owned.join(','), owned);
  return { kind: 'indeterminate', detail: `${late} does not serve yet`, targets: late };
}
