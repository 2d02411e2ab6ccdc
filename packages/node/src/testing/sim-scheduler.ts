/**
 * Turns of a simulated process: deferred callbacks run in order; virtual time moves only when
 * nothing is left to run. Promise jobs of the code under test run between two callbacks.
 */
import type { Random } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';

/** Enough for any chain of awaits that does not itself defer or wait for time. */
const CALLBACKS_PER_SETTLE_MAX = 2_000_000;

export class SimScheduler {
  readonly clock = new VirtualClock();
  #queue: (() => void)[] = [];

  readonly defer = (callback: () => void): void => {
    this.#queue.push(callback);
  };

  /** Defers by up to `delayMsMax` whole milliseconds more, by chance, and keeps the order. */
  delayLine(random: Random, delayMsMax: number): (callback: () => void) => void {
    if (delayMsMax === 0) return this.defer;
    let lastDueMs = 0;
    return (callback) => {
      const nowMs = this.clock.monotonicMs();
      lastDueMs = Math.max(lastDueMs, nowMs + random.nextBelow(delayMsMax + 1));
      this.clock.after(lastDueMs - nowMs, () => this.defer(callback));
    };
  }

  /** Runs until nothing is left to run at the present time. */
  async settle(): Promise<void> {
    for (let count = 0; count < CALLBACKS_PER_SETTLE_MAX; ) {
      await drainMicrotasks();
      const callbacks = this.#queue;
      if (callbacks.length === 0) return;
      this.#queue = [];
      for (const callback of callbacks) {
        callback();
        count += 1;
      }
    }
    throw new Error('the simulation does not settle: callbacks defer each other without end');
  }

  /** Moves time from timer to timer, settling after each, until `condition` holds. */
  async until(condition: () => boolean, limitMs: number): Promise<void> {
    const endMs = this.clock.monotonicMs() + limitMs;
    await this.settle();
    while (!condition()) {
      const nowMs = this.clock.monotonicMs();
      if (nowMs >= endMs) {
        throw new Error(`the condition did not hold within ${limitMs} virtual ms`);
      }
      const dueMs = Math.min(this.clock.nextDueMs() ?? endMs, endMs);
      this.clock.advance(Math.max(0, dueMs - nowMs));
      await this.settle();
    }
  }

  async advance(durationMs: number): Promise<void> {
    const endMs = this.clock.monotonicMs() + durationMs;
    await this.until(() => this.clock.monotonicMs() >= endMs, durationMs);
  }

  /** Resolves like `promise`, moving virtual time while it is pending. */
  async resolve<Value>(promise: Promise<Value>, limitMs = 60_000): Promise<Value> {
    let isSettled = false;
    const settled = promise.finally(() => {
      isSettled = true;
    });
    // The outcome is observed below; this only keeps an early rejection from being "unhandled".
    settled.catch(() => undefined);
    await this.until(() => isSettled, limitMs);
    return settled;
  }
}

/** setImmediate runs after every promise job that is ready, however long their chains. */
function drainMicrotasks(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
