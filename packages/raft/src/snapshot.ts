/**
 * Snapshots of both sides (section 7). Bytes never enter the core.
 *
 * Leader: a peer whose entries are compacted is put in snapshot state and sent a `snapshot`
 * message. Its host sees the message, fetches the named snapshot out of band, and only then steps
 * the message into its core. The leader repeats the same message until it hears of the outcome,
 * because it may be lost; receiving hosts recognise a repetition by the snapshot id.
 *
 * Follower: a snapshot at or behind the commit index, or one the log already agrees with, changes
 * nothing but is acknowledged; any other replaces the log.
 */
import type { LogIndex, NodeId } from '@holdfast/base';
import { assert, sumsEqual } from '@holdfast/base';
import { restoreConf } from './membership/effect.ts';
import type { RaftMessage } from './messages.ts';
import type { ReplicaState } from './replica-state.ts';
import type { Progress } from './tracker/progress.ts';

type SnapshotMessage = RaftMessage & { readonly kind: 'snapshot' };

/** Leader: `peer` needs entries that are compacted. */
export function sendSnapshot(state: ReplicaState, peer: Progress): void {
  const { log, outbox } = state;
  const nextIndex = peer.nextIndex as LogIndex;
  // Tried again at the peer's next sign of life: one that is not there is not worth a transfer.
  peer.becomeProbe();
  peer.isProbeSent = true;
  if (!isActive(state, peer)) return;
  const meta = log.snapshotMeta;
  outbox.event({ kind: 'snapshotNeeded', peer: peer.id, nextIndex });
  if (meta === null || meta.index + 1 < log.firstIndex) return;
  peer.becomeSnapshot(meta, state.tick);
  state.send(peer.id, { kind: 'snapshot', meta });
}

/** Leader, on a sign of life from a peer in snapshot state: repeats a message that may be lost. */
export function repeatSnapshot(state: ReplicaState, peer: Progress): void {
  if (peer.pendingSnapshot === null) return;
  if (state.tick - peer.snapshotSentTick < state.options.electionTimeoutTicks) return;
  peer.snapshotSentTick = state.tick;
  state.send(peer.id, { kind: 'snapshot', meta: peer.pendingSnapshot });
}

/** Leader: the host says how the transfer of `snapshotId` to `peer` ended. */
export function reportSnapshot(
  state: ReplicaState,
  id: NodeId,
  snapshotId: string,
  isOk: boolean,
): void {
  const peer = state.tracker.progress(id);
  if (!state.isLeader || peer === undefined || peer.pendingSnapshot?.id !== snapshotId) return;
  if (!isOk) peer.pendingSnapshot = null;
  peer.becomeProbe();
  // Either way the peer is given time until its next sign of life.
  peer.isProbeSent = true;
}

export function onSnapshot(state: ReplicaState, message: SnapshotMessage): void {
  const { log, outbox } = state;
  const { meta } = message;
  if (meta.index <= log.committed) {
    acknowledge(state, message, log.committed);
    return;
  }
  if (log.term(meta.index) === meta.term) {
    assert(sumsEqual(log.sumAt(meta.index), meta.sum), 'snapshot: log and snapshot have forked', {
      index: meta.index,
      term: meta.term,
    });
    log.commitTo(meta.index);
    acknowledge(state, message, meta.index);
    return;
  }
  const committedBefore = log.committed;
  outbox.dropAcksFrom((committedBefore + 1) as LogIndex);
  log.restore(meta);
  restoreConf(state, meta, committedBefore);
  outbox.event({ kind: 'snapshotRestored', index: meta.index });
  acknowledge(state, message, meta.index);
}

/** Leaves only once everything the log now holds is durable (the gating rule). */
function acknowledge(state: ReplicaState, message: SnapshotMessage, matchIndex: LogIndex): void {
  state.reply(message, { kind: 'appendResponse', matchIndex, rejection: null });
}

const isActive = (state: ReplicaState, peer: Progress): boolean =>
  state.tick - peer.lastHeardTick <= state.options.electionTimeoutTicks;
