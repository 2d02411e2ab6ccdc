/**
 * Kills at an exact place of the program: in the middle of a checkpoint, of a snapshot, of a change
 * of members. The node is started anew with a failpoint that ends it when it gets there; it is dead
 * then, and a healing starts it again without.
 */
import type { Failpoint } from '@holdfast/base';
import type { Cluster, NodeName } from '../cluster/cluster.ts';
import { waitFor } from '../wait.ts';
import { isEveryoneVoter, withAdmin } from './admin.ts';
import { claimsOf } from './claims.ts';
import { type FaultOutcome, installed, type Nemesis, skipped } from './nemesis.ts';
import { isServingSoon, startIfDown } from './restart.ts';
import { chanceOf, leaderNameOf, oneOf, shuffled } from './targets.ts';

export const MOMENTS = ['checkpoint', 'snapshot', 'membership', 'log', 'start'] as const;
export type Moment = (typeof MOMENTS)[number];

const PLACES: Readonly<Record<Moment, readonly Failpoint[]>> = {
  checkpoint: [
    'checkpoint.before-capture',
    'checkpoint.meta-written',
    'checkpoint.lanes-written',
    'checkpoint.before-root',
    'checkpoint.after-root',
    'checkpoint.before-compaction',
    'checkpoint.before-removal',
    'checkpoint.after-removal',
    'root.before-previous',
    'root.before-current',
    'root.after-current',
    'lane.before-segment',
    'lane.after-segment',
    'lane.before-growing',
    'lane.before-manifest',
  ],
  snapshot: [
    'snapshot.receive-begins',
    'snapshot.receive-chunk',
    'snapshot.receive-sealed',
    'snapshot.before-install',
    'snapshot.before-root',
    'snapshot.after-root',
    'snapshot.before-lanes',
    'snapshot.after-lanes',
  ],
  membership: ['members.conf-adopted'],
  log: [
    'wal.before-sync',
    'wal.after-sync',
    'wal.hard-state-between-copies',
    'wal.before-roll',
    'wal.after-roll',
    'wal.before-release',
    'wal.before-confirm',
    'replica.before-gated-send',
    'replica.durable',
    'apply.after-batch',
  ],
  start: ['wal.recovery-before-settle', 'wal.recovery-before-first-batch', 'lane.after-open'],
};

const VARIABLE = 'HOLDFAST_TEST_FAILPOINTS';
const HEAL = 'start-without-failpoints';
/** A place that is not reached in this time: the node goes on with its failpoint. */
const REACHED_TIMEOUT_MS = 12_000;
/** Hot places are passed many times before a run is under way. */
const LOG_HIT_MAX = 40;
/** A vote is taken and given back: at least two are adopted. */
const CONF_HIT_MAX = 2;

export function momentNemesis(moments: readonly Moment[] = MOMENTS, name = 'moment'): Nemesis {
  return {
    ...{ name, family: 'moment', colour: '#c77d2e' },
    // A checkpoint every second or two, so that there is one to be hit.
    needs: { settings: { checkpointIntervalMs: 1_500 } },
    harmfulActions: moments.map((moment) => `kill-during-${moment}`),
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
  const moment = MOMENTS.find((one) => action === `kill-during-${one}`);
  if (moment === undefined) return skipped(`unknown action ${action}`);
  const random = chanceOf(pick);
  const leader = await leaderNameOf(cluster);
  if (leader === null) return skipped('no leader at this moment');
  const claims = claimsOf(cluster);
  // Who asks for a change is the leader; who needs a snapshot is a follower without data.
  const isOfFollower = moment === 'snapshot' || moment === 'membership';
  const kind = moment === 'snapshot' ? 'harmed' : 'held';
  const victim = shuffled(cluster.nodeNames, random).find(
    (name) => (name !== leader || !isOfFollower) && claims.take(name, owner, kind),
  );
  if (victim === undefined) return skipped('other faults hold every node');
  const place = oneOf(PLACES[moment], random) ?? 'wal.after-sync';
  const hitMax = moment === 'log' ? LOG_HIT_MAX : moment === 'membership' ? CONF_HIT_MAX : 1;
  const hit = 1 + random.nextBelow(hitMax);
  const environment = { [VARIABLE]: `${place}=kill@${hit}` };
  await cluster.signal(victim, 'SIGKILL');
  if (moment === 'snapshot') cluster.wipe(victim);
  await cluster.start(victim, environment);
  const isAsked = moment !== 'membership' || (await changeMembers(cluster, victim));
  const isReached = await isDeadWithin(cluster, victim, REACHED_TIMEOUT_MS);
  const asked = isAsked ? '' : ', the change of members was refused';
  const detail = `${victim} at ${place}, time ${hit}${asked}`;
  if (isReached) return installed(detail, [victim]);
  return { kind: 'indeterminate', detail: `${detail}: not reached`, targets: [victim] };
}

/**
 * Takes another follower's vote away and gives it back: changes that every node adopts. While the
 * victim is away a leader refuses to take a vote. False: it was refused all the same.
 */
async function changeMembers(cluster: Cluster, victim: NodeName): Promise<boolean> {
  await isServingOrDead(cluster, victim);
  return withAdmin(cluster, async (admin) => {
    const { members } = await admin.members();
    const other = members.find(
      ({ isLeader, nodeId, role }) => !isLeader && nodeId !== victim && role === 'voter',
    );
    if (other === undefined) return;
    await admin.demoteMember(other.nodeId);
    await admin.promoteMember(other.nodeId);
  });
}

/** It may get to its place while it starts. */
async function isServingOrDead(cluster: Cluster, victim: NodeName): Promise<void> {
  const what = `${victim} to serve or to be dead`;
  await waitFor({ what, timeoutMs: REACHED_TIMEOUT_MS }, async () => {
    if (!cluster.isRunning(victim)) return true;
    return (await cluster.health(victim))?.isReady === true ? true : null;
  }).catch(() => false);
}

async function isDeadWithin(
  cluster: Cluster,
  nodeName: NodeName,
  timeoutMs: number,
): Promise<boolean> {
  try {
    await waitFor({ what: `${nodeName} to be dead`, timeoutMs }, () =>
      cluster.isRunning(nodeName) ? null : true,
    );
    return true;
  } catch {
    return false;
  }
}

async function heal(owner: string, cluster: Cluster): Promise<FaultOutcome> {
  const claims = claimsOf(cluster);
  const owned = claims.ownedBy(owner);
  for (const name of owned) {
    // It may still have its failpoint.
    if (cluster.isRunning(name)) await cluster.signal(name, 'SIGKILL');
    await startIfDown(cluster, name);
  }
  const isWhole = owned.length === 0 || (await isEveryoneVoter(cluster));
  const late: NodeName[] = [];
  for (const name of owned) {
    if (await isServingSoon(cluster, name)) claims.release(name, owner);
    else late.push(name);
  }
  if (late.length === 0 && isWhole) return installed(owned.join(','), owned);
  const detail = late.length > 0 ? `${late.join(',')} does not serve yet` : 'a vote is missing';
  return { kind: 'indeterminate', detail, targets: late };
}
