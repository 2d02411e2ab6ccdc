/** What a replica is built of: the seam between assembly and behaviour. */
import type {
  Clock,
  ConfState,
  GroupId,
  HoldfastError,
  Logger,
  LogIndex,
  NodeId,
  Random,
  Timers,
} from '@holdfast/base';
import type { RaftCore } from '@holdfast/raft';
import type { ShardHost } from '@holdfast/shard-worker';
import type { CheckpointRoot, FileSystem, Wal } from '@holdfast/storage';
import type { PeerTransport } from '../service-api.ts';
import type { MetaMachine } from '../state/meta-machine.ts';
import type { Defer } from './driver.ts';

export interface ReplicaOptions {
  readonly nodeId: NodeId;
  readonly group: GroupId;
  readonly dataDirectory: string;
  readonly tickIntervalMs: number;
  readonly electionTimeoutMs: number;
  readonly checkpointIntervalMs: number;
  readonly checkpointLogSizeBytes: number;
  readonly retainedEntryCount: number;
  readonly sessionIdleTimeoutMs: number;
}

export interface ReplicaParts {
  readonly core: RaftCore;
  readonly wal: Wal;
  readonly host: ShardHost;
  readonly meta: MetaMachine;
  readonly root: CheckpointRoot | null;
  readonly conf: ConfState;
  readonly confIndex: LogIndex;
  readonly fileSystem: FileSystem;
  readonly transport: PeerTransport;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly defer: Defer;
  readonly logger: Logger;
  readonly nextCheckpointId: (index: LogIndex) => string;
  /** Public address of a member, null while unknown. */
  readonly publicAddressOf: (nodeId: NodeId) => string | null;
  readonly onFailure: (error: HoldfastError) => void;
}
