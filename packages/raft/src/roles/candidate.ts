/**
 * Candidate and pre-candidate (section 5.2, thesis section 9.6). A pre-candidate keeps its term and
 * vote; a candidate's own vote counts only once it is durable, like everyone else's.
 */
import type { NodeId, Term } from '@holdfast/base';
import { assert } from '@holdfast/base';
import type { VoteResult } from '../quorum/majority.ts';
import { abortForwardedReads } from '../read-index.ts';
import type { ReplicaState } from '../replica-state.ts';

export function becomePreCandidate(state: ReplicaState): void {
  assert(!state.isLeader, 'a leader does not campaign', { term: state.term });
  enter(state, 'preCandidate');
  state.campaign = {
    isPreVote: true,
    isTransfer: false,
    nonce: state.options.random.nextU32(),
    votes: new Map([[state.id, true]]),
    ownVoteSeq: 0,
  };
}

export function becomeCandidate(state: ReplicaState, isTransfer: boolean): void {
  assert(!state.isLeader, 'a leader does not campaign', { term: state.term });
  state.term = (state.term + 1) as Term;
  state.vote = state.id;
  enter(state, 'candidate');
  state.campaign = {
    isPreVote: false,
    isTransfer,
    nonce: state.options.random.nextU32(),
    votes: new Map(),
    // Term and vote have just changed, so the next Ready has an append that carries them.
    ownVoteSeq: state.log.seq + 1,
  };
}

function enter(state: ReplicaState, role: 'preCandidate' | 'candidate'): void {
  state.role = role;
  state.leader = null;
  state.electionElapsedTicks = 0;
  state.drawElectionTimeout();
  abortForwardedReads(state);
  state.announceRole();
}

/** The first answer of a voter stands. */
export function recordVote(state: ReplicaState, from: NodeId, isGranted: boolean): VoteResult {
  const { campaign, tracker } = state;
  assert(campaign !== null, 'vote counted outside a campaign', { from });
  if (!campaign.votes.has(from)) campaign.votes.set(from, isGranted);
  return tracker.voteResult(campaign.votes);
}
