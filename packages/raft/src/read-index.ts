/**
 * Linearizable reads without writing to the log (thesis section 6.4).
 *
 * The leader notes its commit index, then has a quorum confirm, after that moment, that it is still
 * the leader. Rounds are numbered within a leadership and travel with heartbeats; a confirmation of
 * a round confirms all before it, never one after it. One round is under way; reads that arrive
 * meanwhile share the next. A new leader serves no read before it has committed an entry of its own
 * term: until then its commit index may lie behind what was acknowledged.
 *
 * A round asks just enough voters for a quorum, those that answered last; if one of them does not
 * answer within a tick, everyone is asked. This halves what a read costs a group of three.
 *
 * A follower asks the leader for an index and serves the read from its own state.
 */
import type { LogIndex } from '@holdfast/base';
import type { RaftMessage } from './messages.ts';
import type { WaitingRead } from './read-queues.ts';
import type { ReplicaState } from './replica-state.ts';
import { broadcastHeartbeat, sendHeartbeats } from './replication.ts';

type ReadIndexRequest = RaftMessage & { readonly kind: 'readIndex' };
type ReadIndexResponse = RaftMessage & { readonly kind: 'readIndexResponse' };

/** Starts the next round when reads wait, none is under way and reads may be served at all. */
export function settleLeaderReads(state: ReplicaState): void {
  const { leaderReads, log } = state;
  if (!leaderReads.hasWaiting || leaderReads.underWay !== null) return;
  if (log.committed < state.leadershipStartIndex) return;
  leaderReads.startRound(log.committed, state.tick);
  sendHeartbeats(state, state.tracker.confirmingPeers);
  confirmReads(state);
}

/** Whoever was asked for the round has not answered within a tick: now everyone is asked. */
export function widenLateRound(state: ReplicaState): void {
  const { underWay } = state.leaderReads;
  if (underWay !== null && underWay.startedTick < state.tick) broadcastHeartbeat(state);
}

/** Answers the round under way once a quorum has confirmed it. */
export function confirmReads(state: ReplicaState): void {
  const { leaderReads, tracker } = state;
  const underWay = leaderReads.underWay;
  if (underWay === null) return;
  if (tracker.quorumConfirmedRound(leaderReads.round) < underWay.round) return;
  leaderReads.finishRound();
  for (const read of underWay.reads) answerRead(state, read, underWay.index);
  if (leaderReads.hasWaiting) state.isSettleDue = true;
}

/** Leadership is lost: nobody confirms these reads any more. */
export function abortLeaderReads(state: ReplicaState): void {
  for (const read of state.leaderReads.reset()) answerRead(state, read, null);
}

function answerRead(state: ReplicaState, read: WaitingRead, index: LogIndex | null): void {
  const { requestId } = read;
  if (read.from !== null) {
    state.send(read.from, { kind: 'readIndexResponse', requestId, index });
    return;
  }
  const outcome = index === null ? { kind: 'aborted' as const } : { kind: 'ready' as const, index };
  state.outbox.read({ requestId, outcome });
}

export function onReadIndexRequest(state: ReplicaState, message: ReadIndexRequest): void {
  const { from, requestId } = message;
  if (!state.isLeader || state.leaderReads.isFull) {
    state.reply(message, { kind: 'readIndexResponse', requestId, index: null });
    return;
  }
  state.leaderReads.add({ from, requestId });
  state.isSettleDue = true;
}

/** Follower: asks the leader once for all reads collected since the last time. */
export function settleForwardedReads(state: ReplicaState): void {
  const { forwardedReads, leader } = state;
  if (leader === null || leader === state.id || !forwardedReads.hasCollected) return;
  const requestId = forwardedReads.startBatch(state.tick + state.options.electionTimeoutTicks);
  state.send(leader, { kind: 'readIndex', requestId });
}

export function onReadIndexResponse(state: ReplicaState, message: ReadIndexResponse): void {
  if (message.from !== state.leader) return;
  const { index } = message;
  for (const requestId of state.forwardedReads.finish(message.requestId)) {
    const outcome =
      index === null ? { kind: 'aborted' as const } : { kind: 'ready' as const, index };
    state.outbox.read({ requestId, outcome });
  }
}

/** The leader changed or was forgotten: its answer would not arrive, or would prove nothing. */
export function abortForwardedReads(state: ReplicaState): void {
  abort(state, state.forwardedReads.reset());
}

export function expireForwardedReads(state: ReplicaState): void {
  abort(state, state.forwardedReads.expire(state.tick));
}

function abort(state: ReplicaState, requestIds: readonly number[]): void {
  for (const requestId of requestIds)
    state.outbox.read({ requestId, outcome: { kind: 'aborted' } });
}
