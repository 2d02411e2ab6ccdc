/**
 * Leader (sections 5.2-5.4): opens with a no-op of its own term, extends the log, keeps its
 * authority with heartbeats, and steps down when no quorum answers.
 */
import type { Entry, EntryType, LogIndex } from '@holdfast/base';
import { assert, ENTRY_HEADER_SIZE_BYTES } from '@holdfast/base';
import { LeaderLease } from '../leader-lease.ts';
import { abortForwardedReads, widenLateRound } from '../read-index.ts';
import type { DropReason, ProposeOutcome } from '../ready.ts';
import type { ReplicaState } from '../replica-state.ts';
import { advanceCommit, broadcastHeartbeat } from '../replication.ts';
import { UncommittedBytes } from '../uncommitted.ts';
import { becomeFollower } from './follower.ts';

const EMPTY = new Uint8Array(0);

export function becomeLeader(state: ReplicaState): void {
  const { log, tracker } = state;
  const durable = log.durableHardState;
  assert(state.role === 'candidate', 'only a candidate becomes leader', { role: state.role });
  assert(durable.term === state.term && durable.vote === state.id, 'leader vote is not durable', {
    term: state.term,
    durableTerm: durable.term,
  });
  assert(log.durable === log.lastIndex, 'a new leader must hold its log durably', {
    durable: log.durable,
    last: log.lastIndex,
  });
  state.role = 'leader';
  state.leader = state.id;
  state.campaign = null;
  state.electionElapsedTicks = 0;
  state.heartbeatElapsedTicks = 0;
  state.uncommitted = new UncommittedBytes();
  abortForwardedReads(state);
  state.leaderReads.reset();
  state.lease = new LeaderLease(state.options.electionTimeoutTicks);
  state.announceHandOver(state.id);
  tracker.reset(log.lastIndex, state.tick);
  state.leadershipStartIndex = (log.lastIndex + 1) as LogIndex;
  appendNoop(state);
  ownEntriesDurable(state);
  state.announceRole();
}

export function appendNoop(state: ReplicaState): void {
  appendOwn(state, 'noop', [EMPTY]);
}

/** Extends the log; indexes and sums follow on. The caller checked the limits. */
export function appendOwn(
  state: ReplicaState,
  type: EntryType,
  payloads: readonly Uint8Array[],
): void {
  const { log, options, term } = state;
  let index = log.lastIndex;
  let sum = log.lastSum;
  const entries: Entry[] = [];
  for (const data of payloads) {
    index = (index + 1) as LogIndex;
    sum = options.hash(sum, term, index, type, data);
    entries.push({ index, term, type, data, sum });
  }
  log.append(entries);
  state.isSettleDue = true;
}

export function propose(state: ReplicaState, payloads: readonly Uint8Array[]): ProposeOutcome {
  assert(payloads.length > 0, 'nothing was proposed');
  const { leader, log, options, term, uncommitted } = state;
  const drop = (reason: DropReason): ProposeOutcome => ({ ok: false, drop: reason, leader });
  if (!state.isLeader) {
    if (leader !== null) return drop('not-leader');
    return drop(state.isDiskStalled ? 'disk-stalled' : 'no-leader');
  }
  if (state.transfer !== null) return drop('transferring');
  let sizeBytes = 0;
  for (const payload of payloads) {
    const entrySizeBytes = ENTRY_HEADER_SIZE_BYTES + payload.byteLength;
    if (entrySizeBytes > options.entrySizeBytesMax) return drop('too-large');
    sizeBytes += entrySizeBytes;
  }
  if (sizeBytes > options.uncommittedSizeBytesMax) return drop('too-large');
  if (uncommitted.sizeBytes + sizeBytes > options.uncommittedSizeBytesMax)
    return drop('over-uncommitted');
  const index = (log.lastIndex + 1) as LogIndex;
  appendOwn(state, 'normal', payloads);
  uncommitted.add(log.lastIndex, sizeBytes);
  return { ok: true, term, index };
}

/** The leader's own log counts for the quorum only as far as it is durable. */
export function ownEntriesDurable(state: ReplicaState): void {
  const { own } = state.tracker;
  if (own === undefined) return;
  own.acknowledge(state.log.durable);
  advanceCommit(state);
}

export function tickLeader(state: ReplicaState): void {
  const { electionTimeoutTicks, heartbeatIntervalTicks, checkQuorum } = state.options;
  if (checkQuorum && !state.tracker.isQuorumActive(state.tick - electionTimeoutTicks)) {
    becomeFollower(state, state.term, null, 'quorum-lost');
    return;
  }
  state.heartbeatElapsedTicks += 1;
  if (state.heartbeatElapsedTicks < heartbeatIntervalTicks) {
    widenLateRound(state);
    return;
  }
  state.heartbeatElapsedTicks = 0;
  broadcastHeartbeat(state);
}
