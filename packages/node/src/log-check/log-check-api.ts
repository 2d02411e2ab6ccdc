/** Numbers and checks of the log as routes, commands and metrics see them. Only types. */
import type { ErrorBody, HoldfastError } from '@holdfast/base';

/** Entries that are not what was written, or are lost. */
export interface LogFlaw {
  readonly index: number;
  /** Inclusive; more than `index` only for entries that are known to be lost together. */
  readonly lastIndex: number;
  /** Names the entry and the next step. */
  readonly message: string;
  /** What the disk said; null when the bytes are readable and wrong. Not for pages. */
  readonly cause: HoldfastError | null;
}

export interface LogVerifyReport {
  readonly isValid: boolean;
  /** The first that was looked at: what is compacted is in no log any more. */
  readonly fromIndex: number;
  readonly throughIndex: number;
  readonly verifiedEntryCount: number;
  /** Ascending. */
  readonly errors: readonly LogFlaw[];
  readonly firstBadIndex: number | null;
  /** True: there may be more errors than are told. */
  readonly isCutShort: boolean;
}

/** Of the newest check, whoever asked for it. */
export interface LogCheckResult {
  readonly endedAtMs: number;
  readonly durationMs: number;
  readonly isValid: boolean;
  readonly verifiedEntryCount: number;
  readonly badEntryCount: number;
  readonly firstBadIndex: number | null;
  /** Why it could not be done; null when it was. */
  readonly error: ErrorBody | null;
}

export interface ArchivedLogStats {
  readonly sink: string;
  /** Null while it is not known. */
  readonly archivedIndex: number | null;
  readonly lagEntryCount: number;
  /** By this node, since it began to lead. */
  readonly chunkCount: number;
}

export interface LogStats {
  /** The newest entry that is durable here. */
  readonly currentIndex: number;
  readonly committedIndex: number;
  /** The oldest entry that is kept. */
  readonly firstIndex: number;
  /** Of the entries that are kept. */
  readonly sizeBytes: number;
  readonly fileCount: number;
  /** Entries in the file that is written to. */
  readonly activeFileEntryCount: number;
  /** In the store where this node has put the most. */
  readonly archivedChunkCount: number;
  readonly archive: readonly ArchivedLogStats[];
  readonly newestCheck: LogCheckResult | null;
  /** Checks since the node started that found something or could not be done. */
  readonly failedCheckCount: number;
}

export interface LogCheckService {
  stats(): LogStats;
  /**
   * Reads the log from `from` on. @throws HoldfastError OVERLOADED while another check is under
   *   way, ABORTED, FILE_IO
   */
  verify(from: number): Promise<LogVerifyReport>;
}
