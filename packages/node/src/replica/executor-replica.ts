/** What executing requests needs of a replica: a seam, so that reads and writes test alone. */
import type { LogIndex } from '@holdfast/base';
import type { LeaderHint } from '@holdfast/protocol';
import type { ShardHost } from '@holdfast/shard-worker';
import type { LaneReader } from '../routing/lane-reader.ts';
import type { NodeStatus } from '../service-api.ts';
import type { ApplyResult } from '../state/apply-result.ts';
import type { MetaMachine } from '../state/meta-machine.ts';

export interface ExecutorReplica {
  readonly host: ShardHost;
  readonly lanes: LaneReader;
  readonly meta: MetaMachine;
  readonly isLeaseAllowed: boolean;
  nextStampMs(): number;
  /** Resolves when this node is a leader that may propose; rejects NOT_LEADER, NO_LEADER. */
  whenLeaderReady(deadlineMs: number): Promise<void>;
  propose(bytes: Uint8Array, deadlineMs: number): Promise<ApplyResult>;
  linearizable(deadlineMs: number): Promise<LogIndex>;
  stalenessMs(): number;
  leaderHint(): LeaderHint | null;
  status(): NodeStatus;
}
