/**
 * Turns of a simulated world: deferred callbacks run in order, one at a time; virtual time moves
 * only when nothing is left to run. Promise jobs of the code under test run to their end between
 * two callbacks, as they do between two callbacks of an event loop.
 */
import type { Random } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';

/** Enough for any chain of awaits that does not itself defer or wait for time. */
const CALLBACKS_PER_SETTLE_MAX = 2_000_000;
/** The real event loop gets a turn this often, so that signals and messages are not starved. */
const DRAINS_PER_LOOP_TURN = 4_096;

export class SimScheduler {
  readonly clock = new VirtualClock();
  #queue: (() => void)[] = [];
  #queueHead = 0;
  #drainCount = 0;
  readonly #drain = (resolve: () => void): void => {
    this.#drainCount += 1;
    // A tick callback runs after every promise job that is ready, however long their chains.
    if (this.#drainCount % DRAINS_PER_LOOP_TURN === 0) setImmediate(resolve);
    else process.nextTick(resolve);
  };

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
    // A tick that is asked for inside a promise job comes after all of them; one that is asked for
    // outside would come before.
    await undefined;
    for (let count = 0; count < CALLBACKS_PER_SETTLE_MAX; count++) {
      await new Promise<void>(this.#drain);
      const callback = this.#take();
      if (callback === undefined) return;
      callback();
    }
    throw new Error('the simulation does not settle: callbacks defer each other without end');
  }

  /** Moves time from timer to timer, settling after each, until `condition` holds. */
  async until(condition: () => boolean, limitMs: number): Promise<void> {
    const endMs = this.clock.monotonicMs() + limitMs;
    // Called from an event, not from a promise job, the first tick callback would run before the
    // promise jobs that are ready, and time would move while the code under test is still at work.
    await null;
    await this.settle();
    while (!condition()) {
      if (this.clock.monotonicMs() >= endMs) {
        throw new Error(`the condition did not hold within ${limitMs} virtual ms`);
      }
      this.clock.fireNext(endMs);
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

  #take(): (() => void) | undefined {
    const callback = this.#queue[this.#queueHead];
    if (callback === undefined) return undefined;
    this.#queueHead += 1;
    if (this.#queueHead === this.#queue.length) {
      this.#queue = [];
      this.#queueHead = 0;
    }
    return callback;
  }
}
