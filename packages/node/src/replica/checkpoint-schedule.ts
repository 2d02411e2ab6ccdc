/**
 * When the next checkpoint is due: after a time, or after so much log, whichever comes first; after
 * a failure not before its back-off is over.
 *
 * A disk that refuses the files of checkpoints opens a breaker, the same as for the log: every try
 * writes what may be gigabytes before it fails. It opens at once when the disk is full, and then
 * room that was made ends the waiting early; other refusals open it after some in a row. Failures
 * that are none of the disk (a lane that is away) have their back-off only.
 */
import type { CircuitBreakerOptions, CircuitState } from '@holdfast/base';
import { CircuitBreaker } from '@holdfast/base';
import type { WriteErrorFacts, WriteErrorType, WriteRetryOptions } from '@holdfast/storage';
import { WRITE_RETRY_DEFAULT } from '@holdfast/storage';
import { checkpointRetryDelayMs } from './checkpoint-failure.ts';

export interface CheckpointScheduleOptions {
  readonly intervalMs: number;
  readonly logSizeBytes: number;
  /** For its breaker; left out: WRITE_RETRY_DEFAULT. */
  readonly writeRetry?: WriteRetryOptions;
}

/** What made a checkpoint fail. */
export interface CheckpointFailure {
  /** Null: the disk has not refused anything. */
  readonly refusal: WriteErrorFacts | null;
  /** What the disk had left when nothing of the failed checkpoint was there any more. */
  readonly freeSizeBytes: number;
}

/** How the disk takes checkpoints, for people. */
export interface CheckpointWrites {
  readonly state: CircuitState;
  /** Since the start. */
  readonly errors: { readonly [Type in WriteErrorType]: number };
  readonly opened: number;
}

/** As much more than at the failure is worth a try; less is what logs and neighbours move. */
const ROOM_GROWTH_SIZE_BYTES_MIN = 1 << 20;
/** A full disk is asked this often whether it has room. */
const ROOM_LOOK_INTERVAL_MS = 1_000;

/** What the settings of the log's breaker mean for others that write. */
export function breakerOptions(retry = WRITE_RETRY_DEFAULT): CircuitBreakerOptions {
  const { circuitBreakerThreshold, circuitBreakerTimeoutMs, retryAttempts } = retry;
  return {
    failureCountMax: Math.min(circuitBreakerThreshold, retryAttempts + 1),
    openMs: circuitBreakerTimeoutMs,
  };
}

export class CheckpointSchedule {
  readonly #options: CheckpointScheduleOptions;
  readonly #breaker: CircuitBreaker;
  readonly #errors: { [Type in WriteErrorType]: number } = {
    ...{ disk_full: 0, io_error: 0, permission: 0 },
  };
  #dueMs: number;
  #bytesAtLast: number;
  #failuresInRow = 0;
  #notBeforeMs = 0;
  /** Null unless a full disk is what is waited for. */
  #freeSizeBytesAtFailure: number | null = null;
  #nextLookMs = 0;

  constructor(options: CheckpointScheduleOptions, nowMs: number, bytesWritten: number) {
    this.#options = options;
    this.#breaker = new CircuitBreaker(breakerOptions(options.writeRetry));
    this.#dueMs = nowMs + options.intervalMs;
    this.#bytesAtLast = bytesWritten;
  }

  /** Failures since the last checkpoint that succeeded: above 0 is an alarm. */
  get failuresInRow(): number {
    return this.#failuresInRow;
  }

  get writes(): CheckpointWrites {
    const { openedCount, state } = this.#breaker;
    return { state, errors: { ...this.#errors }, opened: openedCount };
  }

  /** True while the back-off after a failure lasts. */
  isHeldBack(nowMs: number): boolean {
    return nowMs < this.#notBeforeMs;
  }

  isDue(nowMs: number, bytesWritten: number): boolean {
    if (this.isHeldBack(nowMs)) return false;
    return nowMs >= this.#dueMs || bytesWritten - this.#bytesAtLast >= this.#options.logSizeBytes;
  }

  /** A checkpoint starts now; while the breaker is open it is the probe. */
  started(nowMs: number, bytesWritten: number): void {
    this.#breaker.allowProbe(nowMs);
    this.#breaker.tryPass(nowMs);
    this.#dueMs = nowMs + this.#options.intervalMs;
    this.#bytesAtLast = bytesWritten;
  }

  succeeded(): void {
    this.#breaker.succeeded();
    this.#failuresInRow = 0;
    this.#notBeforeMs = 0;
    this.#freeSizeBytesAtFailure = null;
  }

  /** Due again after the returned delay, or sooner: see `noteRoom`. */
  failed(nowMs: number, { freeSizeBytes, refusal }: CheckpointFailure): number {
    this.#failuresInRow += 1;
    if (refusal === null) this.#endProbe(nowMs);
    else {
      this.#errors[refusal.type] += 1;
      this.#breaker.failed(nowMs, refusal.isDecisive);
    }
    const isFull = refusal?.type === 'disk_full';
    this.#freeSizeBytesAtFailure = isFull ? freeSizeBytes : null;
    this.#nextLookMs = nowMs + ROOM_LOOK_INTERVAL_MS;
    const untilProbeMs = (this.#breaker.probeAtMs ?? nowMs) - nowMs;
    const delayMs = Math.max(checkpointRetryDelayMs(this.#failuresInRow), untilProbeMs);
    this.#notBeforeMs = nowMs + delayMs;
    this.#dueMs = this.#notBeforeMs;
    return delayMs;
  }

  /** To be called often; asks the disk at most once a second, and only while it was full. */
  noteRoom(nowMs: number, freeSizeBytes: () => number): void {
    const before = this.#freeSizeBytesAtFailure;
    if (before === null || nowMs < this.#nextLookMs || !this.isHeldBack(nowMs)) return;
    this.#nextLookMs = nowMs + ROOM_LOOK_INTERVAL_MS;
    if (freeSizeBytes() < before + ROOM_GROWTH_SIZE_BYTES_MIN) return;
    this.#notBeforeMs = nowMs;
    this.#dueMs = nowMs;
  }

  /** Of a probe that failed for another reason: the disk was not asked, so it waits as before. */
  #endProbe(nowMs: number): void {
    if (this.#breaker.state === 'half-open') this.#breaker.failed(nowMs);
  }
}
