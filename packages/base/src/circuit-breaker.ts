/**
 * Keeps work away from something that fails. Closed: everything passes. After `failureCountMax`
 * failures in a row, or one that says so, it opens: nothing passes for `openMs`. Then one probe may
 * pass (half-open): it decides whether it closes or stays open for as long again. Pure: the caller
 * tells the time.
 */
import { assert } from './assert.ts';

export interface CircuitBreakerOptions {
  /** Failures in a row that open it. */
  readonly failureCountMax: number;
  /** How long it stays open before a probe. */
  readonly openMs: number;
}

export type CircuitState = 'closed' | 'open' | 'half-open';

export class CircuitBreaker {
  readonly #options: CircuitBreakerOptions;
  #state: CircuitState = 'closed';
  #failureCount = 0;
  #probeAtMs = 0;
  #openedCount = 0;

  constructor(options: CircuitBreakerOptions) {
    assert(options.failureCountMax >= 1 && options.openMs >= 0, 'a breaker needs limits');
    this.#options = options;
  }

  get state(): CircuitState {
    return this.#state;
  }

  /** Failures in a row. */
  get failureCount(): number {
    return this.#failureCount;
  }

  /** Times it went from closed to open. */
  get openedCount(): number {
    return this.#openedCount;
  }

  /** When the next probe may pass; null while closed. */
  get probeAtMs(): number | null {
    return this.#state === 'open' ? this.#probeAtMs : null;
  }

  /** True: go on, and tell how it went. An open one lets one probe through when its time came. */
  tryPass(nowMs: number): boolean {
    if (this.#state === 'closed') return true;
    if (this.#state === 'half-open' || nowMs < this.#probeAtMs) return false;
    this.#state = 'half-open';
    return true;
  }

  /** What made it open is said to be gone: the next try may be the probe. */
  allowProbe(nowMs: number): void {
    if (this.#state === 'open') this.#probeAtMs = Math.min(this.#probeAtMs, nowMs);
  }

  succeeded(): void {
    this.#state = 'closed';
    this.#failureCount = 0;
  }

  /** `isDecisive`: once is enough, for example a full disk. */
  failed(nowMs: number, isDecisive = false): void {
    this.#failureCount += 1;
    const isEnough = isDecisive || this.#failureCount >= this.#options.failureCountMax;
    if (this.#state === 'closed' && !isEnough) return;
    if (this.#state === 'closed') this.#openedCount += 1;
    this.#state = 'open';
    this.#probeAtMs = nowMs + this.#options.openMs;
  }
}
