/**
 * Looks at the chain of a node's own log: when it is asked to, and every hour while the node leads.
 * What is bad is told by index and handed to whoever mends the log; a check that failed is repeated
 * sooner. One check at a time, in slices of a turn.
 */
import type {
  Clock,
  EntryHasher,
  HoldfastError,
  Logger,
  LogIndex,
  TimerHandle,
  Timers,
} from '@holdfast/base';
import { HoldfastError as HoldfastFailure, logIndex, toHoldfastError } from '@holdfast/base';
import type { GroupLog, Wal } from '@holdfast/storage';
import type { Pause } from '../replica/slices.ts';
import type {
  ArchivedLogStats,
  LogCheckResult,
  LogCheckService,
  LogStats,
  LogVerifyReport,
} from './log-check-api.ts';
import { verifyLog } from './verify-log.ts';

export interface LogCheckOptions {
  readonly log: GroupLog;
  readonly wal: Pick<Wal, 'files'>;
  readonly hasher: EntryHasher;
  readonly committedIndex: () => LogIndex;
  readonly archive: () => readonly ArchivedLogStats[];
  /** Told of an entry that the disk gives wrong. */
  readonly onRot: (index: LogIndex, rot: HoldfastError) => void;
  /** 0: only when it is asked to. */
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly pause: Pause;
  readonly logger: Logger;
}

/** A new leader has better things to do at first; so has a node that mends what was found. */
export const LOG_CHECK_SETTLE_MS = 60_000;

export class LogCheck implements LogCheckService {
  readonly #options: LogCheckOptions;
  readonly #abort = new AbortController();
  #timer: TimerHandle | null = null;
  #isLeading = false;
  #running: Promise<unknown> | null = null;
  #newest: LogCheckResult | null = null;
  #failedCount = 0;

  constructor(options: LogCheckOptions) {
    this.#options = options;
  }

  /** Told whenever the role of this node changes. */
  setLeading(isLeading: boolean): void {
    if (isLeading === this.#isLeading) return;
    this.#isLeading = isLeading;
    this.#timer?.cancel();
    this.#timer = null;
    if (isLeading) this.#arm(LOG_CHECK_SETTLE_MS);
  }

  /** Breaks off what is under way; resolves when it has ended. */
  async stop(): Promise<void> {
    this.setLeading(false);
    this.#abort.abort();
    await this.#running?.catch(() => undefined);
  }

  stats(): LogStats {
    const { archive, committedIndex, log, wal } = this.#options;
    const files = wal.files();
    const sinks = archive();
    return {
      currentIndex: log.lastIndex(),
      committedIndex: committedIndex(),
      firstIndex: log.firstIndex(),
      sizeBytes: log.sizeBytes,
      fileCount: files.length,
      activeFileEntryCount: log.tailCountIn(files.at(-1)?.fileId ?? 0),
      archivedChunkCount: Math.max(0, ...sinks.map(({ chunkCount }) => chunkCount)),
      archive: sinks,
      newestCheck: this.#newest,
      failedCheckCount: this.#failedCount,
    };
  }

  verify(from: number): Promise<LogVerifyReport> {
    if (this.#running !== null) {
      const message = 'a check of the log is under way on this node: wait for its end';
      return Promise.reject(new HoldfastFailure('OVERLOADED', message));
    }
    const running = this.#verify(logIndex(from)).finally(() => {
      this.#running = null;
    });
    this.#running = running;
    return running;
  }

  async #verify(from: LogIndex): Promise<LogVerifyReport> {
    const { clock, committedIndex, hasher, log, pause } = this.#options;
    const startedMs = clock.monotonicMs();
    const times = () => ({
      endedAtMs: clock.wallMs(),
      durationMs: Math.round(clock.monotonicMs() - startedMs),
    });
    // What is in memory says nothing of the disk.
    log.clearCache();
    const { signal } = this.#abort;
    try {
      const options = { log, hasher, pause, signal, committedIndex: committedIndex() };
      const report = await verifyLog(options, from);
      const { firstBadIndex, isValid, verifiedEntryCount } = report;
      const badEntryCount = report.errors.reduce(
        (count, { index, lastIndex }) => count + lastIndex - index + 1,
        0,
      );
      const counts = { isValid, verifiedEntryCount, badEntryCount, firstBadIndex };
      this.#newest = { ...times(), ...counts, error: null };
      if (!isValid) this.#tell(report);
      return report;
    } catch (thrown) {
      const error = toHoldfastError(thrown);
      if (error.code !== 'ABORTED') {
        const counts = { isValid: false, verifiedEntryCount: 0, badEntryCount: 0 };
        this.#newest = { ...times(), ...counts, firstBadIndex: null, error: error.toBody() };
        this.#failedCount += 1;
        this.#options.logger.error(
          { code: error.code },
          `the log was not checked: ${error.message}`,
        );
      }
      throw error;
    }
  }

  #tell({ errors }: LogVerifyReport): void {
    this.#failedCount += 1;
    const { logger, onRot } = this.#options;
    for (const { cause, index, lastIndex, message } of errors) {
      logger.error({ index, lastIndex }, message);
      if (cause !== null) onRot(logIndex(index), cause);
    }
  }

  #arm(waitMs: number): void {
    const { intervalMs, timers } = this.#options;
    if (intervalMs === 0 || !this.#isLeading) return;
    this.#timer = timers.after(Math.min(waitMs, intervalMs), () => {
      this.#timer = null;
      this.verify(0).then(
        ({ isValid }) => this.#arm(isValid ? intervalMs : LOG_CHECK_SETTLE_MS),
        // It was told; or somebody asked for one at the same time.
        () => this.#arm(LOG_CHECK_SETTLE_MS),
      );
    });
  }
}
