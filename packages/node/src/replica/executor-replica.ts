/** What executing requests needs of a replica: a seam, so that reads and writes test alone. */
import type { LogIndex } from '@holdfast/base';
import type {
  ChangeMembersResult,
  LeaderHint,
  ListMembersResult,
  TransferLeadershipRequest,
  TransferLeadershipResult,
} from '@holdfast/protocol';
import type { ShardHost } from '@holdfast/shard-worker';
import type { LaneReader } from '../routing/lane-reader.ts';
import type { ResultCache } from '../routing/result-cache.ts';
import type { MembershipState, NodeStatus } from '../service-api.ts';
import type { WriteGate } from '../standby/write-gate.ts';
import type { ApplyResult } from '../state/apply-result.ts';
import type { MetaMachine } from '../state/meta-machine.ts';
import type { ChangeRequest } from './member-plan.ts';
import type { ProposalOrigin } from './proposals.ts';
import type { ReplicaLimits } from './replica-parts.ts';

/** Membership as operators ask for it. */
export interface MembershipRequests {
  readonly state: MembershipState;
  list(deadlineMs: number): Promise<ListMembersResult>;
  change(request: ChangeRequest, deadlineMs: number): Promise<ChangeMembersResult>;
  transfer(
    request: TransferLeadershipRequest,
    deadlineMs: number,
  ): Promise<TransferLeadershipResult>;
}

export interface ExecutorReplica {
  readonly host: ShardHost;
  readonly lanes: LaneReader;
  readonly searchCache: ResultCache;
  readonly meta: MetaMachine;
  readonly membership: MembershipRequests;
  readonly gate: WriteGate;
  /** Of collections that are created now. */
  readonly sealLimits: Pick<ReplicaLimits, 'sealRowCount' | 'sealSizeBytes'>;
  /** Of drops that do not say it themselves; 0: gone at once. */
  readonly dropRetentionMs: number;
  /** Monotonic; deadlines are in this time. */
  nowMs(): number;
  nextStampMs(): number;
  /** Resolves when this node is a leader that may propose; rejects NOT_LEADER, NO_LEADER. */
  whenLeaderReady(deadlineMs: number): Promise<void>;
  propose(bytes: Uint8Array, deadlineMs: number, origin: ProposalOrigin): Promise<ApplyResult>;
  linearizable(deadlineMs: number): Promise<LogIndex>;
  /** Rejects LEASE_DISABLED when the group does not allow leases. */
  lease(deadlineMs: number): Promise<LogIndex>;
  stalenessMs(): number;
  leaderHint(): LeaderHint | null;
  status(): NodeStatus;
}
