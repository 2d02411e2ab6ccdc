/**
 * Who may change the membership, and when (thesis section 4.1; the bug of July 2015: a leader must
 * have committed an entry of its own term first, else two leaders could go by configurations whose
 * quorums do not meet). One change at a time, and none that would leave the group without a quorum
 * of voters that answer.
 */
import type { ConfState, LogIndex, NodeId } from '@holdfast/base';
import { encodeConf, memberOf } from '@holdfast/base';
import { majorityVote } from '../quorum/majority.ts';
import type { DropReason, ProposeConfOutcome } from '../ready.ts';
import type { ReplicaState } from '../replica-state.ts';
import { advanceCommit } from '../replication.ts';
import { appendOwn } from '../roles/leader.ts';
import { type ConfChange, isJoint, nextConf } from './change.ts';
import { takeConf } from './effect.ts';
import { noteFarewells } from './farewell.ts';

export function proposeConf(state: ReplicaState, change: ConfChange): ProposeConfOutcome {
  const { leader, log, term } = state;
  const refuse = (drop: DropReason, reason: string): ProposeConfOutcome => {
    return { ok: false, drop, leader, reason };
  };
  if (!state.isLeader)
    return refuse(leader === null ? 'no-leader' : 'not-leader', 'only the leader changes members');
  if (state.transfer !== null)
    return refuse('transferring', `the leadership is on its way to ${state.transfer.to}`);
  const pending = pendingReason(state, change);
  if (pending !== null) return refuse('conf-pending', pending);
  const next = nextConf(state.membership.conf, change);
  if (!next.ok) return refuse('conf-invalid', next.reason);
  const misnamed = flawForLeader(state, next.conf);
  if (misnamed !== null) return refuse('conf-invalid', misnamed);
  const loss = quorumLoss(state, next.conf);
  if (loss !== null) return refuse('would-lose-quorum', loss);
  appendConf(state, next.conf);
  return { ok: true, term, index: log.lastIndex };
}

/** What a change has to wait for, or null. */
export function pendingReason(state: ReplicaState, change: ConfChange): string | null {
  if (state.log.committed < state.leadershipStartIndex)
    return 'the leader is new and has not committed an entry of its own yet';
  if (state.isConfPending) return 'another change is not committed yet';
  if (isJoint(state.membership.conf) && change.steps.length > 0)
    return 'the group is between two configurations';
  return null;
}

/** Appends `conf`, which is in force from now on. */
function appendConf(state: ReplicaState, conf: ConfState): void {
  const before = state.membership.conf;
  appendOwn(state, 'conf', [encodeConf(conf)]);
  const confIndex: LogIndex = state.log.lastIndex;
  noteFarewells(state, before, conf, confIndex);
  takeConf(state, { conf, confIndex });
  // A smaller group may hold everything up to here already.
  advanceCommit(state);
}

/** A leader is alive in its life, so nobody can have taken its place in another. */
function flawForLeader(state: ReplicaState, next: ConfState): string | null {
  const own = memberOf(next, state.id);
  if (own === null || own.incarnation === state.options.incarnation) return null;
  return `${state.id} leads the group and has not lost its disk`;
}

/** Why the voters that answer could not decide anything in `next`, or null. */
function quorumLoss(state: ReplicaState, next: ConfState): string | null {
  const { conf } = state.membership;
  // Leaving a joint configuration and changing learners asks nothing new of the voters.
  if (isJoint(conf) || (!isJoint(next) && next.voters.join() === conf.voters.join())) return null;
  for (const voters of [next.voters, next.votersOutgoing]) {
    const silent = voters.filter((id) => !isAnswering(state, next, id));
    if (majorityVote(voters.map((id) => !silent.includes(id))) === 'won') continue;
    return `of the voters ${voters.join(', ')} these do not answer: ${silent.join(', ')}`;
  }
  return null;
}

function isAnswering(state: ReplicaState, next: ConfState, id: NodeId): boolean {
  const { options, tick, tracker } = state;
  if (id === state.id) return true;
  const progress = tracker.progress(id);
  if (progress === undefined || progress.incarnation !== memberOf(next, id)?.incarnation)
    return false;
  return progress.hasAnsweredSince(tick - options.electionTimeoutTicks);
}
