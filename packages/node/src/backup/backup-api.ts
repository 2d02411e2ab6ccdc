/** Backups as routes, commands and metrics see them. */
import type { ErrorBody, HoldfastError } from '@holdfast/base';
import type { BackupType } from '@holdfast/storage';
import type { KeptSinkStatus } from './archive/archive-keeper.ts';
import type { SinkOutcome } from './backup-fan-out.ts';
import type { BackupListing, VerifyReport } from './backup-reader.ts';
import type { BackupProgress } from './progress.ts';
import type { PruneReport } from './prune.ts';
import type { RestoreTestStatus } from './verification/verify-newest.ts';

export interface BackupWishes {
  readonly type: BackupType;
  /** Null: the newest of the timeline. Only of an incremental backup. */
  readonly baseBackupId?: string | null;
  /** Reads every object back that is there already. */
  readonly isVerifyingExisting?: boolean;
  /** Names of stores; default: all. */
  readonly sinks?: readonly string[];
}

export interface PruneWishes {
  /** Keeps what is younger, and the newest; default: the retention of the settings. */
  readonly retentionDays?: number;
  /** Only says what would go. */
  readonly isDryRun?: boolean;
  /** Names of stores; default: all. */
  readonly sinks?: readonly string[];
}

export type PruneOutcome =
  | { readonly kind: 'success'; readonly sink: string; readonly report: PruneReport }
  | { readonly kind: 'failure'; readonly sink: string; readonly error: HoldfastError };

export type ScheduleKind = 'full' | 'incremental' | 'verification';

export interface ScheduledTaskStatus {
  readonly kind: ScheduleKind;
  readonly sink: string;
  /** As in the settings. */
  readonly schedule: string;
  /** Begin of the last success; null: none, or not known to this node. */
  readonly lastMs: number | null;
  /** Null while another node leads. */
  readonly nextMs: number | null;
  readonly failuresInARow: number;
  /** Since the start of the node. */
  readonly failedCount: number;
  readonly lastError: ErrorBody | null;
}

/** Since the start of the node. */
export interface BackupTally {
  readonly type: BackupType;
  readonly sink: string;
  readonly succeededCount: number;
  readonly failedCount: number;
  /** Of the newest good one; null: none yet. */
  readonly newestEndMs: number | null;
  readonly newestDurationMs: number | null;
  readonly newestSizeBytes: number | null;
}

export interface SinkRetentionStatus {
  readonly sink: string;
  readonly endedMs: number;
  readonly removedBackupCount: number;
  readonly removedFileCount: number;
  readonly removedChunkCount: number;
  /** Why nothing, or not all, was removed. */
  readonly error: ErrorBody | null;
}

export interface BackupRecord {
  readonly backupId: string;
  readonly type: BackupType;
  readonly startedMs: number;
  readonly endedMs: number;
  /** Per sink. */
  readonly outcomes: readonly SinkOutcome[];
}

export interface BackupUnderWay {
  readonly backupId: string;
  readonly type: BackupType;
  readonly startedMs: number;
  /** By sink. */
  readonly progress: Readonly<Record<string, BackupProgress>>;
}

export interface NodeBackupStatus {
  readonly archive: readonly KeptSinkStatus[];
  readonly underWay: BackupUnderWay | null;
  /** Newest first. */
  readonly newest: readonly BackupRecord[];
  /** Since the start of the node. */
  readonly succeededCount: number;
  readonly failedCount: number;
  readonly lastError: ErrorBody | null;
  readonly isPruning: boolean;
  readonly schedule: readonly ScheduledTaskStatus[];
  /** Newest per store. */
  readonly retention: readonly SinkRetentionStatus[];
  readonly tallies: readonly BackupTally[];
  /**
   * The newest good run of each store, as the leader knows, also when there was nothing new: what
   * was written before is in a backup. Null: there is none.
   * Stores that it has not asked yet, and all while another node leads, are left out.
   */
  readonly newestMs: Readonly<Record<string, number | null>>;
  /** Of each store the newest restore test that this node knows of. */
  readonly restoreTests: readonly RestoreTestStatus[];
}

export interface SinkBackups extends BackupListing {
  readonly sink: string;
}

export interface BackupService {
  status(): NodeBackupStatus;
  /** Makes a backup of the present state; resolves with what became of it in each store. */
  create(wishes: BackupWishes): Promise<BackupRecord>;
  /**
   * Removes what retention lets go, store by store.
   * @throws HoldfastError OVERLOADED while a backup is made or a prune is under way
   */
  prune(wishes: PruneWishes): Promise<readonly PruneOutcome[]>;
  /** Breaks off the backup under way, if there is one. */
  abort(): void;
  /** What each store has, newest first. @throws HoldfastError SINK_* */
  list(): Promise<readonly SinkBackups[]>;
  /**
   * All of one backup as a tar file, from the first store that has it: see backup-tar.ts.
   * @throws HoldfastError BACKUP_NOT_FOUND, SINK_*; the iteration too
   */
  download(backupId: string): Promise<AsyncIterable<Uint8Array>>;
  /** What came of restore tests, per store, newest first. @throws HoldfastError SINK_* */
  restoreTests(): Promise<readonly RestoreTestStatus[]>;
  /** Reads every object of a backup, in every store that has it. */
  verify(backupId: string): Promise<readonly (VerifyReport & { readonly sink: string })[]>;
}
