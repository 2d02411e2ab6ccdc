/**
 * What replicas say to each other. Addresses are node ids of the group's configuration; the sender
 * is filled in by the transport from the authenticated connection, never believed from the bytes.
 *
 * The envelope names group and both incarnations: a wiped disk is another replica, and what was
 * meant for the old one must not count for the new one (the wiped-disk test in election.test.ts).
 */
import type {
  Entry,
  GroupId,
  Incarnation,
  LogIndex,
  NodeId,
  SnapshotMeta,
  Term,
} from '@holdfast/base';

export interface Envelope {
  readonly group: GroupId;
  readonly from: NodeId;
  readonly to: NodeId;
  readonly fromIncarnation: Incarnation;
  readonly toIncarnation: Incarnation;
  /** Term of the sender; for `preVote` the term it would campaign at. */
  readonly term: Term;
}

/** Why a vote or pre-vote was refused. For logs and tests; never decides anything. */
export type VoteRefusal =
  | 'lower-term'
  | 'already-voted'
  | 'log-behind'
  | 'leader-alive'
  | 'not-ready';

/** Where a follower's log first disagrees: lets both sides skip whole terms (section 5.3). */
export interface AppendRejection {
  /** prevIndex of the refused append: matches the reject to what it answers. */
  readonly rejectedIndex: LogIndex;
  /** Largest index <= rejectedIndex where the follower's term is at most the leader's prevTerm. */
  readonly hintIndex: LogIndex;
  readonly hintTerm: Term;
}

export type RaftMessageBody =
  | {
      readonly kind: 'preVote' | 'vote';
      readonly lastIndex: LogIndex;
      readonly lastTerm: Term;
      /** Minted per campaign and echoed: a grant for another campaign does not count. u32. */
      readonly nonce: number;
      /** Leadership transfer: bypasses the leader-alive refusal. */
      readonly isTransfer: boolean;
    }
  | {
      readonly kind: 'preVoteResponse' | 'voteResponse';
      readonly isGranted: boolean;
      readonly nonce: number;
      readonly refusal: VoteRefusal | null;
    }
  | {
      readonly kind: 'append';
      readonly prevIndex: LogIndex;
      readonly prevTerm: Term;
      /** Chain sum of the entry at prevIndex. */
      readonly prevSum: Uint8Array;
      readonly entries: readonly Entry[];
      readonly commit: LogIndex;
    }
  | {
      readonly kind: 'appendResponse';
      /** Highest index known durable and equal to the leader's. 0 in a rejection. */
      readonly matchIndex: LogIndex;
      readonly rejection: AppendRejection | null;
    }
  | {
      readonly kind: 'heartbeat';
      /** min(match of the receiver, commit): never past what the receiver is known to hold. */
      readonly commit: LogIndex;
      /** Increases with every ReadIndex round; a response confirms this round and all before. */
      readonly round: number;
    }
  | { readonly kind: 'heartbeatResponse'; readonly round: number }
  | { readonly kind: 'snapshot'; readonly meta: SnapshotMeta }
  | { readonly kind: 'timeoutNow'; readonly lastIndex: LogIndex; readonly lastTerm: Term }
  | { readonly kind: 'readIndex'; readonly requestId: number }
  | {
      readonly kind: 'readIndexResponse';
      readonly requestId: number;
      /** null: refused, the receiver was not a leader that can serve reads. */
      readonly index: LogIndex | null;
    };

export type RaftMessage = Envelope & RaftMessageBody;
export type RaftMessageKind = RaftMessageBody['kind'];
