/**
 * Pure: which directed lines between nodes are cut by each kind of partition (the shapes that
 * Jepsen calls grudges), and whom clients cannot reach.
 */
import type { Random } from '@holdfast/base';
import type { NodeName } from '../cluster/cluster.ts';
import { minorityOf, oneOf, shuffled } from './targets.ts';

export const PARTITIONS = [
  'one',
  'halves',
  'majorities-ring',
  'leader',
  'leader-with-clients',
  'deaf',
  'mute',
  'deaf-leader',
  'mute-leader',
  'bridge',
  'chain',
] as const;
export type PartitionKind = (typeof PARTITIONS)[number];

export interface Cut {
  readonly from: NodeName;
  readonly to: NodeName;
}

export interface PartitionPlan {
  readonly cuts: readonly Cut[];
  /** Nodes that no client reaches. */
  readonly withoutClients: readonly NodeName[];
  /** Whom the partition is about. */
  readonly targets: readonly NodeName[];
  readonly detail: string;
}

export interface PartitionFacts {
  readonly nodeNames: readonly NodeName[];
  readonly leader: NodeName | null;
}

/** Null: this cluster cannot be cut like that now. */
export function planPartition(
  kind: PartitionKind,
  { leader, nodeNames }: PartitionFacts,
  random: Random,
): PartitionPlan | null {
  const order = shuffled(nodeNames, random);
  const anyone = oneOf(nodeNames, random);
  switch (kind) {
    case 'one':
      return anyone === null ? null : split([anyone], nodeNames);
    case 'halves':
      return split(order.slice(0, Math.floor(order.length / 2)), nodeNames);
    case 'majorities-ring':
      return ring(order);
    case 'leader':
    case 'leader-with-clients':
      return leader === null ? null : besideLeader(kind, leader, order);
    case 'deaf':
      return oneWay(anyone, nodeNames, 'deaf');
    case 'mute':
      return oneWay(anyone, nodeNames, 'mute');
    case 'deaf-leader':
      return oneWay(leader, nodeNames, 'deaf');
    case 'mute-leader':
      return oneWay(leader, nodeNames, 'mute');
    case 'bridge':
      return bridge(order);
    case 'chain':
      return linked(order, (left, right) => Math.abs(left - right) === 1, 'only neighbours of');
  }
}

function split(side: readonly NodeName[], all: readonly NodeName[]): PartitionPlan {
  const others = all.filter((name) => !side.includes(name));
  return {
    cuts: bothWays(side, others),
    withoutClients: [],
    targets: side,
    detail: `${side.join(',')} | ${others.join(',')}`,
  };
}

/** The leader is on the smaller side; with `leader-with-clients` so are all clients. */
function besideLeader(
  kind: 'leader' | 'leader-with-clients',
  leader: NodeName,
  order: readonly NodeName[],
): PartitionPlan {
  const company = order.filter((name) => name !== leader);
  const side = [leader, ...company.slice(0, Math.max(0, minorityOf(order.length) - 1))];
  const plan = split(side, order);
  if (kind === 'leader') return { ...plan, detail: `${plan.detail} (${leader} led)` };
  return {
    ...plan,
    withoutClients: order.filter((name) => !side.includes(name)),
    detail: `${plan.detail} (${leader} led, clients on its side)`,
  };
}

function oneWay(
  victim: NodeName | null,
  all: readonly NodeName[],
  how: 'deaf' | 'mute',
): PartitionPlan | null {
  if (victim === null) return null;
  const others = all.filter((name) => name !== victim);
  const cuts = others.map((other) =>
    how === 'deaf' ? { from: other, to: victim } : { from: victim, to: other },
  );
  return { cuts, withoutClients: [], targets: [victim], detail: `${victim} is ${how}` };
}

/** Two halves that only one node sees both of. */
function bridge(order: readonly NodeName[]): PartitionPlan | null {
  const [middle, ...others] = order;
  if (middle === undefined || others.length < 2) return null;
  const half = Math.ceil(others.length / 2);
  const [left, right] = [others.slice(0, half), others.slice(half)];
  return {
    cuts: bothWays(left, right),
    withoutClients: [],
    targets: [middle],
    detail: `${left.join(',')} | ${right.join(',')}, both see ${middle}`,
  };
}

/** Everyone sees a majority, and no two the same one. Three nodes are too few for that. */
function ring(order: readonly NodeName[]): PartitionPlan | null {
  const count = order.length;
  const reach = Math.ceil(minorityOf(count) / 2);
  if (count < 5) return null;
  return linked(
    order,
    (left, right) => {
      const apart = Math.abs(left - right);
      return Math.min(apart, count - apart) <= reach;
    },
    'a ring of',
  );
}

function linked(
  order: readonly NodeName[],
  isLinked: (left: number, right: number) => boolean,
  what: string,
): PartitionPlan | null {
  const cuts = order.flatMap((from, i) =>
    order.flatMap((to, j) => (i === j || isLinked(i, j) ? [] : [{ from, to }])),
  );
  if (cuts.length === 0) return null;
  return { cuts, withoutClients: [], targets: [], detail: `${what} ${order.join('-')}` };
}

const bothWays = (left: readonly NodeName[], right: readonly NodeName[]): readonly Cut[] =>
  left.flatMap((from) =>
    right.flatMap((to) => [
      { from, to },
      { from: to, to: from },
    ]),
  );
