/**
 * Giving the leadership to another voter (thesis 3.10). The leader takes no proposals, brings the
 * target up to its last entry, then sends timeoutNow; the target campaigns at once, and voters
 * overlook their live leader and their bonds for it.
 *
 * A transfer ends after exactly one election timeout. If timeoutNow left by then it may still
 * arrive: it names the leader's last position, and the no-op appended at the end outdates it. A
 * target without that no-op cannot win once it is committed; a target that has it ignores the
 * order. Until then the leader takes no lease (lease.ts).
 *
 * A leader that leaves office by itself (its disk stalls, it was removed) hands over without
 * waiting: nobody can lead this term any more, so the order needs no position (index 0).
 */
import type { LogIndex, NodeId, Term } from '@holdfast/base';
import { assert } from '@holdfast/base';
import { dropLease } from './lease.ts';
import type { StepDownReason, TransferDrop, TransferEnd, TransferOutcome } from './ready.ts';
import type { ReplicaState } from './replica-state.ts';
import { becomeFollower } from './roles/follower.ts';
import { appendNoop } from './roles/leader.ts';
import type { Progress } from './tracker/progress.ts';

export interface Transfer {
  readonly to: NodeId;
  readonly startedTick: number;
  /** Some timeoutNow left, perhaps to an earlier target: ending needs a no-op. */
  isTimeoutNowSent: boolean;
  /** Send timeoutNow as soon as the target is up to date; set again at every heartbeat. */
  isTimeoutNowDue: boolean;
}

export function startTransfer(state: ReplicaState, to: NodeId): TransferOutcome {
  const { isLeader, leader, tracker, transfer } = state;
  const refuse = (drop: TransferDrop): TransferOutcome => ({ ok: false, drop, leader });
  if (!isLeader) return refuse(leader === null ? 'no-leader' : 'not-leader');
  if (to === state.id) return refuse('already-leader');
  if (tracker.progress(to) === undefined) return refuse('not-member');
  if (!tracker.conf.voters.includes(to)) return refuse('not-voter');
  if (transfer?.to === to) return { ok: true };
  if (transfer !== null) announceEnd(state, transfer.to, 'replaced');
  dropLease(state);
  state.transfer = {
    to,
    startedTick: state.tick,
    isTimeoutNowSent: transfer?.isTimeoutNowSent ?? false,
    isTimeoutNowDue: true,
  };
  state.isSettleDue = true;
  return { ok: true };
}

/** Leader, at every tick. */
export function tickTransfer(state: ReplicaState): void {
  const { options, transfer } = state;
  if (transfer === null) return;
  if (state.tick - transfer.startedTick >= options.electionTimeoutTicks) {
    endTransfer(state, transfer, 'timed-out');
  } else if ((state.tick - transfer.startedTick) % options.heartbeatIntervalTicks === 0) {
    transfer.isTimeoutNowDue = true;
    state.isSettleDue = true;
  }
}

/** Leader, just before a Ready: sends timeoutNow once the target holds everything. */
export function settleTransfer(state: ReplicaState): void {
  const { log, tracker, transfer } = state;
  if (transfer === null) return;
  // Changes of members are refused meanwhile.
  assert(tracker.conf.voters.includes(transfer.to), 'the target of a transfer left', { transfer });
  const target = tracker.progress(transfer.to);
  if (!transfer.isTimeoutNowDue || target?.matchIndex !== log.lastIndex) return;
  transfer.isTimeoutNowDue = false;
  transfer.isTimeoutNowSent = true;
  const { lastIndex, lastTerm } = log;
  state.send(transfer.to, { kind: 'timeoutNow', lastIndex, lastTerm });
}

function endTransfer(state: ReplicaState, transfer: Transfer, outcome: TransferEnd): void {
  state.transfer = null;
  announceEnd(state, transfer.to, outcome);
  if (!transfer.isTimeoutNowSent) return;
  appendNoop(state);
  state.lease.holdBackUntil(state.log.lastIndex);
}

const announceEnd = (state: ReplicaState, to: NodeId, outcome: TransferEnd): void =>
  state.outbox.event({ kind: 'transferEnded', to, outcome });

/** Leader: steps down at once and asks the best voter, if there is one, to take over. */
export function handOver(state: ReplicaState, reason: StepDownReason): void {
  const [target] = transferTargets(state);
  if (target !== undefined) {
    const nowhere = { lastIndex: 0 as LogIndex, lastTerm: 0 as Term };
    state.send(target.id, { kind: 'timeoutNow', ...nowhere });
  }
  becomeFollower(state, state.term, null, reason);
  if (target !== undefined) state.handedOverTo = target.id;
}

/** Leader: voters worth a transfer, best first: heard from lately, then by how much they hold. */
export function transferTargets(state: ReplicaState): readonly Progress[] {
  if (!state.isLeader) return [];
  const { options, tick, tracker } = state;
  const { voters } = tracker.conf;
  return tracker.peers
    .filter((peer) => voters.includes(peer.id) && peer.state !== 'snapshot')
    .filter((peer) => peer.hasAnsweredSince(tick - options.electionTimeoutTicks))
    .sort((left, right) => right.matchIndex - left.matchIndex);
}
