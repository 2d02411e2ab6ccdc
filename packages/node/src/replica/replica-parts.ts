/** What a replica is built of: the seam between assembly and behaviour. */
import type {
  Clock,
  ClusterId,
  GroupId,
  HoldfastError,
  Incarnation,
  Logger,
  LogIndex,
  NodeId,
  Random,
  Timers,
} from '@holdfast/base';
import type { RaftCore } from '@holdfast/raft';
import type { ShardHost } from '@holdfast/shard-worker';
import type { CheckpointRoot, FileSystem, Wal, WriteRetryOptions } from '@holdfast/storage';
import type { PeerTransport } from '../service-api.ts';
import type { MetaMachine } from '../state/meta-machine.ts';
import type { CheckpointScheduleOptions } from './checkpoint-schedule.ts';
import type { Defer, GroupHost } from './group-host.ts';
import { ReplayWatch } from './replay-watch.ts';
import { pauseBy } from './slices.ts';

export interface ReplicaOptions {
  readonly clusterId: ClusterId;
  readonly epoch: number;
  readonly nodeId: NodeId;
  readonly incarnation: Incarnation;
  readonly group: GroupId;
  readonly dataDirectory: string;
  readonly tickIntervalMs: number;
  readonly electionTimeoutMs: number;
  readonly checkpointIntervalMs: number;
  readonly checkpointLogSizeBytes: number;
  /** What a disk is granted that refuses checkpoints; see CheckpointSchedule. */
  readonly writeRetry: WriteRetryOptions;
  readonly retainedEntryCount: number;
  /** Checkpoints kept on disk, the newest included. */
  readonly checkpointGenerationCount: number;
  readonly sessionIdleTimeoutMs: number;
  /** How long a dropped collection is kept hidden, where the drop does not say it. */
  readonly dropRetentionMs: number;
  /** 0: only when asked for. */
  readonly digestVerifyIntervalMs: number;
  readonly limits: ReplicaLimits;
  /** Peer addresses of the cluster that this node waits to join; empty otherwise. */
  readonly joinAddresses: readonly string[];
}

/** Mostly of snapshots and of the log kept for others; see the settings of the same names. */
export interface ReplicaLimits {
  readonly snapshotTransferBytesPerSecMax: number;
  readonly snapshotLogHoldSizeBytesMax: number;
  readonly logRetentionSizeBytesMax: number;
  readonly followerLogHoldSizeBytesMax: number;
  /** Log kept until the archive has it. */
  readonly archiveHoldSizeBytesMax: number;
  /** Of collections that are created through this node; the log keeps them with the collection. */
  readonly sealRowCount: number;
  readonly sealSizeBytes: number;
}

const MIB = 1024 * 1024;
export const REPLICA_LIMITS_DEFAULT: ReplicaLimits = {
  // Half of a gigabit line, and a fraction of what one disk reads.
  snapshotTransferBytesPerSecMax: 64 * MIB,
  // A snapshot of 60 GB at the rate above takes a quarter of an hour.
  snapshotLogHoldSizeBytesMax: 2_048 * MIB,
  logRetentionSizeBytesMax: 256 * MIB,
  followerLogHoldSizeBytesMax: 512 * MIB,
  // Hours of small writes while a store is away; behind it the archive gets a gap.
  archiveHoldSizeBytesMax: 1_024 * MIB,
  // Files of some ten megabytes: few of them, and each is sent or checked within a second.
  sealRowCount: 65_536,
  sealSizeBytes: 64 * MIB,
};

export interface ReplicaParts {
  readonly core: RaftCore;
  readonly wal: Wal;
  /** Gives this group its turns and its messages. */
  readonly groups: GroupHost;
  readonly host: ShardHost;
  readonly meta: MetaMachine;
  /** Generations whose files are all there, newest first. */
  readonly roots: readonly CheckpointRoot[];
  /** Of the newest root file there is. */
  readonly newestGeneration: number;
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
  /** The archive has everything up to here; null without an archive. Asked at each compaction. */
  readonly archivedIndex: () => LogIndex | null;
}

/** When checkpoints are made. */
export const scheduleOf = (options: ReplicaOptions): CheckpointScheduleOptions => ({
  intervalMs: options.checkpointIntervalMs,
  logSizeBytes: options.checkpointLogSizeBytes,
  writeRetry: options.writeRetry,
});

/** What of it the checkpointer is built of. */
export function checkpointParts(options: ReplicaOptions, parts: ReplicaParts) {
  const { core, fileSystem, host, logger, newestGeneration, nextCheckpointId, roots } = parts;
  return {
    fileSystem,
    dataDirectory: options.dataDirectory,
    host,
    group: options.group,
    confAt: (index: LogIndex) => core.confAt(index),
    nextId: nextCheckpointId,
    pause: pauseBy(parts.defer),
    ...{ roots, newestGeneration, generationCount: options.checkpointGenerationCount },
    logger,
  };
}

/** From the state that was loaded to what the log says was committed. */
export function replayWatch({ group }: ReplicaOptions, parts: ReplicaParts): ReplayWatch {
  const { clock, logger, meta, wal } = parts;
  const fromIndex = meta.appliedIndex;
  const toIndex = wal.groupLog(group).hardState()?.commit ?? fromIndex;
  return new ReplayWatch({ clock, logger, fromIndex, toIndex });
}
