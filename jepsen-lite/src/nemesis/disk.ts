/**
 * Disks that are slow, full, or fail their syncs. What goes through the library under the node
 * needs no root; a volume that is really full does.
 */
import type { Cluster, NodeName } from '../cluster/cluster.ts';
import { type DiskFault, SOUND_DISK } from '../cluster/interposer.ts';
import { type FaultOutcome, installed, type Nemesis, skipped } from './nemesis.ts';
import { isServingSoon, startIfDown } from './restart.ts';
import { chanceOf, drawTargets, leaderNameOf, type TargetKind } from './targets.ts';

/** Numbers of errno on Linux; EDQUOT has no name in libuv. */
const ERRNO = { EIO: 5, ENOSPC: 28, EDQUOT: 122 } as const;

interface DiskPlan {
  readonly target: TargetKind;
  /** Null: the volume itself is filled. */
  readonly fault: Partial<DiskFault> | null;
}

/** Slow is what etcd loses a fifth of its availability to: 300 to 800 ms for every sync. */
const PLANS = {
  'slow-leader': { target: 'leader', fault: { syncDelayMs: 500 } },
  'slow-one': { target: 'one', fault: { syncDelayMs: 300 } },
  'slow-minority': { target: 'minority', fault: { syncDelayMs: 800 } },
  'sync-error-leader': { target: 'leader', fault: { syncErrno: ERRNO.EIO } },
  'sync-error-one': { target: 'one', fault: { syncErrno: ERRNO.EIO } },
  'write-error-one': { target: 'one', fault: { writeErrno: ERRNO.EIO } },
  'full-leader': { target: 'leader', fault: { writeErrno: ERRNO.ENOSPC, hasShortWrites: true } },
  'full-minority': { target: 'minority', fault: { writeErrno: ERRNO.ENOSPC } },
  'full-all': { target: 'all', fault: { writeErrno: ERRNO.ENOSPC, hasShortWrites: true } },
  'over-quota-one': { target: 'one', fault: { writeErrno: ERRNO.EDQUOT } },
  'volume-full-leader': { target: 'leader', fault: null },
  'volume-full-minority': { target: 'minority', fault: null },
  'volume-full-all': { target: 'all', fault: null },
} as const satisfies Record<string, DiskPlan>;

export type DiskFaultKind = keyof typeof PLANS;
export const DISK_FAULTS = Object.keys(PLANS) as readonly DiskFaultKind[];

const HEAL = 'sound-disks';

export function diskNemesis(kinds: readonly DiskFaultKind[] = DISK_FAULTS, name = 'disk'): Nemesis {
  const needsVolume = kinds.some((kind) => PLANS[kind].fault === null);
  const needsLibrary = kinds.some((kind) => PLANS[kind].fault !== null);
  const struck = new Set<NodeName>();
  return {
    ...{ name, family: 'disk', colour: '#8d6a3f' },
    needs: {
      ...(needsLibrary ? { hasInterposer: true } : {}),
      ...(needsVolume ? { volume: 'tmpfs' } : {}),
    },
    harmfulActions: kinds,
    healingAction: HEAL,
    perform: (action, pick, cluster) =>
      action === HEAL ? heal(struck, cluster) : strike(struck, action, pick, cluster),
  };
}

/** A node with a bad disk may be killed and started by other faults: its disk stays bad. */
async function strike(
  struck: Set<NodeName>,
  action: string,
  pick: number,
  cluster: Cluster,
): Promise<FaultOutcome> {
  const kind = DISK_FAULTS.find((one) => one === action);
  if (kind === undefined) return skipped(`unknown action ${action}`);
  const plan: DiskPlan = PLANS[kind];
  const { nodeNames } = cluster;
  const leader = await leaderNameOf(cluster);
  const facts = { candidates: nodeNames, leader, nodeCount: nodeNames.length };
  const targets = drawTargets(plan.target, facts, chanceOf(pick));
  if (targets.length === 0) return skipped(`no such node at this moment: ${plan.target}`);
  const { fault } = plan;
  const isAble = (name: NodeName): boolean =>
    fault === null ? cluster.volumeOf(name) !== null : cluster.interposerOf(name) !== null;
  if (!targets.every(isAble)) {
    return skipped(fault === null ? 'nodes have no volumes' : 'nodes run without the interposer');
  }
  for (const name of targets) {
    struck.add(name);
    if (fault === null) cluster.volumeOf(name)?.fill();
    else cluster.interposerOf(name)?.setDisk({ ...SOUND_DISK, ...fault });
  }
  return installed(`${targets.join(',')}: ${JSON.stringify(fault ?? 'no room')}`, targets);
}

/** A node that stopped because of its disk is started again: its operator has mended it. */
async function heal(struck: Set<NodeName>, cluster: Cluster): Promise<FaultOutcome> {
  const targets = [...struck];
  const said: string[] = [];
  const late: NodeName[] = [];
  for (const name of cluster.nodeNames) {
    cluster.interposerOf(name)?.setDisk(SOUND_DISK);
    cluster.volumeOf(name)?.empty();
  }
  for (const name of targets) {
    if (await startIfDown(cluster, name)) said.push(`${name} had stopped`);
  }
  for (const name of targets) {
    if (await isServingSoon(cluster, name)) struck.delete(name);
    else late.push(name);
    const counts = cluster.interposerOf(name)?.counts;
    if (counts !== undefined) said.push(`${name} so far ${JSON.stringify(counts)}`);
  }
  const detail = said.join('; ') || 'nothing was wrong';
  if (late.length === 0) return installed(detail, targets);
  return { kind: 'indeterminate', detail: `${late} does not serve yet; ${detail}`, targets: late };
}
