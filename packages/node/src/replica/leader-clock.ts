/**
 * Time stamps of log entries: assigned by the leader, never going back in log order, so that
 * "all entries up to time T" is a prefix of the log. Within a term a stamp advances by the
 * leader's monotonic clock, so a jump of the wall clock moves nothing; a new leader starts at its
 * wall clock, at least at the last stamp of the log.
 */
import type { Clock } from '@holdfast/base';

export class LeaderClock {
  readonly #clock: Clock;
  #baseStampMs = 0;
  #baseMonotonicMs = 0;
  #lastStampMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Called when this replica becomes leader and has applied its whole log. */
  startTerm(lastLogStampMs: number): void {
    this.#baseStampMs = Math.max(this.#clock.wallMs(), lastLogStampMs);
    this.#baseMonotonicMs = this.#clock.monotonicMs();
    this.#lastStampMs = this.#baseStampMs;
  }

  /** Whole milliseconds, never less than the stamp before. */
  nextStampMs(): number {
    const elapsedMs = Math.floor(this.#clock.monotonicMs() - this.#baseMonotonicMs);
    this.#lastStampMs = Math.max(this.#lastStampMs, this.#baseStampMs + elapsedMs);
    return this.#lastStampMs;
  }
}
