/**
 * When the next checkpoint is due: after a time, or after so much log, whichever comes first; after
 * a failure not before its back-off is over.
 */
import { checkpointRetryDelayMs } from './checkpoint-failure.ts';

export interface CheckpointScheduleOptions {
  readonly intervalMs: number;
  readonly logSizeBytes: number;
}

export class CheckpointSchedule {
  readonly #options: CheckpointScheduleOptions;
  #dueMs: number;
  #bytesAtLast: number;
  #failuresInRow = 0;
  #notBeforeMs = 0;

  constructor(options: CheckpointScheduleOptions, nowMs: number, bytesWritten: number) {
    this.#options = options;
    this.#dueMs = nowMs + options.intervalMs;
    this.#bytesAtLast = bytesWritten;
  }

  /** Failures since the last checkpoint that succeeded: above 0 is an alarm. */
  get failuresInRow(): number {
    return this.#failuresInRow;
  }

  /** True while the back-off after a failure lasts. */
  isHeldBack(nowMs: number): boolean {
    return nowMs < this.#notBeforeMs;
  }

  isDue(nowMs: number, bytesWritten: number): boolean {
    if (this.isHeldBack(nowMs)) return false;
    return nowMs >= this.#dueMs || bytesWritten - this.#bytesAtLast >= this.#options.logSizeBytes;
  }

  /** A checkpoint starts now. */
  started(nowMs: number, bytesWritten: number): void {
    this.#dueMs = nowMs + this.#options.intervalMs;
    this.#bytesAtLast = bytesWritten;
  }

  succeeded(): void {
    this.#failuresInRow = 0;
  }

  /** Due again after the returned delay. */
  failed(nowMs: number): number {
    this.#failuresInRow += 1;
    const delayMs = checkpointRetryDelayMs(this.#failuresInRow);
    this.#notBeforeMs = nowMs + delayMs;
    this.#dueMs = this.#notBeforeMs;
    return delayMs;
  }
}
