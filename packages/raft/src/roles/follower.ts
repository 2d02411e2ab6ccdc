/**
 * Follower (sections 5.2, 5.3): adopts terms, takes over the leader's log, acknowledges what is
 * durable (the gating rule holds the acknowledgement back until then).
 *
 * Messages that contradict what this replica holds never get here (contradiction.ts); the
 * assertions say so once more where harm would be done.
 */
import type { LogIndex, NodeId, Term } from '@holdfast/base';
import { assert, must, sumsEqual } from '@holdfast/base';
import { grantLease, isBound } from '../lease.ts';
import type { ConfAtIndex } from '../membership/conf-history.ts';
import { readConfs, revertConfs, takeConf } from '../membership/effect.ts';
import type { RaftMessage } from '../messages.ts';
import { abortForwardedReads, abortLeaderReads } from '../read-index.ts';
import type { StepDownReason } from '../ready.ts';
import type { ReplicaState } from '../replica-state.ts';
import { UncommittedBytes } from '../uncommitted.ts';

type AppendMessage = RaftMessage & { readonly kind: 'append' };
type HeartbeatMessage = RaftMessage & { readonly kind: 'heartbeat' };

/**
 * Follows `leader`, or nobody, at `term`. The vote is cleared only by a new term: stepping down
 * within a term must not allow a second vote in it. The election clock goes on unless this replica
 * led: being asked for a vote is no reason to wait longer, or an
 * unelectable server that keeps asking would starve the others.
 */
export function becomeFollower(
  state: ReplicaState,
  term: Term,
  leader: NodeId | null,
  reason: StepDownReason = 'higher-term',
): void {
  assert(term >= state.term, 'term must not go back', { from: state.term, to: term });
  const wasLeader = state.isLeader;
  const isNews = state.role !== 'follower' || state.term !== term || state.leader !== leader;
  const hadTerm = state.term;
  if (term > state.term) {
    state.term = term;
    state.vote = null;
  }
  state.role = 'follower';
  state.campaign = null;
  if (state.leader !== leader || hadTerm !== term) abortForwardedReads(state);
  state.leader = leader;
  if (wasLeader) {
    state.electionElapsedTicks = 0;
    state.uncommitted = new UncommittedBytes();
    state.isSettleDue = false;
    state.handedOverTo = state.transfer?.to ?? null;
    state.transfer = null;
    abortLeaderReads(state);
    state.outbox.event({ kind: 'steppedDown', term: hadTerm, reason });
  }
  if (leader !== null) state.announceHandOver(leader);
  if (!isNews) return;
  state.drawElectionTimeout();
  state.announceRole();
}

/**
 * Forgets a leader known to be gone, so that votes are granted by the log rule at once. False when
 * there was none to forget, or this replica is bound to it.
 */
export function forgetLeader(state: ReplicaState): boolean {
  if (state.role !== 'follower' || state.leader === null || isBound(state)) return false;
  becomeFollower(state, state.term, null);
  return true;
}

/** A sign of life from the leader of the present term. */
export function followLeader(state: ReplicaState, from: NodeId): void {
  assert(!state.isLeader, 'two leaders in one term', { term: state.term, other: from });
  assert(state.leader === null || state.leader === from, 'two leaders in one term', {
    term: state.term,
    known: state.leader,
    other: from,
  });
  if (state.role !== 'follower' || state.leader !== from) becomeFollower(state, state.term, from);
  state.electionElapsedTicks = 0;
  state.contact.start();
}

export function onHeartbeat(state: ReplicaState, message: HeartbeatMessage): void {
  const { log } = state;
  // The leader names at most what this replica acknowledged.
  assert(message.commit <= log.lastIndex, 'entries this replica acknowledged are missing here', {
    acknowledged: message.commit,
    last: log.lastIndex,
  });
  log.commitTo(message.commit);
  state.reply(message, {
    kind: 'heartbeatResponse',
    round: message.round,
    beat: message.beat,
    isLeaseGranted: grantLease(state, message),
  });
}

export function onAppend(state: ReplicaState, message: AppendMessage): void {
  const { log } = state;
  if (message.prevIndex + 1 < log.firstIndex) {
    // Compacted here, so committed, so equal to the leader's.
    acknowledge(state, message, log.committed);
    return;
  }
  if (log.term(message.prevIndex) !== message.prevTerm) {
    reject(state, message);
    return;
  }
  assert(sumsEqual(log.sumAt(message.prevIndex), message.prevSum), 'logs have forked', {
    index: message.prevIndex,
    term: message.prevTerm,
  });
  const confs = must(readConfs(message.entries), 'a malformed configuration was let in');
  const lastNew = (message.prevIndex + message.entries.length) as LogIndex;
  if (!takeEntries(state, message, confs)) {
    state.refuse(message, 'log-tail-full');
    return;
  }
  // Entries past the last new one are not known to be the leader's.
  log.commitTo(Math.min(message.commit, lastNew) as LogIndex);
  acknowledge(state, message, Math.max(lastNew, log.committed) as LogIndex);
}

/**
 * False when too much is waiting for the disk: the leader sends it again later. `confs` are the
 * configurations among the entries.
 */
function takeEntries(
  state: ReplicaState,
  message: AppendMessage,
  confs: readonly ConfAtIndex[],
): boolean {
  const { log, outbox, options } = state;
  const { entries } = message;
  let newFrom = 0;
  for (; newFrom < entries.length; newFrom++) {
    const entry = entries[newFrom]!;
    const ownTerm = log.term(entry.index);
    if (ownTerm !== entry.term) break;
    assert(sumsEqual(log.sumAt(entry.index), entry.sum), 'logs have forked', {
      index: entry.index,
      term: entry.term,
    });
  }
  if (newFrom === entries.length) return true;
  if (log.tailSizeBytes > options.uncommittedSizeBytesMax) return false;
  const firstNew = entries[newFrom]!.index;
  if (firstNew <= log.lastIndex) {
    outbox.event({ kind: 'logTruncated', from: firstNew, last: log.lastIndex });
    outbox.dropAcksFrom(firstNew);
    log.truncate(firstNew);
    revertConfs(state, firstNew);
  }
  log.append(newFrom === 0 ? entries : entries.slice(newFrom));
  for (const conf of confs) if (conf.confIndex >= firstNew) takeConf(state, conf);
  return true;
}

function acknowledge(state: ReplicaState, message: AppendMessage, matchIndex: LogIndex): void {
  state.reply(message, { kind: 'appendResponse', matchIndex, rejection: null });
}

function reject(state: ReplicaState, message: AppendMessage): void {
  const hint = state.log.findConflictByTerm(message.prevIndex, message.prevTerm);
  state.reply(message, {
    kind: 'appendResponse',
    matchIndex: 0 as LogIndex,
    rejection: { rejectedIndex: message.prevIndex, hintIndex: hint.index, hintTerm: hint.term },
  });
}
