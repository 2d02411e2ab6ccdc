/**
 * Leases (thesis 6.4.1): reads at a leader without asking anyone, while a quorum has bound itself
 * not to elect another. Off unless the configuration in force says `isLeaseEnabled`.
 *
 * Followers. A grant in a heartbeat answer, and nothing else, binds: for one minimum election
 * timeout of the own clock, from receipt, the follower neither votes nor pre-votes nor campaigns
 * nor forgets its leader, except in a transfer that the leader itself began. Granting a vote binds
 * alike. A process that starts does not know what it granted before, so it is bound from the start;
 * it granted under a configuration that was durable by then (the gating rule), so it knows that
 * leases may be on.
 *
 * Leader. The lease counts from when the quorum-th newest granted heartbeat was SENT, for less than
 * the followers are bound (drift of both clocks within `leaseDriftPpm`), and is compared with the
 * time of the read, so a process that was stopped finds it expired. It is dropped before timeoutNow
 * leaves, because that lifts the bonds, and not taken again before the no-op that outdates
 * timeoutNow is committed: a candidate without that entry cannot win any more.
 */
import { assert } from '@holdfast/base';
import type { RaftMessage } from './messages.ts';
import type { LeaseReadOutcome } from './ready.ts';
import type { ReplicaState } from './replica-state.ts';
import type { Progress } from './tracker/progress.ts';

type HeartbeatMessage = RaftMessage & { readonly kind: 'heartbeat' };
type HeartbeatResponse = RaftMessage & { readonly kind: 'heartbeatResponse' };

/** The lease ends while the bonds of its quorum still hold, also when both clocks drift apart. */
const LEASE_SHARE_OF_BOND = 0.9;

/** How long after it was sent a granted heartbeat carries the lease. */
export const leaseDurationMs = (options: {
  readonly electionTimeoutTicks: number;
  readonly tickIntervalMs: number;
  readonly leaseDriftPpm: number;
}): number =>
  (options.electionTimeoutTicks * options.tickIntervalMs * LEASE_SHARE_OF_BOND) /
  (1 + options.leaseDriftPpm / 1_000_000);

/** Follower: binds itself if the leader asks and the configuration here allows it. */
export function grantLease(state: ReplicaState, message: HeartbeatMessage): boolean {
  if (!message.isLeaseWanted || !state.tracker.conf.isLeaseEnabled) return false;
  state.bond.start();
  return true;
}

/** True while this replica has promised not to help to elect anyone. */
export const isBound = (state: ReplicaState): boolean => state.bond.isRunning(state.nowMs);

/** Leader: whether heartbeats ask for grants. */
export function isLeaseWanted(state: ReplicaState): boolean {
  dropInterruptedLease(state);
  return (
    state.tracker.conf.isLeaseEnabled &&
    state.transfer === null &&
    state.log.committed >= state.lease.floorIndex
  );
}

/** Leader: `peer` bound itself in answer to a heartbeat of this leadership. */
export function onLeaseGranted(
  state: ReplicaState,
  peer: Progress,
  message: HeartbeatResponse,
): void {
  dropInterruptedLease(state);
  const sentAtMs = state.lease.sentAtMs(message.beat);
  if (sentAtMs !== null && sentAtMs > peer.leaseSentAtMs) peer.leaseSentAtMs = sentAtMs;
}

/** Leader: nothing granted so far counts any more. */
export function dropLease(state: ReplicaState): void {
  state.lease.drop();
  state.tracker.forgetLeases();
}

/** Host time at which the lease ends; -Infinity when there is none. */
export function leaseExpiryMs(state: ReplicaState): number {
  if (!state.isLeader || !state.tracker.conf.isLeaseEnabled || state.transfer !== null)
    return Number.NEGATIVE_INFINITY;
  const floor = Math.max(state.leadershipStartIndex, state.lease.floorIndex);
  if (state.log.committed < floor) return Number.NEGATIVE_INFINITY;
  return state.tracker.quorumLeaseSentAtMs() + leaseDurationMs(state.options);
}

export function leaseRead(state: ReplicaState, nowMs: number): LeaseReadOutcome {
  assert(nowMs >= state.nowMs, 'monotonic time went back', { from: state.nowMs, to: nowMs });
  const { isLeader, leader, log, tracker, transfer } = state;
  if (!isLeader) return { ok: false, drop: leader === null ? 'no-leader' : 'not-leader', leader };
  dropInterruptedLease(state);
  if (!tracker.conf.isLeaseEnabled) return { ok: false, drop: 'lease-disabled', leader };
  if (transfer !== null) return { ok: false, drop: 'transferring', leader };
  if (nowMs >= leaseExpiryMs(state)) return { ok: false, drop: 'no-lease', leader };
  return { ok: true, index: log.committed };
}

/**
 * Leases were switched off since: whoever started afresh in between did not know of its grant, so
 * nothing granted before counts, even though they may be on again.
 */
function dropInterruptedLease(state: ReplicaState): void {
  if (state.tracker.takeLeaseInterruption()) dropLease(state);
}
