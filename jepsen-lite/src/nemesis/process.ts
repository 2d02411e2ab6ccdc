/** Faults of processes: killed without warning, frozen, and brought back. */
import type { Cluster, NodeName } from '../cluster/cluster.ts';
import { pause, waitFor } from '../wait.ts';
import type { FaultOutcome, Nemesis } from './nemesis.ts';

export type ProcessFault =
  | 'kill-leader'
  | 'kill-follower'
  | 'kill-all'
  | 'freeze-leader'
  | 'strand-leader';

const HEAL = 'restart-and-thaw';
/** How long a stranded leader could acknowledge what it must not. */
const STRANDED_MS = 400;
/** The others must elect one of them before the stranded node comes back. */
const SUCCESSOR_TIMEOUT_MS = 30_000;

/** Draws from `faults`; healing restarts every dead node and thaws every frozen one. */
export function processNemesis(faults: readonly ProcessFault[]): Nemesis {
  return {
    name: 'process',
    harmfulActions: faults,
    healingAction: HEAL,
    perform: (action, pick, cluster) => performAction(action, pick, cluster),
  };
}

async function performAction(
  action: string,
  pick: number,
  cluster: Cluster,
): Promise<FaultOutcome> {
  switch (action) {
    case 'kill-all':
      await Promise.all(cluster.nodeNames.map((name) => cluster.signal(name, 'SIGKILL')));
      return { kind: 'installed', detail: cluster.nodeNames.join(',') };
    case 'kill-leader':
      return strike(cluster, await leaderOf(cluster), 'SIGKILL');
    case 'freeze-leader':
      return strike(cluster, await leaderOf(cluster), 'SIGSTOP');
    case 'kill-follower': {
      const leader = await leaderOf(cluster);
      const followers = cluster.nodeNames.filter(
        (name) => name !== leader && cluster.isRunning(name),
      );
      return strike(cluster, followers[pick % Math.max(1, followers.length)] ?? null, 'SIGKILL');
    }
    case 'strand-leader':
      return strandLeader(cluster);
    case HEAL:
      return heal(cluster);
    default:
      return { kind: 'skipped', detail: `unknown action ${action}` };
  }
}

async function leaderOf(cluster: Cluster): Promise<NodeName | null> {
  return (await cluster.leader())?.nodeName ?? null;
}

async function strike(
  cluster: Cluster,
  victim: NodeName | null,
  signal: 'SIGKILL' | 'SIGSTOP',
): Promise<FaultOutcome> {
  if (victim === null) return { kind: 'skipped', detail: 'no such node at this moment' };
  if (!cluster.isRunning(victim)) return { kind: 'skipped', detail: `${victim} is down already` };
  await cluster.signal(victim, signal);
  return { kind: 'installed', detail: victim };
}

/**
 * Kills all followers, lets the leader go on alone for a moment, kills it, and brings back only the
 * others, which go on without it. A leader that acknowledges what no majority has on disk loses it
 * here (killing only the leader would not show it: what it sent is still in the sockets).
 */
async function strandLeader(cluster: Cluster): Promise<FaultOutcome> {
  const leader = await leaderOf(cluster);
  if (leader === null) return { kind: 'skipped', detail: 'no leader at this moment' };
  const others = cluster.nodeNames.filter((name) => name !== leader);
  await Promise.all(others.map((name) => cluster.signal(name, 'SIGKILL')));
  await pause(STRANDED_MS);
  await cluster.signal(leader, 'SIGKILL');
  for (const name of others) await cluster.start(name);
  const what = `a successor of the stranded ${leader}`;
  const successor = await waitFor({ what, timeoutMs: SUCCESSOR_TIMEOUT_MS }, () =>
    cluster.leader(),
  );
  return { kind: 'installed', detail: `${leader} stranded, then ${successor.nodeName} led` };
}

async function heal(cluster: Cluster): Promise<FaultOutcome> {
  const restarted: NodeName[] = [];
  for (const name of cluster.nodeNames) {
    // Harmless for a process that is not frozen.
    if (cluster.isRunning(name)) await cluster.signal(name, 'SIGCONT');
    else {
      await cluster.start(name);
      restarted.push(name);
    }
  }
  return { kind: 'installed', detail: restarted.length === 0 ? 'thawed' : restarted.join(',') };
}
