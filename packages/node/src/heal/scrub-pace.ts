/**
 * How fast the scrubber reads: at most a rate that can be changed while it runs, and less when
 * others want what it runs on. What it watches is its own thread: a pause that comes back late says
 * that somebody had to wait, or that the processor was given to others, and then it stays away for
 * a multiple of that, up to a bound, so that a pass ends also on a node that is never idle. On the
 * thread of the scrubber the system's priorities do the most of it (docs/adr/0031).
 */
import type { Clock, Timers } from '@holdfast/base';
import { assert } from '@holdfast/base';
import type { Pause } from '../replica/slices.ts';

/** A turn of an idle event loop is far below this. */
const BUSY_PAUSE_MS = 1;
/** For every millisecond that others had to wait, the scrubber leaves them this many. */
const YIELD_FACTOR = 8;
const YIELD_MS_MAX = 50;
/** Debts below this are paid together: timers have whole milliseconds. */
const DEBT_MS_MIN = 2;

export interface ScrubPaceParts {
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly timers: Timers;
  readonly pause: Pause;
}

export class ScrubPace {
  readonly #parts: ScrubPaceParts;
  #bytesPerSecMax: number;
  /** When everything read so far has passed at the rate. */
  #busyUntilMs = 0;

  /** 0 is no limit. */
  constructor(bytesPerSecMax: number, parts: ScrubPaceParts) {
    assert(bytesPerSecMax >= 0, 'a rate is not negative', { bytesPerSecMax });
    this.#bytesPerSecMax = bytesPerSecMax;
    this.#parts = parts;
  }

  get bytesPerSecMax(): number {
    return this.#bytesPerSecMax;
  }

  set bytesPerSecMax(bytesPerSec: number) {
    assert(bytesPerSec >= 0, 'a rate is not negative', { bytesPerSec });
    this.#bytesPerSecMax = bytesPerSec;
    this.#busyUntilMs = this.#parts.clock.monotonicMs();
  }

  /** Resolves when the next step may be made, after one that read `sizeBytes`. */
  async after(sizeBytes: number): Promise<void> {
    const { clock, pause } = this.#parts;
    const startMs = clock.monotonicMs();
    if (this.#bytesPerSecMax > 0) {
      const spentMs = (sizeBytes * 1_000) / this.#bytesPerSecMax;
      this.#busyUntilMs = Math.max(this.#busyUntilMs, startMs - DEBT_MS_MIN) + spentMs;
    }
    await pause();
    const waitedMs = clock.monotonicMs() - startMs;
    const yieldMs = waitedMs > BUSY_PAUSE_MS ? Math.min(YIELD_MS_MAX, waitedMs * YIELD_FACTOR) : 0;
    const debtMs = this.#bytesPerSecMax > 0 ? this.#busyUntilMs - clock.monotonicMs() : 0;
    const delayMs = Math.max(yieldMs, debtMs);
    if (delayMs >= DEBT_MS_MIN) await this.#sleep(delayMs);
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#parts.timers.after(delayMs, resolve);
    });
  }
}
