/**
 * When something that died is started again: after 1, 2, 4, 8, 16 s, then every 16 s, and after ten
 * attempts in a row not at all. One that held for a minute starts again from the front. Pure: the
 * caller tells the time and keeps the timer.
 */
import { assert } from './assert.ts';

export interface RestartPolicyOptions {
  readonly delayMsMin: number;
  readonly delayMsMax: number;
  /** Attempts in a row before giving up. */
  readonly attemptCountMax: number;
  /** An attempt that held this long was a success: the count starts again. */
  readonly stableAfterMs: number;
}

export const RESTART_POLICY_DEFAULT: RestartPolicyOptions = {
  delayMsMin: 1_000,
  delayMsMax: 16_000,
  attemptCountMax: 10,
  stableAfterMs: 60_000,
};

export class RestartPolicy {
  readonly #options: RestartPolicyOptions;
  #attemptCount = 0;
  #startedAtMs: number | null = null;

  constructor(options: RestartPolicyOptions = RESTART_POLICY_DEFAULT) {
    assert(options.delayMsMin > 0 && options.delayMsMax >= options.delayMsMin, 'delays grow');
    this.#options = options;
  }

  /** Attempts in a row that did not hold. */
  get attemptCount(): number {
    return this.#attemptCount;
  }

  /** It works from now on. */
  started(nowMs: number): void {
    this.#startedAtMs = nowMs;
  }

  /** It died, or could not be started: how long to wait with the next try; null: give up. */
  died(nowMs: number): number | null {
    const { delayMsMin, delayMsMax, attemptCountMax, stableAfterMs } = this.#options;
    const ranMs = this.#startedAtMs === null ? 0 : nowMs - this.#startedAtMs;
    this.#startedAtMs = null;
    if (ranMs >= stableAfterMs) this.#attemptCount = 0;
    if (this.#attemptCount >= attemptCountMax) return null;
    this.#attemptCount += 1;
    return Math.min(delayMsMax, delayMsMin * 2 ** Math.min(this.#attemptCount - 1, 30));
  }
}
