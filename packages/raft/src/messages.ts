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
  /** Log index of the newest configuration the sender holds (effective on append). */
  readonly confIndex: LogIndex;
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
      /** Counts the leader's heartbeat broadcasts: the leader knows when each was sent. */
      readonly beat: number;
      /** The leader asks the receiver to bind itself not to vote for a while (lease.ts). */
      readonly isLeaseWanted: boolean;
    }
  | {
      readonly kind: 'heartbeatResponse';
      readonly round: number;
      readonly beat: number;
      /** The sender will neither vote, pre-vote nor forget its leader for an election timeout. */
      readonly isLeaseGranted: boolean;
    }
  | { readonly kind: 'snapshot'; readonly meta: SnapshotMeta }
  | { readonly kind: 'timeoutNow'; readonly lastIndex: LogIndex; readonly lastTerm: Term }
  | { readonly kind: 'readIndex'; readonly requestId: number }
  | {
      readonly kind: 'readIndexResponse';
      readonly requestId: number;
      /** null: refused, the receiver was not a leader that can serve reads. */
      readonly index: LogIndex | null;
    }
  | {
      /** A replica that found its own log damaged asks for entries low..high-1 (repair/). */
      readonly kind: 'entryRequest';
      readonly requestId: number;
      readonly low: LogIndex;
      readonly high: LogIndex;
    }
  | {
      readonly kind: 'entryResponse';
      readonly requestId: number;
      readonly low: LogIndex;
      /** From `low` on without a gap, cut by size; only what passed its checksum. */
      readonly entries: readonly Entry[];
      /** Bounds of the sender's log: what lies before was compacted, so it was committed. */
      readonly firstIndex: LogIndex;
      readonly lastIndex: LogIndex;
      /** The sender cannot tell what it holds at the end of `entries`: no proof of absence. */
      readonly isDamaged: boolean;
      /**
       * The sender leads its term while it answers: its log is the log of that term, `lastIndex`
       * counts what its own disk has not confirmed yet.
       */
      readonly isLeader: boolean;
    };

export type RaftMessage = Envelope & RaftMessageBody;
export type RaftMessageKind = RaftMessageBody['kind'];
