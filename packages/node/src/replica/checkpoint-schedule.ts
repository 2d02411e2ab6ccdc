/** When the next checkpoint is due: after a time, or after so much log, whichever comes first. */
export interface CheckpointScheduleOptions {
  readonly intervalMs: number;
  readonly logSizeBytes: number;
}

export class CheckpointSchedule {
  readonly #options: CheckpointScheduleOptions;
  #dueMs: number;
  #bytesAtLast: number;

  constructor(options: CheckpointScheduleOptions, nowMs: number, bytesWritten: number) {
    this.#options = options;
    this.#dueMs = nowMs + options.intervalMs;
    this.#bytesAtLast = bytesWritten;
  }

  isDue(nowMs: number, bytesWritten: number): boolean {
    return nowMs >= this.#dueMs || bytesWritten - this.#bytesAtLast >= this.#options.logSizeBytes;
  }

  /** A checkpoint starts now. */
  started(nowMs: number, bytesWritten: number): void {
    this.#dueMs = nowMs + this.#options.intervalMs;
    this.#bytesAtLast = bytesWritten;
  }
}
