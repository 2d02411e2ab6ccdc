/** What an archiver has done and how far behind it is, for status and metrics. */
import type { ErrorBody, LogIndex } from '@holdfast/base';

/**
 * `locating`: it looks for the end of the archive. `waiting`: the archive is ahead of what this
 * node knows to be committed. `alarmed`: nothing is archived, because the archive and the log
 * disagree, or the archive cannot be read; it looks again, but somebody has to mend it.
 */
export type ArchiverState =
  | 'locating'
  | 'waiting'
  | 'archiving'
  | 'backingOff'
  | 'alarmed'
  | 'stopped';

export interface ArchiverStatus {
  readonly sink: string;
  readonly state: ArchiverState;
  /** The archive has everything up to here (or says that it is lost); null while unknown. */
  readonly archivedIndex: LogIndex | null;
  /** Committed entries that are not archived. */
  readonly lagEntryCount: number;
  /** How long the oldest of them has waited. */
  readonly lagMs: number;
  /** Since this archiver was made. */
  readonly chunkCount: number;
  readonly entryCount: number;
  /** As they are in the sink: compressed and sealed. */
  readonly storedSizeBytes: number;
  readonly gapCount: number;
  /** Chunks that another archiver had put first. */
  readonly lostRaceCount: number;
  readonly failureCount: number;
  readonly lastError: ErrorBody | null;
}

export class ArchiveCounters {
  chunkCount = 0;
  entryCount = 0;
  storedSizeBytes = 0;
  gapCount = 0;
  lostRaceCount = 0;
  failureCount = 0;
}

export interface BackOffOptions {
  readonly firstMs: number;
  readonly mostMs: number;
}

/** Doubles up to the most, and takes off up to half by chance: nodes do not march in step. */
export function backOffMs(failures: number, chance: number, options: BackOffOptions): number {
  const wholeMs = Math.min(options.mostMs, options.firstMs * 2 ** Math.min(30, failures - 1));
  return Math.max(options.firstMs, wholeMs * (1 - chance / 2));
}
