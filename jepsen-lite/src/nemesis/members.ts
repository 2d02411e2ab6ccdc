/**
 * Changes of who is a member and who leads, under load: the leadership is handed over, votes are
 * taken away and given back, a member is removed for good and comes back empty as a new one. At
 * most a minority is without its vote at one time.
 */
import type { Cluster, NodeName } from '../cluster/cluster.ts';
import { waitFor } from '../wait.ts';
import { isEveryoneVoter, withAdmin } from './admin.ts';
import { claimsOf } from './claims.ts';
import { type FaultOutcome, installed, type Nemesis, skipped } from './nemesis.ts';
import { isServingSoon, startIfDown } from './restart.ts';
import { chanceOf, leaderNameOf, minorityOf, shuffled } from './targets.ts';

export const MEMBER_CHANGES = [
  'transfer-leadership',
  'demote-leader',
  'demote-minority',
  'remove-one',
  'remove-leader',
] as const;
export type MemberChange = (typeof MEMBER_CHANGES)[number];

const HEAL = 'give-votes-back';
const ANNOUNCED_TIMEOUT_MS = 20_000;

export function membersNemesis(
  kinds: readonly MemberChange[] = MEMBER_CHANGES,
  name = 'members',
): Nemesis {
  // Which nodes are no member any more; they come back empty.
  const removed = new Set<NodeName>();
  return {
    ...{ name, family: 'members', colour: '#3d7d8a', needs: {} },
    harmfulActions: kinds,
    healingAction: HEAL,
    perform: async (action, pick, cluster) => {
      if (action === HEAL) return heal(name, removed, cluster);
      const kind = kinds.find((one) => one === action);
      if (kind === undefined) return skipped(`unknown action ${action}`);
      return harm({ kind, owner: name, pick, removed }, cluster);
    },
  };
}

interface Harm {
  readonly kind: MemberChange;
  readonly owner: string;
  readonly pick: number;
  readonly removed: Set<NodeName>;
}

async function harm({ kind, owner, pick, removed }: Harm, cluster: Cluster): Promise<FaultOutcome> {
  const leader = await leaderNameOf(cluster);
  if (leader === null) return skipped('no leader at this moment');
  const order = shuffled(cluster.nodeNames, chanceOf(pick));
  if (kind === 'transfer-leadership') {
    const heir = order.find((name) => name !== leader && cluster.isRunning(name));
    if (heir === undefined) return skipped('nobody else runs');
    const isDone = await withAdmin(cluster, async (admin) => {
      await admin.transferLeadership(heir);
    });
    return outcomeOf(isDone, `from ${leader} to ${heir}`, [leader, heir]);
  }
  const wanted = kind.endsWith('-leader') ? [leader] : order;
  const countMax = kind === 'demote-minority' ? minorityOf(cluster.nodeNames.length) : 1;
  const targets: NodeName[] = [];
  for (const name of wanted) {
    if (targets.length === countMax || !cluster.isRunning(name)) continue;
    if (claimsOf(cluster).take(name, owner, 'harmed')) targets.push(name);
  }
  if (targets.length === 0) return skipped('as many nodes are harmed already as may be');
  const isRemoval = kind.startsWith('remove-');
  // Noted before it is asked for: a removal that nobody answered may be one.
  if (isRemoval) for (const name of targets) removed.add(name);
  const isDone = await withAdmin(cluster, async (admin) => {
    for (const name of targets) {
      if (isRemoval) await admin.removeMember(name);
      else await admin.demoteMember(name);
    }
  });
  return outcomeOf(isDone, targets.join(','), targets);
}

const outcomeOf = (isDone: boolean, detail: string, targets: readonly NodeName[]): FaultOutcome =>
  isDone
    ? installed(detail, targets)
    : { kind: 'indeterminate', detail: `${detail}: not answered in time`, targets };

async function heal(
  owner: string,
  removed: Set<NodeName>,
  cluster: Cluster,
): Promise<FaultOutcome> {
  const claims = claimsOf(cluster);
  const owned = claims.ownedBy(owner);
  const isAsked = await withAdmin(cluster, async (admin) => {
    const { members } = await admin.members();
    for (const name of removed) {
      // A removal without an answer may not have been one; done now, it is certain.
      if (members.some(({ nodeId }) => nodeId === name)) await admin.removeMember(name);
    }
  });
  if (!isAsked) return { kind: 'indeterminate', detail: 'nobody answers', targets: owned };
  for (const name of removed) {
    if (await comesBackEmpty(name, cluster)) removed.delete(name);
  }
  const isAskedAgain = await isEveryoneVoter(cluster);
  const late: NodeName[] = [];
  for (const name of owned) {
    await startIfDown(cluster, name);
    if (!removed.has(name) && (await isServingSoon(cluster, name))) claims.release(name, owner);
    else late.push(name);
  }
  if (late.length === 0 && isAskedAgain) return installed(`${owned.join(',') || 'nobody'}`, owned);
  const detail = late.length > 0 ? `${late.join(',')} has no vote yet` : 'a vote is missing';
  return { kind: 'indeterminate', detail, targets: late };
}

/** As an operator would: stops it, gives it an empty disk, and adds what announces itself. */
async function comesBackEmpty(name: NodeName, cluster: Cluster): Promise<boolean> {
  await cluster.signal(name, 'SIGKILL');
  cluster.wipe(name);
  await cluster.start(name);
  const isAdded = async (): Promise<true | null> =>
    (await withAdmin(cluster, async (admin) => {
      const { members } = await admin.members();
      if (!members.some(({ nodeId }) => nodeId === name)) await admin.addMember({ nodeId: name });
    })) || null;
  const what = `${name} to announce itself`;
  try {
    // Refused as unknown until it has announced itself.
    return await waitFor({ what, timeoutMs: ANNOUNCED_TIMEOUT_MS, pollIntervalMs: 250 }, isAdded);
  } catch {
    // Other faults may keep it from it; the next healing tries again.
    return false;
  }
}
