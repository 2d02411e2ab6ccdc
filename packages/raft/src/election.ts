/**
 * Elections (sections 5.2, 5.4.1; thesis 6.4, 9.6): who campaigns, who is granted a vote, and what
 * the answers decide.
 *
 * A voter does not ask whether its own configuration knows the candidate: a voter that has not yet
 * heard of a change must not block the side that has.
 */
import { isBound } from './lease.ts';
import type { RaftMessage, VoteRefusal } from './messages.ts';
import type { VoteResult } from './quorum/majority.ts';
import type { ReplicaState } from './replica-state.ts';
import { becomeCandidate, becomePreCandidate, recordVote } from './roles/candidate.ts';
import { becomeFollower } from './roles/follower.ts';
import { becomeLeader } from './roles/leader.ts';

type VoteRequest = RaftMessage & { readonly kind: 'preVote' | 'vote' };
type VoteResponse = RaftMessage & { readonly kind: 'preVoteResponse' | 'voteResponse' };
type TimeoutNow = RaftMessage & { readonly kind: 'timeoutNow' };

/**
 * Starts an election now, with a pre-vote round when those are on. Does nothing on leaders and
 * learners, while acknowledged entries may be missing here, while bound by a lease, and while the
 * disk has stopped: what cannot become durable cannot lead.
 */
export function campaign(state: ReplicaState): void {
  if (state.isLeader || !state.isPromotable || state.isOwing) return;
  if (isBound(state) || state.isDiskStalled) return;
  if (state.options.preVote) startPreVote(state);
  else startVote(state, { isTransfer: false });
}

function startPreVote(state: ReplicaState): void {
  becomePreCandidate(state);
  const { campaign: current, log, outbox, tracker } = state;
  const nonce = current!.nonce;
  outbox.event({ kind: 'campaignStarted', term: state.term, isPreVote: true });
  for (const peer of tracker.voterPeers)
    state.sendPreVote(peer, {
      kind: 'preVote',
      lastIndex: log.lastIndex,
      lastTerm: log.lastTerm,
      nonce,
      isTransfer: false,
    });
  decide(state, tracker.voteResult(current!.votes));
}

function startVote(state: ReplicaState, { isTransfer }: { readonly isTransfer: boolean }): void {
  becomeCandidate(state, isTransfer);
  const { campaign: current, log, outbox, tracker } = state;
  const nonce = current!.nonce;
  outbox.event({ kind: 'campaignStarted', term: state.term, isPreVote: false });
  for (const peer of tracker.voterPeers)
    state.send(peer, {
      kind: 'vote',
      lastIndex: log.lastIndex,
      lastTerm: log.lastTerm,
      nonce,
      isTransfer,
    });
}

/** A candidate's own vote counts from when it, and the log it was asked with, are durable. */
export function ownVoteDurable(state: ReplicaState): void {
  const { campaign: current, log } = state;
  if (current === null || current.isPreVote || log.durableSeq < current.ownVoteSeq) return;
  if (current.votes.has(state.id)) return;
  decide(state, recordVote(state, state.id, true));
}

export function onVoteResponse(state: ReplicaState, message: VoteResponse): void {
  const { campaign: current } = state;
  const isPreVote = message.kind === 'preVoteResponse';
  if (current === null || current.isPreVote !== isPreVote || current.nonce !== message.nonce)
    return;
  decide(state, recordVote(state, message.from, message.isGranted));
}

function decide(state: ReplicaState, result: VoteResult): void {
  const { campaign: current } = state;
  if (result === 'pending' || current === null) return;
  if (result === 'lost') {
    becomeFollower(state, state.term, null);
    return;
  }
  if (current.isPreVote) startVote(state, { isTransfer: false });
  else if (current.votes.get(state.id) === true) becomeLeader(state);
}

/** True when this replica has a live leader, so that a vote would only disturb it. */
export function isLeaderAlive(state: ReplicaState): boolean {
  const { checkQuorum, electionTimeoutTicks } = state.options;
  if (!checkQuorum || state.leader === null) return false;
  if (state.isLeader) return true;
  // Both: ticks stand still in a stopped process, and a late one must not count a pause of the
  // process as silence of the leader.
  return state.electionElapsedTicks < electionTimeoutTicks && state.contact.isRunning(state.nowMs);
}

/** Answers a request whose term is the present one, or for a pre-vote any term. */
export function onVoteRequest(state: ReplicaState, message: VoteRequest): void {
  const refusal = refusalOf(state, message);
  if (refusal === null && message.kind === 'vote') {
    state.vote = message.from;
    state.electionElapsedTicks = 0;
    if (state.tracker.conf.isLeaseEnabled) state.bond.start();
    state.outbox.event({ kind: 'voteGranted', to: message.from, term: state.term });
  }
  answerVote(state, message, refusal);
}

export function answerVote(
  state: ReplicaState,
  message: VoteRequest,
  refusal: VoteRefusal | null,
): void {
  state.reply(message, {
    kind: message.kind === 'vote' ? 'voteResponse' : 'preVoteResponse',
    isGranted: refusal === null,
    nonce: message.nonce,
    refusal,
  });
}

function refusalOf(state: ReplicaState, message: VoteRequest): VoteRefusal | null {
  if (message.term < state.term) return 'lower-term';
  if (state.isOwing) return 'not-ready';
  if (!message.isTransfer && (isLeaderAlive(state) || isBound(state))) return 'leader-alive';
  const isFutureTerm = message.kind === 'preVote' && message.term > state.term;
  const isFree = state.vote === null && state.leader === null;
  if (!isFutureTerm && !isFree && state.vote !== message.from) return 'already-voted';
  return state.log.isUpToDate(message.lastIndex, message.lastTerm) ? null : 'log-behind';
}

/** The leader asks this replica to take over now: no pre-vote, and voters ignore their leader. */
export function onTimeoutNow(state: ReplicaState, message: TimeoutNow): void {
  const { log } = state;
  if (state.role !== 'follower' || state.leader !== message.from || !state.isPromotable) return;
  if (state.isOwing) return;
  if (message.lastIndex !== 0 && log.lastIndex < message.lastIndex) {
    state.refuse(message, 'transfer-log-behind');
    return;
  }
  // The leader has gone on since: the transfer is over (transfer.ts).
  if (message.lastIndex !== 0 && log.lastIndex > message.lastIndex) {
    state.refuse(message, 'transfer-outdated');
    return;
  }
  if (state.isDiskStalled) {
    state.refuse(message, 'disk-stalled');
    return;
  }
  startVote(state, { isTransfer: true });
}
