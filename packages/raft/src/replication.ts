/**
 * The leader's side of log replication (section 5.3): who is owed which entries, what the answers
 * prove, and when an entry is committed.
 *
 * Sending is deferred to just before a Ready (`settleReplication`), so that all proposals and
 * acknowledgements of one host turn become at most a few messages per peer.
 */
import type { Entry, LogIndex } from '@holdfast/base';
import { entrySizeBytes } from '@holdfast/base';
import { isLeaseWanted } from './lease.ts';
import type { RaftMessage } from './messages.ts';
import type { ReplicaState } from './replica-state.ts';
import { repeatSnapshot, sendSnapshot } from './snapshot.ts';
import type { Progress } from './tracker/progress.ts';

type AppendResponse = RaftMessage & { readonly kind: 'appendResponse' };

const NO_ENTRIES: readonly Entry[] = [];

/** Sends every peer what it is owed now. */
export function settleReplication(state: ReplicaState): void {
  for (const peer of state.tracker.peers) {
    if (peer.state === 'snapshot') continue;
    if (peer.state === 'probe') {
      if (!peer.isProbeSent) sendAppend(state, peer);
      continue;
    }
    while (peer.state === 'replicate' && isAppendDue(state, peer))
      if (!sendAppend(state, peer)) break;
  }
}

function isAppendDue(state: ReplicaState, peer: Progress): boolean {
  if (peer.isEmptyAppendDue) return true;
  if (peer.nextIndex <= state.log.lastIndex && !peer.inflights.isFull) return true;
  // A new commit index is passed on at once, not with the next proposal.
  return Math.min(state.log.committed, peer.nextIndex - 1) > peer.sentCommit;
}

/**
 * One append to `peer`, or a snapshot when its entries are gone. False when nothing was sent: also
 * while the disk does not give them; the next answer to a heartbeat makes another try.
 */
function sendAppend(state: ReplicaState, peer: Progress): boolean {
  const { log, options } = state;
  const prevIndex = (peer.nextIndex - 1) as LogIndex;
  const prevTerm = log.term(prevIndex);
  const prevSum = log.sum(prevIndex);
  const isWindowOpen = peer.state === 'probe' || !peer.inflights.isFull;
  const high = (log.lastIndex + 1) as LogIndex;
  const low = peer.nextIndex as LogIndex;
  const entries =
    low < high && isWindowOpen ? log.entries(low, high, options.appendSizeBytesMax) : NO_ENTRIES;
  if (entries === 'unreadable') return false;
  if (prevTerm === null || prevSum === null || entries === null) {
    sendSnapshot(state, peer);
    return false;
  }
  const commit = log.committed;
  state.send(peer.id, { kind: 'append', prevIndex, prevTerm, prevSum, entries, commit });
  const lastSent = (prevIndex + entries.length) as LogIndex;
  if (entries.length > 0) peer.sentEntries(lastSent, sizeOf(entries));
  if (peer.state === 'probe') peer.isProbeSent = true;
  peer.isEmptyAppendDue = false;
  peer.sentCommit = Math.max(peer.sentCommit, Math.min(commit, lastSent));
  return true;
}

function sizeOf(entries: readonly Entry[]): number {
  let sizeBytes = 0;
  for (const entry of entries) sizeBytes += entrySizeBytes(entry);
  return sizeBytes;
}

export function broadcastHeartbeat(state: ReplicaState): void {
  sendHeartbeats(state, state.tracker.peers);
}

export function sendHeartbeats(state: ReplicaState, peers: readonly Progress[]): void {
  const { round } = state.leaderReads;
  const beat = state.lease.beatAt(state.nowMs);
  const wanted = isLeaseWanted(state);
  for (const peer of peers) {
    const commit = Math.min(peer.matchIndex, state.log.committed) as LogIndex;
    state.send(peer.id, { kind: 'heartbeat', commit, round, beat, isLeaseWanted: wanted });
  }
}

export function onAppendResponse(
  state: ReplicaState,
  peer: Progress,
  message: AppendResponse,
): void {
  const { log } = state;
  const { rejection } = message;
  if (rejection !== null) {
    // Both sides skip whole terms: one round trip per term that differs, not per entry.
    const hint = log.findConflictByTerm(rejection.hintIndex, rejection.hintTerm);
    if (peer.reject(rejection.rejectedIndex, hint.index)) state.isSettleDue = true;
    return;
  }
  const isNews = peer.acknowledge(message.matchIndex);
  if (!isNews && !isProbeAnswered(peer, message.matchIndex) && !isSnapshotDone(state, peer)) return;
  switch (peer.state) {
    case 'probe':
      peer.becomeReplicate();
      break;
    case 'replicate':
      peer.inflights.freeUpTo(peer.matchIndex);
      break;
    case 'snapshot':
      if (isSnapshotDone(state, peer)) peer.becomeReplicate();
      break;
  }
  state.isSettleDue = true;
  advanceCommit(state);
}

/** The logs agree up to where the probe started; an answer to something older says less. */
const isProbeAnswered = (peer: Progress, matchIndex: LogIndex): boolean =>
  peer.state === 'probe' && matchIndex === peer.matchIndex && peer.nextIndex === matchIndex + 1;

/**
 * The report of the transfer may be lost: holding the snapshot, or what our log starts after, is
 * proof enough. When the log has been compacted further meanwhile, a newer snapshot follows.
 */
const isSnapshotDone = (state: ReplicaState, peer: Progress): boolean =>
  peer.pendingSnapshot !== null &&
  (peer.matchIndex >= peer.pendingSnapshot.index || peer.matchIndex + 1 >= state.log.firstIndex);

export function onHeartbeatResponse(state: ReplicaState, peer: Progress): void {
  if (peer.state === 'snapshot') {
    repeatSnapshot(state, peer);
    return;
  }
  peer.isProbeSent = false;
  // Everything in the window may have been lost: free one slot, so that something moves again.
  if (peer.state === 'replicate' && peer.inflights.isFull) peer.inflights.freeFirst();
  if (peer.matchIndex < state.log.lastIndex) {
    peer.isEmptyAppendDue = peer.state === 'replicate';
    state.isSettleDue = true;
  }
  if (peer.state === 'probe') state.isSettleDue = true;
}

/**
 * Section 5.4.2: only an entry of the leader's own term is committed by counting; what lies before
 * it is committed with it.
 */
export function advanceCommit(state: ReplicaState): void {
  const { log, tracker } = state;
  const index = tracker.quorumMatchIndex();
  if (index <= log.committed || log.term(index) !== state.term) return;
  log.commitTo(index);
  state.uncommitted.committed(index);
  state.isSettleDue = true;
}
