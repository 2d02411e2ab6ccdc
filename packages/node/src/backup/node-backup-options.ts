/** What the backups of a node are made of: its stores, its replica, and what every part shares. */
import type { Clock, EntryHasher, Logger, LogIndex, Random, Timers } from '@holdfast/base';
import type {
  CheckpointRoot,
  Compression,
  FileSystem,
  GroupLog,
  KeyRing,
  NodeIdentity,
  RandomBytes,
} from '@holdfast/storage';
import type { Pause } from '../replica/slices.ts';
import type { Site } from '../state/site.ts';
import { ArchiveStore } from './archive/archive-store.ts';
import { entryTimestampMs } from './archive/entry-time.ts';
import type { ArchiverLimits } from './archive/log-archiver.ts';
import { BackupReader } from './backup-reader.ts';
import type { BackupSchedules } from './backup-scheduler.ts';
import type { RetentionPolicy } from './retention.ts';
import type { SealingPlace } from './sealing/file-frames.ts';
import type { BackupSink } from './sinks/sink.ts';
import type { RestoreTester } from './verification/restore-tester.ts';

/** Opened by the composer, and closed by it. */
export interface BackupStores {
  /** In the order of the setting. */
  readonly sinks: readonly BackupSink[];
  readonly keys: KeyRing;
  readonly compression: Compression;
  /** Of all sinks together; 0: as fast as they take it. */
  readonly bytesPerSecMax: number;
  /** Files at a time, per sink. */
  readonly concurrency: number;
  /** Null: the log is not archived. */
  readonly archive: Partial<ArchiverLimits> | null;
  /** What runs by itself while this node leads. */
  readonly schedules: BackupSchedules;
  readonly retention: RetentionPolicy;
  /** Left out: verification only reads a backup back. */
  readonly restoreTester?: RestoreTester;
}

/** What it needs of the replica. */
export interface BackedUpReplica {
  /**
   * What grows, and is large enough, becomes segments, which later backups need not send again.
   * Left out: it stays as it is. @throws HoldfastError NOT_LEADER, REQUEST_TIMEOUT, ...
   */
  sealGrowing?(): Promise<void>;
  /** Makes one now. */
  checkpoint(): Promise<CheckpointRoot>;
  /** The files of `root` stay until the returned function is called. */
  pin(root: CheckpointRoot): () => void;
  commitIndex(): LogIndex;
  /** How the cluster stands to others; left out: it is none but itself. */
  site?(): Site;
}

export interface NodeBackupOptions {
  readonly stores: BackupStores;
  readonly identity: NodeIdentity;
  readonly dataDirectory: string;
  readonly fileSystem: FileSystem;
  readonly log: GroupLog;
  readonly replica: BackedUpReplica;
  readonly hasher: EntryHasher;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly pause: Pause;
  /** Where the bytes of files are worked on; left out: the calling thread. */
  readonly sealing?: SealingPlace;
  readonly logger: Logger;
  /** Never the same twice, on any node. */
  readonly mintBackupId: () => string;
  /** Good enough for encryption. */
  readonly randomBytes: RandomBytes;
}

/** One timeline of this cluster in one of the stores. */
export function archiveStoreIn(
  { hasher, identity, randomBytes, stores }: NodeBackupOptions,
  sink: BackupSink,
  timeline: string,
  signal: AbortSignal,
): ArchiveStore {
  const { compression, keys } = stores;
  return new ArchiveStore({
    ...{ sink, timeline, hasher, signal, clusterId: identity.clusterId },
    sealing: { compression, keys, random: randomBytes },
    timestampOf: entryTimestampMs,
  });
}

/** The backups of this cluster in one of the stores. */
export function backupReaderIn(
  { identity, stores }: NodeBackupOptions,
  sink: BackupSink,
  signal?: AbortSignal,
): BackupReader {
  const { clusterId } = identity;
  const abort = signal === undefined ? {} : { signal };
  return new BackupReader({ sink, clusterId, keys: stores.keys, ...abort });
}
