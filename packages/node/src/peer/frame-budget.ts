/**
 * How many corrupt frames a connection survives: one flipped bit is dropped and counted, a
 * connection that keeps corrupting is closed.
 */
import type { Clock } from '@holdfast/base';

const CORRUPT_FRAME_COUNT_MAX = 3;
const WINDOW_MS = 5_000;

export class CorruptFrameBudget {
  readonly #clock: Clock;
  #times: number[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Counts one corrupt frame; false: too many in the last seconds, close the connection. */
  spend(): boolean {
    const nowMs = this.#clock.monotonicMs();
    this.#times = this.#times.filter((timeMs) => nowMs - timeMs < WINDOW_MS);
    this.#times.push(nowMs);
    return this.#times.length <= CORRUPT_FRAME_COUNT_MAX;
  }
}
