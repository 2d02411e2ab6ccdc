/**
 * Hostile clients in a process of their own, so that the good ones are not slowed down by them in
 * the harness: a crowd of idle connections all the time, and every kind of attack in turn. It says
 * when each begins and ends. With the lowest priority: in life they are on other machines.
 */
import { constants, setPriority } from 'node:os';
import { must } from '@holdfast/base';
import {
  type Doors,
  HOSTILITIES,
  Hostiles,
  type Hostility,
  SEND_HOME,
} from '../nemesis/hostile.ts';
import { pause } from '../wait.ts';

export interface HostilePlan {
  readonly seed: number;
  readonly phaseMs: number;
  readonly nodes: readonly HostileTarget[];
}

export interface HostileTarget {
  readonly nodeName: string;
  readonly address: string;
  readonly peerAddress: string;
}

/** What the process tells its parent. */
export interface HostilePhase {
  readonly hostility: Hostility;
  readonly isOver: boolean;
  readonly detail: string;
}

const CROWD = 'idle-crowd';

const tell = (phase: HostilePhase): void => void process.send?.(phase);

async function attack({ nodes, phaseMs, seed }: HostilePlan): Promise<void> {
  const of = (nodeName: string): HostileTarget =>
    must(
      nodes.find((one) => one.nodeName === nodeName),
      `there is no node ${nodeName}`,
    );
  const doors: Doors = {
    nodeNames: nodes.map(({ nodeName }) => nodeName),
    addressOf: (nodeName) => of(nodeName).address,
    peerAddressOf: (nodeName) => of(nodeName).peerAddress,
  };
  const crowd = new Hostiles();
  const attackers = new Hostiles();
  tell({ hostility: CROWD, isOver: false, detail: '' });
  const gathered = await crowd.perform(CROWD, seed, doors);
  for (const hostility of HOSTILITIES) {
    if (hostility === CROWD) continue;
    const begun = await attackers.perform(hostility, seed, doors);
    tell({ hostility, isOver: false, detail: begun.detail });
    await pause(phaseMs);
    const ended = await attackers.perform(SEND_HOME, seed, doors);
    tell({ hostility, isOver: true, detail: ended.detail });
  }
  const dispersed = await crowd.perform(SEND_HOME, seed, doors);
  const detail = `${gathered.detail}; ${dispersed.detail}`;
  tell({ hostility: CROWD, isOver: true, detail });
}

setPriority(constants.priority.PRIORITY_LOW);
await attack(JSON.parse(must(process.argv[2], 'the plan is missing')) as HostilePlan);
process.disconnect?.();
