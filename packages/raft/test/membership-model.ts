/**
 * A reference model of membership changes: one plain record per node and life, no lists to keep
 * sorted, refusals by looking at the whole change first. Slow and obvious; the real one must agree.
 */
import type { ConfState } from '@holdfast/base';
import type { ConfChange, ConfChangeStep } from '../src/membership/change.ts';
import { memberNamed } from '../src/testing/core-cluster.ts';

interface ModelMember {
  readonly life: string;
  readonly address: string;
  readonly isVoter: boolean;
  /** undefined: no promotion. */
  readonly replaces?: string | null | undefined;
}

type Side = Readonly<Record<string, ModelMember>>;

export interface Model {
  readonly now: Side;
  /** Present between two configurations: what it was before. */
  readonly before: Side | null;
  readonly isLeftByItself: boolean;
  readonly hasLeases: boolean;
}

export function modelOf(voters: readonly string[]): Model {
  const now: Record<string, ModelMember> = {};
  for (const name of voters)
    now[name] = { life: memberNamed(name).incarnation, address: `${name}:2`, isVoter: true };
  return { now, before: null, isLeftByItself: false, hasLeases: false };
}

/** null: refused. */
export function modelNext(model: Model, { steps, transition }: ConfChange): Model | null {
  if (model.before !== null)
    return steps.length === 0 ? { ...model, before: null, isLeftByItself: false } : null;
  if (steps.length === 0 || !areNamesFine(model.now, steps)) return null;
  let now: Side = model.now;
  let hasLeases = model.hasLeases;
  const asked: string[] = [];
  for (const step of steps) {
    if (step.kind === 'setLeases') {
      hasLeases = step.isEnabled;
      continue;
    }
    const next = take(now, step);
    if (next === null) return null;
    if (step.kind === 'addLearner' && step.promotion?.replaces) asked.push(step.member.nodeId);
    now = next;
  }
  const settled = settle(now, asked);
  if (settled === null || votersOf(settled).length === 0) return null;
  const lives = Object.values(settled).map(({ life }) => life);
  if (new Set(lives).size < lives.length) return null;
  if (hasLeases === model.hasLeases && same(settled, model.now)) return null;
  const differing = [...votersOf(settled), ...votersOf(model.now)].filter(
    (name) => model.now[name]?.isVoter !== settled[name]?.isVoter,
  );
  const isJoint = transition === 'joint' || new Set(differing).size > 1;
  if (!isJoint) return { now: settled, before: null, isLeftByItself: false, hasLeases };
  for (const name of votersOf(model.now)) {
    const life = settled[name]?.life;
    if (life !== undefined && life !== model.now[name]?.life) return null;
  }
  return { now: settled, before: model.now, isLeftByItself: transition !== 'joint', hasLeases };
}

/** Everybody is named once, except a node that leaves in one life and comes back in another. */
function areNamesFine(now: Side, steps: readonly ConfChangeStep[]): boolean {
  const byName = new Map<string, ConfChangeStep[]>();
  for (const step of steps) {
    if (step.kind === 'setLeases') continue;
    const name = 'member' in step ? step.member.nodeId : step.nodeId;
    byName.set(name, [...(byName.get(name) ?? []), step]);
  }
  return [...byName].every(([name, [first, second, third]]) => {
    if (second === undefined) return true;
    if (third !== undefined || first?.kind !== 'remove' || second.kind !== 'addLearner')
      return false;
    return now[name]?.life !== second.member.incarnation;
  });
}

function take(now: Side, step: Exclude<ConfChangeStep, { kind: 'setLeases' }>): Side | null {
  switch (step.kind) {
    case 'addLearner':
    case 'addVoter': {
      const { nodeId: name, incarnation: life, address } = step.member;
      if (now[name] !== undefined) return null;
      const isVoter = step.kind === 'addVoter';
      const replaces = step.kind === 'addLearner' ? step.promotion?.replaces : undefined;
      return { ...now, [name]: { life, address, isVoter, replaces } };
    }
    case 'promote':
    case 'demote': {
      const known = now[step.nodeId];
      const isVoter = step.kind === 'promote';
      if (known === undefined || known.isVoter === isVoter) return null;
      return { ...now, [step.nodeId]: { ...known, isVoter, replaces: undefined } };
    }
    case 'remove': {
      const { [step.nodeId]: gone, ...rest } = now;
      return gone === undefined ? null : rest;
    }
    case 'updateMember': {
      const { nodeId: name, incarnation: life, address } = step.member;
      const known = now[name];
      return known?.life === life ? { ...now, [name]: { ...known, address } } : null;
    }
  }
}

/** A wish to replace somebody who has no vote: void, or refused when it was just asked for. */
function settle(now: Side, asked: readonly string[]): Side | null {
  const settled: Record<string, ModelMember> = {};
  const taken: string[] = [];
  for (const [name, member] of Object.entries(now)) {
    const { replaces } = member;
    const isVoid = replaces !== undefined && replaces !== null && !now[replaces]?.isVoter;
    if (isVoid && asked.includes(name)) return null;
    settled[name] = isVoid ? { ...member, replaces: null } : member;
    if (replaces && !isVoid) taken.push(replaces);
  }
  return new Set(taken).size < taken.length ? null : settled;
}

const votersOf = (side: Side): string[] =>
  Object.keys(side)
    .filter((name) => side[name]?.isVoter)
    .sort();

const same = (left: Side, right: Side): boolean => text(left) === text(right);

const text = (side: Side): string =>
  Object.entries(side)
    .map(([name, { life, address, isVoter, replaces }]) =>
      [name, life, address, isVoter, replaces === undefined ? '-' : replaces].join(),
    )
    .sort()
    .join(' ');

/** What of `conf` is not as the model says, or null. */
export function sameAs({ now, before, isLeftByItself, hasLeases }: Model, conf: ConfState) {
  const learners = Object.keys(now).filter((name) => !now[name]?.isVoter);
  const isOutgoing = (name: string): boolean => before?.[name]?.isVoter ?? false;
  const outgoing = before === null ? [] : votersOf(before);
  const members: Record<string, ModelMember> = { ...now };
  for (const name of outgoing) members[name] ??= before![name]!;
  const wishes = learners.filter((name) => now[name]?.replaces !== undefined && !isOutgoing(name));
  const expected = {
    voters: votersOf(now),
    votersOutgoing: outgoing,
    learners: learners.filter((name) => !isOutgoing(name)).sort(),
    learnersNext: learners.filter(isOutgoing).sort(),
    autoLeave: isLeftByItself,
    members: Object.keys(members)
      .sort()
      .map((name) => [name, members[name]!.life, members[name]!.address].join()),
    promotions: wishes.sort().map((name) => `${name}:${now[name]?.replaces}`),
    isLeaseEnabled: hasLeases,
  };
  const actual = {
    ...conf,
    members: conf.members.map((one) => [one.nodeId, one.incarnation, one.address].join()),
    promotions: conf.promotions.map(({ nodeId, replaces }) => `${nodeId}:${replaces}`),
  };
  for (const key of Object.keys(expected) as (keyof typeof expected)[])
    if (String(expected[key]) !== String(actual[key]))
      return `${key}: model ${expected[key]}, real ${actual[key]}`;
  return null;
}
