/** Steps of membership changes, and what a whole group does with them, in few words. */
import type { ConfState, NodeId } from '@holdfast/base';
import { nodeId } from '@holdfast/base';
import { type ConfChangeStep, isJoint } from '../src/membership/change.ts';
import type { ProposeConfOutcome, RaftEvent } from '../src/ready.ts';
import { CoreCluster, memberNamed } from '../src/testing/core-cluster.ts';
import { at } from './support.ts';

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

export const THREE = ['a', 'b', 'c'];

export function groupOf(voters: readonly string[], learners: readonly string[] = []): CoreCluster {
  const cluster = new CoreCluster({ seed: 7, voters, learners });
  cluster.elect(voters[0]!);
  cluster.settle();
  return cluster;
}

export const statusOf = (cluster: CoreCluster, id: string) => cluster.replica(id).core.status();

/** Ticks everybody and lets everything arrive, `count` times. */
export function pass(cluster: CoreCluster, count: number): void {
  for (let i = 0; i < count; i++) {
    for (const id of cluster.up) cluster.tick(id);
    cluster.settle();
  }
}

/** Ticks until somebody leads; returns who and after how many ticks. */
export function untilLed(
  cluster: CoreCluster,
  by?: string,
): { readonly id: string; readonly ticks: number } {
  for (let ticks = 1; ticks <= 200; ticks++) {
    pass(cluster, 1);
    const leader = cluster.leader();
    if (leader !== null && (by === undefined || leader.id === by)) return { id: leader.id, ticks };
  }
  throw new Error('nobody leads');
}

export const dropOf = (outcome: ProposeConfOutcome) => (outcome.ok ? 'accepted' : outcome.drop);

export const ask = (cluster: CoreCluster, id: string, ...steps: readonly ConfChangeStep[]) =>
  dropOf(cluster.replica(id).core.proposeConf({ steps }));

export const voters = (conf: ConfState): string =>
  isJoint(conf) ? `${conf.voters.join('')}|${conf.votersOutgoing.join('')}` : conf.voters.join('');

export const confEntries = (cluster: CoreCluster, id: string) => {
  const { log } = cluster.replica(id);
  const entries = log.entries(log.firstIndex(), at(log.lastIndex() + 1), 1_000_000);
  return entries === 'compacted' ? [] : entries.filter(({ type }) => type === 'conf');
};

export const eventsOf = <Kind extends RaftEvent['kind']>(
  cluster: CoreCluster,
  id: string,
  kind: Kind,
) =>
  cluster
    .replica(id)
    .events.filter((event): event is RaftEvent & { kind: Kind } => event.kind === kind);
