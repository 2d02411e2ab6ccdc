/**
 * Too little processor or memory. The processor is taken away by stopping the process for most of
 * every tenth of a second, which needs no root and no control groups; memory by a limit of a
 * control group of version 2, above which the kernel makes the process slow instead of killing it.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Cluster, NodeName } from '../cluster/cluster.ts';
import { pause } from '../wait.ts';
import { Background } from './background.ts';
import { type FaultOutcome, installed, type Nemesis, skipped } from './nemesis.ts';
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
const CGROUP_ROOT = '/sys/fs/cgroup';
/** Of what the process has in use when the fault begins. */
const MEMORY_SHARE = 0.8;

/** Of the family of pauses: letting go here would thaw what was frozen there. */
export function squeezeNemesis(kinds: readonly Squeeze[] = SQUEEZES, name = 'squeeze'): Nemesis {
  const background = new Background();
  const groups = new Map<NodeName, string>();
  const squeezed = new Set<NodeName>();
  return {
    ...{ name, family: 'pause', colour: '#e09f3e', needs: {} },
    harmfulActions: kinds,
    healingAction: HEAL,
    perform: async (action, pick, cluster) => {
      if (action === HEAL) return heal(background, groups, squeezed, cluster);
      const kind = SQUEEZES.find((one) => one === action);
      if (kind === undefined) return skipped(`unknown action ${action}`);
      const targets = await targetsOf(kind, pick, cluster);
      if (targets.length === 0) return skipped('no such node at this moment');
      for (const target of targets) squeezed.add(target);
      if (kind.startsWith('cpu-')) return squeezeProcessor(background, targets, cluster);
      return squeezeMemory(groups, targets, cluster);
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
  groups: Map<NodeName, string>,
  targets: readonly NodeName[],
  cluster: Cluster,
): FaultOutcome {
  const controllers = join(CGROUP_ROOT, 'cgroup.controllers');
  if (!existsSync(controllers) || !readFileSync(controllers, 'utf8').includes('memory')) {
    return skipped('this machine has no memory controller of control groups, version 2');
  }
  if (process.getuid?.() !== 0) return skipped('limits of memory need root');
  for (const name of targets) {
    const pid = cluster.pidOf(name);
    if (pid === undefined) return skipped(`${name} is down`);
    const group = join(CGROUP_ROOT, `holdfast-jepsen-${process.pid}-${name}`);
    mkdirSync(group, { recursive: true });
    groups.set(name, group);
    writeFileSync(join(group, 'cgroup.procs'), String(pid));
    const limitBytes = Math.floor(residentBytesOf(pid) * MEMORY_SHARE);
    writeFileSync(join(group, 'memory.high'), String(limitBytes));
  }
  return installed(`${targets.join(',')} above ${MEMORY_SHARE} of its memory is slow`, targets);
}

const PAGE_SIZE_BYTES = 4_096;

function residentBytesOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * PAGE_SIZE_BYTES;
}

async function heal(
  background: Background,
  groups: Map<NodeName, string>,
  squeezed: Set<NodeName>,
  cluster: Cluster,
): Promise<FaultOutcome> {
  await background.stop();
  for (const name of squeezed) await cluster.signal(name, 'SIGCONT');
  squeezed.clear();
  for (const [name, group] of groups) {
    writeFileSync(join(group, 'memory.high'), 'max');
    const pid = cluster.pidOf(name);
    // A group that has a process cannot go; one that was left behind limits nothing.
    if (pid !== undefined) writeFileSync(join(CGROUP_ROOT, 'cgroup.procs'), String(pid));
    rmdirSync(group);
    groups.delete(name);
  }
  return installed('every node has what it needs');
}
