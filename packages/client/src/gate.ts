/**
 * Lets a bounded number of requests run and keeps a bounded number waiting, in order of arrival.
 */
import { HoldfastError, toHoldfastError } from '@holdfast/base';
import type { Call } from './call.ts';

/** Callers that wait for their turn; beyond it the caller is faster than the cluster for good. */
export const GATE_WAITING_COUNT_MAX = 10_000;

export class Gate {
  #limit: number;
  #runningCount = 0;
  /** In order of arrival; a Set, so that an interrupted waiter leaves at once. */
  readonly #waiting = new Set<() => void>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** A server granted less: takes effect as running requests end. */
  lowerLimit(limit: number): void {
    this.#limit = Math.max(1, Math.min(this.#limit, limit));
  }

  /** Every `enter` that resolved needs one `leave`. @throws HoldfastError OVERLOADED (definite) */
  async enter(call: Call): Promise<void> {
    if (this.#runningCount < this.#limit && this.#waiting.size === 0) {
      this.#runningCount += 1;
      return;
    }
    if (this.#waiting.size >= GATE_WAITING_COUNT_MAX) {
      throw new HoldfastError(
        'OVERLOADED',
        `${GATE_WAITING_COUNT_MAX} requests already wait in this client; await some of them first`,
      );
    }
    try {
      await call.wait<void>(({ resolve }) => {
        this.#waiting.add(resolve);
        return () => this.#waiting.delete(resolve);
      });
    } catch (thrown) {
      const cause = toHoldfastError(thrown);
      if (cause.code !== 'REQUEST_TIMEOUT') throw cause;
      const message = 'the request waited for its turn until its deadline and was never sent';
      throw new HoldfastError('OVERLOADED', message, { cause });
    }
  }

  leave(): void {
    this.#runningCount -= 1;
    for (const admit of this.#waiting) {
      if (this.#runningCount >= this.#limit) return;
      this.#waiting.delete(admit);
      this.#runningCount += 1;
      admit();
    }
  }
}
