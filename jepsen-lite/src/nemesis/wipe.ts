/**
 * A node loses its whole disk and starts with an empty one. It comes back by itself: the leader
 * takes it in as another life, and it has its vote again when it has caught up.
 */
import type { Cluster, NodeName } from '../cluster/cluster.ts';
import { claimsOf } from './claims.ts';
import { type FaultOutcome, installed, type Nemesis, skipped } from './nemesis.ts';
import { isServingSoon, startIfDown } from './restart.ts';
import { chanceOf, leaderNameOf, minorityOf, shuffled } from './targets.ts';

export const WIPES = ['wipe-one', 'wipe-leader', 'wipe-minority'] as const;
export type WipeKind = (typeof WIPES)[number];

const HEAL = 'wait-for-votes';

export function wipeNemesis(kinds: readonly WipeKind[] = WIPES, name = 'wipe'): Nemesis {
  return {
    ...{ name, family: 'wipe', colour: '#6d597a', needs: {} },
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
  const leader = await leaderNameOf(cluster);
  if (leader === null) return skipped('no leader at this moment');
  const { nodeNames } = cluster;
  const order = shuffled(nodeNames, chanceOf(pick));
  const wanted = action === 'wipe-leader' ? [leader] : order;
  const count = action === 'wipe-minority' ? minorityOf(nodeNames.length) : 1;
  const claims = claimsOf(cluster);
  const targets: NodeName[] = [];
  for (const name of wanted) {
    if (targets.length < count && claims.take(name, owner, 'harmed')) targets.push(name);
  }
  if (targets.length === 0) return skipped('as many nodes are harmed already as may be');
  await Promise.all(targets.map((name) => cluster.signal(name, 'SIGKILL')));
  for (const name of targets) {
    cluster.wipe(name);
    await cluster.start(name);
  }
  return installed(targets.join(','), targets);
}

/** Only a node that has its vote again may be followed by the next one that loses its disk. */
async function heal(owner: string, cluster: Cluster): Promise<FaultOutcome> {
  const claims = claimsOf(cluster);
  const owned = claims.ownedBy(owner);
  const late: NodeName[] = [];
  for (const name of owned) {
    await startIfDown(cluster, name);
    if (await isServingSoon(cluster, name)) claims.release(name, owner);
    else late.push(name);
  }
  if (late.length === 0) return installed(`${owned.join(',') || 'nobody'} votes again`, owned);
  return { kind: 'indeterminate', detail: `${late} has no vote yet`, targets: late };
}
