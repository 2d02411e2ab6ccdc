/**
 * What one replica is built from: settings, and the parts that production and simulation differ in.
 */
import type { Clock, EntryHasher, HoldfastError, Logger, Random, Timers } from '@holdfast/base';
import type { ShardHost } from '@holdfast/shard-worker';
import type {
  FileSystem,
  NodeIdentity,
  RandomBytes,
  Wal,
  WriteRetryOptions,
} from '@holdfast/storage';
import type { BackupStores } from './backup/node-backup-options.ts';
import type { SealingPlace } from './backup/sealing/file-frames.ts';
import type { HealLimits } from './heal/node-care.ts';
import type { MakeScrubReader } from './heal/scrub-reader.ts';
import type { ProcessSample } from './heal/workers.ts';
import type { Recovery } from './recovery/heal-log.ts';
import type { Defer } from './replica/group-host.ts';
import type { ReplicaLimits } from './replica/replica-parts.ts';
import type { ResultCacheOptions } from './routing/result-cache.ts';
import type { PeerTransport } from './service-api.ts';
import type { SiteLimits } from './standby/site-api.ts';

export interface AssembleOptions {
  readonly identity: NodeIdentity;
  readonly dataDirectory: string;
  readonly tickIntervalMs: number;
  readonly electionTimeoutMs: number;
  readonly heartbeatIntervalMs: number;
  readonly checkpointIntervalMs: number;
  readonly checkpointLogSizeBytes: number;
  /** What a disk is granted that refuses checkpoints. Default: WRITE_RETRY_DEFAULT. */
  readonly writeRetry?: WriteRetryOptions;
  readonly retainedEntryCount: number;
  /** Default: CHECKPOINT_GENERATION_COUNT_MIN. */
  readonly checkpointGenerationCount?: number;
  readonly sessionIdleTimeoutMs: number;
  /** Of drops that do not say it themselves. Default 0: what is dropped is gone at once. */
  readonly dropRetentionMs?: number;
  /** How often the replicas compare their digests. Default 0: only when asked for. */
  readonly digestVerifyIntervalMs?: number;
  /** How often the leader looks at the chain of its log. Default 0: only when asked for. */
  readonly logVerifyIntervalMs?: number;
  /** Off when it is not given. */
  readonly searchCache?: ResultCacheOptions;
  /** What is not given is as in REPLICA_LIMITS_DEFAULT. */
  readonly limits?: Partial<ReplicaLimits>;
  /** What is not given is as in HEAL_LIMITS_DEFAULT. */
  readonly heal?: Partial<HealLimits>;
  /** Peer addresses, host:port, of the cluster that this node waits to join. */
  readonly joinAddresses?: readonly string[];
  /** host:port that clients use; asked again whenever it is told to someone. */
  readonly publicAddress: () => string;
}

export interface AssembleParts {
  readonly fileSystem: FileSystem;
  readonly wal: Wal;
  readonly host: ShardHost;
  readonly transport: PeerTransport;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly defer: Defer;
  readonly random: Random;
  readonly hash: EntryHasher;
  readonly logger: Logger;
  readonly onFailure: (error: HoldfastError) => void;
  /** Left out where there is no process of its own. */
  readonly processSample?: () => ProcessSample;
  /** Where backups and the archive of the log go; left out where there is no such place. */
  readonly backup?: BackupPlace;
  /** As NodeCareParts has it. */
  readonly scrubReader?: MakeScrubReader;
  /** Something has to be done first that may take long; told at once, before any waiting. */
  readonly onRecovery?: (recovery: Recovery) => void;
}

/** Opened by whoever composes, and closed there. */
export interface BackupPlace {
  readonly stores: BackupStores;
  /** What is not given is as in SITE_LIMITS_DEFAULT. */
  readonly site?: Partial<SiteLimits>;
  readonly mintBackupId: () => string;
  readonly randomBytes: RandomBytes;
  /** As NodeBackupOptions has it. */
  readonly sealing?: SealingPlace;
}
