/**
 * A new leader serves writes only once it has applied the first entry of its term: before that it
 * does not know everything that was acknowledged (which collections exist, the last time stamp).
 */
import type { HoldfastError, LogIndex } from '@holdfast/base';
import { HoldfastError as HoldfastFailure } from '@holdfast/base';

interface Waiter {
  readonly deadlineMs: number;
  readonly resolve: () => void;
  readonly reject: (error: HoldfastError) => void;
}

const READY: Promise<void> = Promise.resolve();

export class LeaderReadiness {
  #firstIndex: LogIndex | null = null;
  #isReady = false;
  #waiters: Waiter[] = [];

  get isReady(): boolean {
    return this.#isReady;
  }

  /** This replica became leader; `firstIndex` is the first entry of its term. */
  begin(firstIndex: LogIndex): void {
    this.#firstIndex = firstIndex;
    this.#isReady = false;
  }

  /** No longer leader. */
  end(error: HoldfastError): void {
    this.#firstIndex = null;
    this.#isReady = false;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.reject(error);
  }

  /** Calls `onReady` once per term, before anyone who waits goes on. */
  onApplied(appliedIndex: LogIndex, onReady: () => void): void {
    if (this.#isReady || this.#firstIndex === null || appliedIndex < this.#firstIndex) return;
    this.#isReady = true;
    onReady();
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.resolve();
  }

  /** Call only on the leader. */
  wait(deadlineMs: number): Promise<void> {
    if (this.#isReady) return READY;
    return new Promise((resolve, reject) => {
      this.#waiters.push({ deadlineMs, resolve, reject });
    });
  }

  expire(nowMs: number): void {
    const late = this.#waiters.filter((waiter) => waiter.deadlineMs <= nowMs);
    if (late.length === 0) return;
    this.#waiters = this.#waiters.filter((waiter) => waiter.deadlineMs > nowMs);
    for (const waiter of late) {
      waiter.reject(new HoldfastFailure('NO_LEADER', 'the new leader is not ready yet; retry'));
    }
  }
}
