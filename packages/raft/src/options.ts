/** Options of one replica. Validated once, then frozen. Ticks are the host's (20 ms by default). */
import type { EntryHasher, GroupId, Incarnation, NodeId, Random } from '@holdfast/base';

export interface RaftOptions {
  readonly id: NodeId;
  readonly group: GroupId;
  readonly incarnation: Incarnation;
  readonly random: Random;
  readonly hash: EntryHasher;
  /** Ticks without a leader before campaigning, randomised to [n, 2n). Default 30. */
  readonly electionTimeoutTicks?: number;
  /** Default 5. */
  readonly heartbeatIntervalTicks?: number;
  /** Time between two ticks of the host. Leases are counted with it. Default 20. */
  readonly tickIntervalMs?: number;
  /** Default true. */
  readonly preVote?: boolean;
  /** Default true. */
  readonly checkQuorum?: boolean;
  /** Encoded entry bytes in one append message. Default 256 KiB. */
  readonly appendSizeBytesMax?: number;
  /** Append messages in flight to one peer. Default 64. */
  readonly inflightCountMax?: number;
  /** Append bytes in flight to one peer. Default 8 MiB. */
  readonly inflightSizeBytesMax?: number;
  /** Proposed, uncommitted bytes on the leader; over it proposals are dropped. Default 64 MiB. */
  readonly uncommittedSizeBytesMax?: number;
  /** Encoded bytes of one entry. Default 16 MiB. */
  readonly entrySizeBytesMax?: number;
  /** Bytes handed out by `apply` and not yet reported by `applied`. Default 32 MiB. */
  readonly applyingSizeBytesMax?: number;
  /** ReadIndex requests waiting for a quorum. Default 65,536. */
  readonly pendingReadCountMax?: number;
  /** Catch-up rounds of a learner after which it is reported as slow. Default 10. */
  readonly learnerRoundsMax?: number;
  /** Ticks an append may wait for the disk before a leader steps down. Default: 2 s worth. */
  readonly diskStallTicks?: number;
  /** Largest drift of any member's clock, in parts per million. Default 1,000. */
  readonly leaseDriftPpm?: number;
}
