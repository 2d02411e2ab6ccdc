/**
 * Wall clocks that jump or drift. The library under the node turns what the process reads as wall
 * time, in all its threads and from one moment to the next; the monotonic clock stays right.
 */
import { type Random, unreachable } from '@holdfast/base';
import type { Cluster, NodeName } from '../cluster/cluster.ts';
import { RIGHT_CLOCK } from '../cluster/interposer.ts';
import { Background } from './background.ts';
import { type FaultOutcome, installed, type Nemesis, skipped } from './nemesis.ts';
import { chanceOf, drawTargets, leaderNameOf, type TargetKind } from './targets.ts';

export const CLOCK_FAULTS = [
  'jump-leader',
  'jump-one',
  'jump-minority',
  'jump-all-apart',
  'drift-leader',
  'drift-all-apart',
  'strobe-leader',
] as const;
export type ClockFault = (typeof CLOCK_FAULTS)[number];

const HEAL = 'right-clocks';
/** From less than a lease to more than any timeout. */
const JUMPS_MS = [200, 900, 5_000, 60_000, 3_600_000, 86_400_000] as const;
/** 1 % is what a bad crystal never does; half of the time it is more than any guard allows for. */
const DRIFTS_MS_PER_S = [10, 50, 300] as const;
const STROBE_INTERVAL_MS = 120;

export function clockNemesis(kinds: readonly ClockFault[] = CLOCK_FAULTS, name = 'clock'): Nemesis {
  const background = new Background();
  return {
    ...{ name, family: 'clock', colour: '#2a9d8f', needs: { hasInterposer: true } },
    harmfulActions: kinds,
    healingAction: HEAL,
    perform: async (action, pick, cluster) => {
      if (cluster.nodeNames.every((node) => cluster.interposerOf(node) === null)) {
        return skipped('nodes run without the interposer');
      }
      if (action === HEAL) return heal(background, cluster);
      const kind = CLOCK_FAULTS.find((one) => one === action);
      if (kind === undefined) return skipped(`unknown action ${action}`);
      return strike(kind, chanceOf(pick), cluster, background);
    },
  };
}

async function strike(
  kind: ClockFault,
  random: Random,
  cluster: Cluster,
  background: Background,
): Promise<FaultOutcome> {
  const targets = await targetsOf(kind, random, cluster);
  const [first] = targets;
  if (first === undefined) return skipped('no such node at this moment');
  switch (kind) {
    case 'jump-leader':
    case 'jump-one':
    case 'jump-minority':
    case 'jump-all-apart': {
      const jumps = targets.map(
        (name) => `${name} ${turn(cluster, name, signed(JUMPS_MS, random))}`,
      );
      return installed(jumps.join(', '), targets);
    }
    case 'drift-leader':
    case 'drift-all-apart': {
      const drifts = targets.map((name) => {
        const driftMsPerS = signed(DRIFTS_MS_PER_S, random);
        cluster.interposerOf(name)?.setClock({ offsetMs: 0, driftMsPerS });
        return `${name} ${driftMsPerS} ms per s`;
      });
      return installed(drifts.join(', '), targets);
    }
    case 'strobe-leader': {
      const jumpMs = signed(JUMPS_MS, random);
      background.start(async (wait) => {
        turn(cluster, first, jumpMs);
        await wait(STROBE_INTERVAL_MS);
        turn(cluster, first, 0);
        await wait(STROBE_INTERVAL_MS);
      });
      return installed(`${first} to and fro by ${jumpMs} ms`, targets);
    }
    default:
      return unreachable(kind);
  }
}

async function targetsOf(
  kind: ClockFault,
  random: Random,
  cluster: Cluster,
): Promise<readonly NodeName[]> {
  const suffix = kind.slice(kind.indexOf('-') + 1);
  const target = suffix === 'all-apart' ? 'all' : (suffix as TargetKind);
  const candidates = cluster.nodeNames.filter((name) => cluster.interposerOf(name) !== null);
  const leader = await leaderNameOf(cluster);
  return drawTargets(target, { candidates, leader, nodeCount: cluster.nodeNames.length }, random);
}

function turn(cluster: Cluster, name: NodeName, offsetMs: number): string {
  cluster.interposerOf(name)?.setClock({ offsetMs, driftMsPerS: 0 });
  return `${offsetMs} ms`;
}

function signed(sizes: readonly number[], random: Random): number {
  const size = sizes[random.nextBelow(sizes.length)] ?? 0;
  return random.nextBelow(2) === 0 ? size : -size;
}

async function heal(background: Background, cluster: Cluster): Promise<FaultOutcome> {
  await background.stop();
  for (const name of cluster.nodeNames) cluster.interposerOf(name)?.setClock(RIGHT_CLOCK);
  return installed('every clock is right');
}
