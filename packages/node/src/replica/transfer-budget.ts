/**
 * How fast snapshots leave this node, all receivers together: a token bucket that holds one piece.
 * Who asks gets its turn in the order of asking, so several receivers share the rate evenly.
 *
 * Invariant: over any time the bytes granted are at most the rate times that time, and one piece.
 */
import type { Clock, Timers } from '@holdfast/base';
import { assert } from '@holdfast/base';

export class TransferBudget {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #timers: Timers;
  readonly #bytesPerMs: number;
  /** When everything granted so far has passed at the rate. */
  #busyUntilMs = 0;

  constructor(clock: Pick<Clock, 'monotonicMs'>, timers: Timers, bytesPerSecMax: number) {
    assert(bytesPerSecMax > 0, 'a transfer budget lets something pass', { bytesPerSecMax });
    this.#clock = clock;
    this.#timers = timers;
    this.#bytesPerMs = bytesPerSecMax / 1_000;
  }

  /** Resolves when `sizeBytes` may leave. */
  take(sizeBytes: number): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    const startMs = Math.max(nowMs, this.#busyUntilMs);
    this.#busyUntilMs = startMs + sizeBytes / this.#bytesPerMs;
    if (startMs === nowMs) return Promise.resolve();
    return new Promise((resolve) => {
      this.#timers.after(startMs - nowMs, resolve);
    });
  }
}
