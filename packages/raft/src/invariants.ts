/**
 * What must hold between any two calls, in production too. `checkCheap` runs after every input and
 * costs a few comparisons; `checkDeep` also looks at every member and is for tests and dumps.
 */
import type { LogIndex, Term } from '@holdfast/base';
import { assert } from '@holdfast/base';
import type { ReplicaState } from './replica-state.ts';

/** What must never go back within one life of a replica. */
export interface HighWater {
  term: Term;
  committed: LogIndex;
  applied: LogIndex;
  durableSeq: number;
}

export const highWaterOf = (state: ReplicaState): HighWater => ({
  term: state.term,
  committed: state.log.committed,
  applied: state.log.applied,
  durableSeq: state.log.durableSeq,
});

export function checkCheap(state: ReplicaState, before: HighWater): void {
  const { log, term } = state;
  const { committed, applied, applying, durable, durableSeq, lastIndex } = log;
  assert(term >= before.term, 'term went back', { from: before.term, to: term });
  assert(committed >= before.committed, 'commit index went back', {
    from: before.committed,
    to: committed,
  });
  assert(applied >= before.applied, 'applied index went back');
  assert(durableSeq >= before.durableSeq, 'durable append went back');
  assert(applied <= applying, 'applied past what was handed out', { applied, applying });
  assert(applying <= committed, 'applying past the commit index', { applying, committed });
  assert(committed <= lastIndex, 'committed past the log', { committed, lastIndex });
  assert(durable <= lastIndex, 'durable past the log', { durable, lastIndex });
  assert(log.isSnapshotPending || applying <= durable, 'applying what is not durable', {
    applying,
    durable,
  });
  assert((state.campaign !== null) === isCampaigning(state), 'campaign and role disagree', {
    role: state.role,
  });
  assert(state.isLeader === (state.leader === state.id), 'leader and role disagree', {
    role: state.role,
    leader: state.leader,
  });
  before.term = term;
  before.committed = committed;
  before.applied = applied;
  before.durableSeq = durableSeq;
}

const isCampaigning = (state: ReplicaState): boolean =>
  state.role === 'preCandidate' || state.role === 'candidate';

export function checkDeep(state: ReplicaState): void {
  const { log, options } = state;
  assert(state.electionDueTicks >= options.electionTimeoutTicks, 'election timeout is too short');
  assert(log.lastTerm <= state.term, 'an entry is from the future', { lastTerm: log.lastTerm });
  checkMembership(state);
  if (!state.isLeader) return;
  const durable = log.durableHardState;
  assert(durable.term === state.term && durable.vote === state.id, 'leader vote is not durable');
  assert(log.lastTerm === state.term, 'a leader has entries of its term');
  for (const peer of state.tracker.peers) {
    const { id, matchIndex, nextIndex } = peer;
    assert(matchIndex < nextIndex, 'match must stay below next', { id, matchIndex, nextIndex });
    assert(matchIndex <= log.lastIndex, 'match past the log', { id, matchIndex });
    assert(nextIndex <= log.lastIndex + 1, 'next past the log', { id, nextIndex });
    assert((peer.state === 'snapshot') === (peer.pendingSnapshot !== null), 'snapshot state', {
      id,
    });
  }
  const { own } = state.tracker;
  assert(own === undefined || own.matchIndex <= log.durable, 'own match is not durable');
}

function checkMembership(state: ReplicaState): void {
  const { confs, log, tracker } = state;
  const { conf, confIndex } = state.membership;
  assert(tracker.conf === conf, 'the tracker goes by another configuration', { confIndex });
  assert(confIndex <= log.lastIndex, 'the configuration is not in the log', { confIndex });
  if (!state.isLeader) return;
  for (const member of conf.members) {
    const progress = tracker.progress(member.nodeId);
    assert(progress?.incarnation === member.incarnation, 'progress of another life', { member });
  }
  // Before the leader knows its first entry committed, its commit index says too little.
  if (log.committed < state.leadershipStartIndex) return;
  const pending = confs.countAfter(log.committed);
  assert(pending <= 1, 'more than one configuration is uncommitted', { pending });
}
