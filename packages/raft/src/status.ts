/** A picture of one replica for health pages, metrics and checkers. Never decides anything. */
import type { ConfState, LogIndex, NodeId, Term } from '@holdfast/base';
import { leaseExpiryMs } from './lease.ts';
import type { CatchUp } from './membership/catch-up.ts';
import type { Role } from './ready.ts';
import type { ReplicaState } from './replica-state.ts';
import type { ProgressState } from './tracker/progress.ts';

export interface PeerStatus {
  readonly id: NodeId;
  /** Highest index the peer is known to hold durably. */
  readonly matchIndex: LogIndex;
  readonly nextIndex: LogIndex;
  readonly state: ProgressState;
  /** Append messages on their way to it. */
  readonly inflightCount: number;
  /** Heard from within the last election timeout. */
  readonly isRecentlyActive: boolean;
  /** Learners with a promotion only: how far they are on the way to a vote. */
  readonly catchUp: CatchUp | null;
}

export interface RaftStatus {
  readonly id: NodeId;
  readonly role: Role;
  readonly term: Term;
  readonly vote: NodeId | null;
  readonly leader: NodeId | null;
  readonly commit: LogIndex;
  readonly applied: LogIndex;
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
  /** This replica's log is durable up to here. */
  readonly durable: LogIndex;
  /** Appends handed out and not yet reported durable. */
  readonly appendsUnderWay: number;
  /** Sorted by id; empty unless leader. This replica is not among them. */
  readonly peers: readonly PeerStatus[];
  readonly uncommittedSizeBytes: number;
  readonly pendingReadCount: number;
  /** Messages refused since the start. */
  readonly refusedMessageCount: number;
  /** Leader: the voter that is being asked to take over. */
  readonly transferee: NodeId | null;
  /** Ticks the oldest append has been waiting for the disk; 0 when none waits. */
  readonly diskStalledTicks: number;
  /** The append has waited so long that this replica neither leads nor campaigns. */
  readonly isDiskStalled: boolean;
  /** Leader: host time until which it may serve lease reads; null when it may not at all. */
  readonly leaseExpiryMs: number | null;
  /** In force here; not necessarily committed. */
  readonly conf: ConfState;
  readonly confIndex: LogIndex;
  /** `conf` is not known to be committed yet. */
  readonly isConfPending: boolean;
}

export function statusOf(state: ReplicaState): RaftStatus {
  const { log, outbox, options, tracker } = state;
  const activeSinceTick = state.tick - options.electionTimeoutTicks;
  const expiryMs = leaseExpiryMs(state);
  const peers = state.isLeader ? tracker.peers : [];
  return {
    id: state.id,
    role: state.role,
    term: state.term,
    vote: state.vote,
    leader: state.leader,
    commit: log.committed,
    applied: log.applied,
    firstIndex: log.firstIndex,
    lastIndex: log.lastIndex,
    durable: log.durable,
    appendsUnderWay: log.seq - log.durableSeq,
    peers: peers.map((peer) => ({
      id: peer.id,
      matchIndex: peer.matchIndex as LogIndex,
      nextIndex: peer.nextIndex as LogIndex,
      state: peer.state,
      inflightCount: peer.inflights.count,
      isRecentlyActive: peer.lastHeardTick >= activeSinceTick,
      catchUp: peer.catchUp === null ? null : { ...peer.catchUp },
    })),
    uncommittedSizeBytes: state.uncommitted.sizeBytes,
    pendingReadCount: state.leaderReads.count + state.forwardedReads.count,
    refusedMessageCount: outbox.refusedCount,
    transferee: state.transfer?.to ?? null,
    diskStalledTicks: state.diskWaitingTicks,
    isDiskStalled: state.isDiskStalled,
    leaseExpiryMs: expiryMs === Number.NEGATIVE_INFINITY ? null : expiryMs,
    conf: tracker.conf,
    confIndex: state.membership.confIndex,
    isConfPending: state.isConfPending,
  };
}
