/**
 * Too little processor or memory. The processor is taken away by stopping the process for most of
 * every tenth of a second, which needs no root and no control groups; memory by the limit of a
 * control group (memory-limit.ts). A process to which the kernel gives no memory may end: it is
 * started again by the healing, as a supervisor would.
 */
import type { Cluster, NodeName } from '../cluster/cluster.ts';
import { pause } from '../wait.ts';
import { Background } from './background.ts';
import { claimsOf } from './claims.ts';
import { FURTHER_MEMORY_BYTES, MemoryLimit, reasonAgainstMemoryLimits } from './memory-limit.ts';
import { type FaultOutcome, installed, type Nemesis, skipped } from './nemesis.ts';
import { startIfDown } from './restart.ts';
import { chanceOf, drawTargets, leaderNameOf, type TargetKind } from './targets.ts';

export const SQUEEZES = [
  'cpu-leader',
  'cpu-one',
  'cpu-minority',
  'cpu-all',
  'memory-leader',
  'memory-one',
] as const;
export type Squeeze = (typeof SQUEEZES)[number];

const HEAL = 'let-go';
/** Runs a fifth of the time, and never stands still as long as an election timeout. */
const STOPPED_MS = 80;
const RUNNING_MS = 20;

/** Of the family of pauses: letting go here would thaw what was frozen there. */
export function squeezeNemesis(kinds: readonly Squeeze[] = SQUEEZES, name = 'squeeze'): Nemesis {
  const background = new Background();
  const limits: MemoryLimit[] = [];
  const squeezed = new Set<NodeName>();
  return {
    ...{ name, family: 'pause', colour: '#e09f3e', needs: {} },
    harmfulActions: kinds,
    healingAction: HEAL,
    perform: async (action, pick, cluster) => {
      if (action === HEAL) {
        await background.stop();
        for (const limit of limits.splice(0)) limit.lift();
        return release(squeezed, cluster, name);
      }
      const kind = SQUEEZES.find((one) => one === action);
      if (kind === undefined) return skipped(`unknown action ${action}`);
      const targets = await targetsOf(kind, pick, cluster);
      if (targets.length === 0) return skipped('no such node at this moment');
      for (const target of targets) squeezed.add(target);
      if (kind.startsWith('cpu-')) return squeezeProcessor(background, targets, cluster);
      return squeezeMemory(limits, targets, cluster);
    },
  };
}

async function targetsOf(
  kind: Squeeze,
  pick: number,
  cluster: Cluster,
): Promise<readonly NodeName[]> {
  const target = kind.slice(kind.indexOf('-') + 1) as TargetKind;
  const candidates = cluster.nodeNames.filter((name) => cluster.isRunning(name));
  const leader = await leaderNameOf(cluster);
  const facts = { candidates, leader, nodeCount: cluster.nodeNames.length };
  return drawTargets(target, facts, chanceOf(pick));
}

function squeezeProcessor(
  background: Background,
  targets: readonly NodeName[],
  cluster: Cluster,
): FaultOutcome {
  background.start(async () => {
    for (const name of targets) await cluster.signal(name, 'SIGSTOP');
    await pause(STOPPED_MS);
    for (const name of targets) await cluster.signal(name, 'SIGCONT');
    await pause(RUNNING_MS);
  });
  return installed(
    `${targets.join(',')} run ${RUNNING_MS} of ${STOPPED_MS + RUNNING_MS} ms`,
    targets,
  );
}

function squeezeMemory(
  limits: MemoryLimit[],
  targets: readonly NodeName[],
  cluster: Cluster,
): FaultOutcome {
  const reason = reasonAgainstMemoryLimits();
  if (reason !== null) return skipped(reason);
  const squeezed = targets.filter((name) => {
    const pid = cluster.pidOf(name);
    const limit = pid === undefined ? null : MemoryLimit.of(pid, name);
    if (limit !== null) limits.push(limit);
    return limit !== null;
  });
  if (squeezed.length === 0) return skipped(`${targets.join(',')}: down`);
  return installed(
    `${squeezed.join(',')} may use ${FURTHER_MEMORY_BYTES >> 20} MiB more than they do`,
    squeezed,
  );
}

async function release(
  squeezed: Set<NodeName>,
  cluster: Cluster,
  owner: string,
): Promise<FaultOutcome> {
  const targets = [...squeezed];
  squeezed.clear();
  const ended: NodeName[] = [];
  for (const name of targets) {
    // Whoever has taken it since brings it back.
    if (claimsOf(cluster).isTaken(name, owner)) continue;
    await cluster.signal(name, 'SIGCONT');
    if (await startIfDown(cluster, name)) ended.push(name);
  }
  const said = ended.length === 0 ? '' : `; ${ended.join(',')} had ended and was started`;
  return installed(`every node has what it needs${said}`, ended);
}
