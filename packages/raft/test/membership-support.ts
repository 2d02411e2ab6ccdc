/** Steps of membership changes in few words. */
import type { NodeId } from '@holdfast/base';
import { nodeId } from '@holdfast/base';
import type { ConfChangeStep } from '../src/membership/change.ts';
import { memberNamed } from '../src/testing/core-cluster.ts';

/** With `replaces` (a name or null) the learner is to become a voter. */
export function addLearner(
  name: string,
  { life = 1, replaces }: { readonly life?: number; readonly replaces?: string | null } = {},
): ConfChangeStep {
  const promotion = replaces === undefined ? null : { replaces: replaces as NodeId | null };
  return { kind: 'addLearner', member: memberNamed(name, life), promotion };
}

export const addVoter = (name: string, life = 1): ConfChangeStep => ({
  kind: 'addVoter',
  member: memberNamed(name, life),
});

export const promote = (name: string): ConfChangeStep => ({
  kind: 'promote',
  nodeId: nodeId(name),
});

export const demote = (name: string): ConfChangeStep => ({ kind: 'demote', nodeId: nodeId(name) });

export const remove = (name: string): ConfChangeStep => ({ kind: 'remove', nodeId: nodeId(name) });
