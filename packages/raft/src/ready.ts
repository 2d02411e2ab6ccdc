/**
 * The contract between the core and its host, after etcd/raft's Ready and raft-rs's numbered
 * appends. The host, per turn: drains its inbox into `step`, ticks at most twice, then while
 * `hasReady()`: takes `ready()`, hands `append` to the log, sends `send`, keeps each `sendAfter`
 * until `appended(seq)` was called for its seq, applies `apply`, answers `reads`.
 *
 * Ordering the host must keep:
 * - appends become durable in the order of `seq`; `appended(seq)` implies every earlier one;
 * - messages to one peer are sent in the order given (losing some is fine);
 * - `apply` batches are applied in order, then reported by `applied(index)`.
 * Nothing in a Ready may be mutated. Entries are shared, not copied.
 */
import type { Entry, HardState, LogIndex, NodeId, SnapshotMeta, Term } from '@holdfast/base';
import type { ConfAtIndex } from './membership/conf-history.ts';
import type { RaftMessage } from './messages.ts';

export type Role = 'follower' | 'preCandidate' | 'candidate' | 'leader';

/** One atomic record batch: either all of it is durable, or none of it may be relied on. */
export interface AppendRequest {
  /** Strictly increasing by one. */
  readonly seq: number;
  /** Present when term, vote or (lazily) commit changed. */
  readonly hardState: HardState | null;
  /** Every log entry with index >= this is replaced. Set whenever entries overlap the log. */
  readonly truncateFrom: LogIndex | null;
  readonly entries: readonly Entry[];
  /** The log restarts after this snapshot; entries before it are gone. */
  readonly snapshot: SnapshotMeta | null;
  /** False when only the commit hint changed: may ride along with the next synced batch. */
  readonly mustSync: boolean;
}

export interface GatedMessages {
  /** Send once `appended(seq)` was called with at least this. */
  readonly seq: number;
  readonly messages: readonly RaftMessage[];
}

export type ApplyRequest =
  /** Committed and durable on this replica, gapless, in log order. */
  | { readonly kind: 'entries'; readonly entries: readonly Entry[] }
  /** Replace the whole state by this snapshot, whose bytes the host has already received. */
  | { readonly kind: 'snapshot'; readonly meta: SnapshotMeta };

/** A read may be served once the state machine has applied `index`. */
export interface ReadState {
  readonly requestId: number;
  readonly outcome:
    | { readonly kind: 'ready'; readonly index: LogIndex }
    /** Leadership changed before a quorum confirmed it; ask again. */
    | { readonly kind: 'aborted' };
}

export interface SoftState {
  readonly role: Role;
  readonly leader: NodeId | null;
  readonly term: Term;
}

/** For metrics, logs and checkers. Never decides anything. */
export type RaftEvent =
  | {
      readonly kind: 'roleChanged';
      readonly role: Role;
      readonly term: Term;
      readonly leader: NodeId | null;
    }
  | { readonly kind: 'campaignStarted'; readonly term: Term; readonly isPreVote: boolean }
  | { readonly kind: 'voteGranted'; readonly to: NodeId; readonly term: Term }
  | { readonly kind: 'steppedDown'; readonly term: Term; readonly reason: StepDownReason }
  | { readonly kind: 'logTruncated'; readonly from: LogIndex; readonly last: LogIndex }
  | { readonly kind: 'snapshotNeeded'; readonly peer: NodeId; readonly nextIndex: LogIndex }
  | { readonly kind: 'snapshotRestored'; readonly index: LogIndex }
  /** Another configuration is in force: appended, uncovered by a truncation, or of a snapshot. */
  | {
      readonly kind: 'confChanged';
      readonly confIndex: LogIndex;
      readonly cause: 'appended' | 'reverted' | 'restored';
    }
  /** A learner on its way to a vote holds what the log held when the round began. */
  | {
      readonly kind: 'learnerRound';
      readonly peer: NodeId;
      readonly round: number;
      readonly durationTicks: number;
      readonly targetIndex: LogIndex;
    }
  /** Its last round was short enough: it is promoted as soon as nothing stands in the way. */
  | { readonly kind: 'learnerCaughtUp'; readonly peer: NodeId; readonly round: number }
  /** Many rounds and not caught up: the group writes faster than this learner takes over. */
  | { readonly kind: 'catchUpSlow'; readonly peer: NodeId; readonly round: number }
  | { readonly kind: 'transferEnded'; readonly to: NodeId; readonly outcome: TransferEnd }
  /** The oldest append has been waiting for the disk for this many ticks. */
  | { readonly kind: 'diskStalled'; readonly ticks: number }
  | { readonly kind: 'diskRecovered' }
  | { readonly kind: 'messageRefused'; readonly from: NodeId; readonly reason: string }
  /** Refused too. Raise an alarm: a sender is damaged or hostile, or data forked or was lost. */
  | {
      readonly kind: 'contradictionSeen';
      readonly from: NodeId;
      readonly contradiction: Contradiction;
    };

export type Contradiction =
  /** Two leaders in one term. */
  | 'second-leader'
  /** One index and term with two contents. */
  | 'log-forked'
  /** Another entry in the place of one that is committed here. */
  | 'committed-entry-replaced'
  /** A leader counts on entries this replica does not hold: no vote from here until it does. */
  | 'acknowledged-entries-missing';

/**
 * How giving the leadership away ended. `completed` and `superseded` are known once this replica
 * hears who leads now: the target, or another.
 */
export type TransferEnd = 'completed' | 'superseded' | 'timed-out' | 'replaced';

export type StepDownReason = 'higher-term' | 'quorum-lost' | 'removed' | 'disk-stalled';

export interface Ready {
  readonly append: AppendRequest | null;
  readonly send: readonly RaftMessage[];
  readonly sendAfter: readonly GatedMessages[];
  readonly apply: ApplyRequest | null;
  readonly reads: readonly ReadState[];
  /** Present when role, leader or term changed. */
  readonly soft: SoftState | null;
  /**
   * Present when another configuration is in force than the host was told last (at first: than
   * `LogReader.initialState()` said). Not necessarily committed, and it may be taken back.
   */
  readonly conf: ConfAtIndex | null;
  readonly events: readonly RaftEvent[];
}

/** Why a proposal or read was refused before it had any effect: certainly nothing happened. */
export type DropReason =
  | 'no-leader'
  | 'not-leader'
  | 'transferring'
  | 'over-uncommitted'
  | 'conf-pending'
  | 'conf-invalid'
  | 'would-lose-quorum'
  | 'not-member'
  | 'disk-stalled'
  | 'too-large'
  | 'too-many-reads';

export type TransferDrop =
  | 'no-leader'
  | 'not-leader'
  | 'already-leader'
  | 'not-member'
  | 'not-voter';

export type LeaseReadDrop =
  | 'no-leader'
  | 'not-leader'
  | 'transferring'
  | 'lease-disabled'
  | 'no-lease';

export type ProposeOutcome =
  /** Committed if and only if the entry applied at `index` has this term. */
  | { readonly ok: true; readonly term: Term; readonly index: LogIndex }
  | { readonly ok: false; readonly drop: DropReason; readonly leader: NodeId | null };

export type ProposeConfOutcome =
  /** In force at once; committed if and only if the entry applied at `index` has this term. */
  | { readonly ok: true; readonly term: Term; readonly index: LogIndex }
  /** `reason` says in words what stands in the way. */
  | {
      readonly ok: false;
      readonly drop: DropReason;
      readonly leader: NodeId | null;
      readonly reason: string;
    };

export type ReadOutcome =
  | { readonly ok: true; readonly requestId: number }
  | { readonly ok: false; readonly drop: DropReason; readonly leader: NodeId | null };

/** Accepted means begun; how it ended is told by a `transferEnded` event. */
export type TransferOutcome =
  | { readonly ok: true }
  | { readonly ok: false; readonly drop: TransferDrop; readonly leader: NodeId | null };

/** The read may be served once the state machine has applied `index`. */
export type LeaseReadOutcome =
  | { readonly ok: true; readonly index: LogIndex }
  | { readonly ok: false; readonly drop: LeaseReadDrop; readonly leader: NodeId | null };
