/**
 * Time stamps of log entries: assigned by the leader, never going back in log order, so that
 * "all entries up to time T" is a prefix of the log. Within a term a stamp advances by the
 * leader's monotonic clock, so a jump of the wall clock moves nothing. A new leader starts at the
 * median wall clock of a quorum, at least at the last stamp of the log: one clock far ahead must
 * not take log time, and with it every session, away for good. While it does not know the clocks of
 * a quorum it goes on from the last stamp.
 */
import type { Clock } from '@holdfast/base';

export class LeaderClock {
  readonly #clock: Clock;
  /** The median minus our own wall clock; null while the clocks of a quorum are not known. */
  readonly #medianOffsetMs: () => number | null;
  #baseStampMs = 0;
  #baseMonotonicMs = 0;
  #lastStampMs = 0;
  #isMedianKnown = false;

  constructor(clock: Clock, medianOffsetMs: () => number | null) {
    this.#clock = clock;
    this.#medianOffsetMs = medianOffsetMs;
  }

  /** Called when this replica becomes leader and has applied its whole log. */
  startTerm(lastLogStampMs: number): void {
    this.#lastStampMs = lastLogStampMs;
    this.#isMedianKnown = false;
    this.#rebase();
  }

  /** Whole milliseconds, never less than the stamp before. */
  nextStampMs(): number {
    if (!this.#isMedianKnown) this.#rebase();
    const elapsedMs = Math.floor(this.#clock.monotonicMs() - this.#baseMonotonicMs);
    this.#lastStampMs = Math.max(this.#lastStampMs, this.#baseStampMs + elapsedMs);
    return this.#lastStampMs;
  }

  #rebase(): void {
    const offsetMs = this.#medianOffsetMs();
    if (offsetMs === null) {
      if (this.#baseStampMs >= this.#lastStampMs) return;
      this.#baseStampMs = this.#lastStampMs;
    } else {
      this.#isMedianKnown = true;
      const medianMs = Math.floor(this.#clock.wallMs() + offsetMs);
      this.#baseStampMs = Math.max(this.#lastStampMs, medianMs);
    }
    this.#baseMonotonicMs = this.#clock.monotonicMs();
  }
}
