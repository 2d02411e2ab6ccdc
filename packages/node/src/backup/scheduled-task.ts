/**
 * One scheduled task in one store: when it is to run next, from what is known of its last success.
 * Pure: both clocks come in. Only a success moves the last run, so what failed stays due; however
 * many scheduled times have gone by, one run makes up for all of them.
 */
import type { ErrorBody } from '@holdfast/base';
import type { Schedule } from './schedule.ts';

/** Between attempts: doubles from the first to the most. */
export const RETRY_FIRST_MS = 60_000;
export const RETRY_MOST_MS = 30 * 60_000;

export interface TimePair {
  readonly wallMs: number;
  readonly monotonicMs: number;
}

/** Unknown: nobody has looked yet. Never: there is none. */
export type LastSuccess =
  | { readonly kind: 'unknown' }
  | { readonly kind: 'never' }
  | { readonly kind: 'at'; readonly timeMs: number };

export class ScheduledTask {
  readonly schedule: Schedule;
  #last: LastSuccess = { kind: 'unknown' };
  #failuresInARow = 0;
  #failedCount = 0;
  #lastError: ErrorBody | null = null;
  #retryAtMonotonicMs = Number.NEGATIVE_INFINITY;

  constructor(schedule: Schedule) {
    this.schedule = schedule;
  }

  get last(): LastSuccess {
    return this.#last;
  }

  get failuresInARow(): number {
    return this.#failuresInARow;
  }

  get failedCount(): number {
    return this.#failedCount;
  }

  get lastError(): ErrorBody | null {
    return this.#lastError;
  }

  /** What a store says; never turns time back. `timeMs` null: it has none. */
  noteFound(timeMs: number | null, nowMs: number): void {
    if (timeMs === null) {
      if (this.#last.kind === 'unknown') this.#last = { kind: 'never' };
      return;
    }
    // The clock of who made it may be ahead: it was made by now.
    const atMs = Math.min(timeMs, nowMs);
    const known = this.#last.kind === 'at' ? this.#last.timeMs : Number.NEGATIVE_INFINITY;
    this.#last = { kind: 'at', timeMs: Math.max(known, atMs) };
  }

  /** `timeMs`: when it began, so that a scheduled time during a long run is not lost. */
  noteSuccess(timeMs: number): void {
    this.noteFound(timeMs, timeMs);
    this.#failuresInARow = 0;
    this.#lastError = null;
    this.#retryAtMonotonicMs = Number.NEGATIVE_INFINITY;
  }

  noteFailure(error: ErrorBody, { monotonicMs }: TimePair): void {
    this.#failuresInARow += 1;
    this.#failedCount += 1;
    this.#lastError = error;
    const doublings = Math.min(this.#failuresInARow - 1, 16);
    this.#retryAtMonotonicMs =
      monotonicMs + Math.min(RETRY_MOST_MS, RETRY_FIRST_MS * 2 ** doublings);
  }

  /** Somebody else runs it from now on: only the store knows. */
  forget(): void {
    this.#last = { kind: 'unknown' };
    this.forgetFailures();
  }

  forgetFailures(): void {
    this.#failuresInARow = 0;
    this.#lastError = null;
    this.#retryAtMonotonicMs = Number.NEGATIVE_INFINITY;
  }

  /** 0: now. Null: never. */
  waitMs(now: TimePair): number | null {
    const scheduledMs = this.#scheduledMs();
    if (scheduledMs === null) return null;
    return Math.max(0, scheduledMs - now.wallMs, this.#retryAtMonotonicMs - now.monotonicMs);
  }

  #scheduledMs(): number | null {
    const last = this.#last;
    if (last.kind !== 'at') return 0;
    return this.schedule.next(last.timeMs);
  }
}
