/**
 * Whether another cluster has taken over from this one, as far as its stores say. The leader looks
 * from time to time; what it saw last, and when that look began, decides whether it takes writes.
 *
 * Timing, with `primaryRequiresSink`: a look that finds nothing covers `fenceAgeMaxMs` from its
 * beginning, on this node's monotonic clock. A takeover waits that long, and clock error, after its
 * epoch is in the store; see ADR 0040, point 10.
 */
import type { Clock, ClusterId, HoldfastError } from '@holdfast/base';
import { HoldfastError as HoldfastFailure, toHoldfastError } from '@holdfast/base';
import type { SiteEpoch } from '@holdfast/storage';
import { OWN_EPOCH } from '../state/site.ts';
import type { SiteStores } from './site-stores.ts';

export interface FenceWatchOptions {
  readonly clusterId: ClusterId;
  readonly stores: SiteStores;
  readonly clock: Clock;
  readonly lookIntervalMs: number;
  /** How long a look covers; null: writes do not depend on it. */
  readonly ageMaxMs: number | null;
}

export interface FenceWatchStatus {
  /** Since the beginning of the last look that reached the deciding store; null: none yet. */
  readonly lookAgeMs: number | null;
  readonly failureCount: number;
  readonly lastError: HoldfastError | null;
}

export class FenceWatch {
  readonly #options: FenceWatchOptions;
  #lookedAtMs: number | null = null;
  #nextLookMs = 0;
  #isFirstDone = false;
  #newer: SiteEpoch | null = null;
  #failureCount = 0;
  #lastError: HoldfastError | null = null;

  constructor(options: FenceWatchOptions) {
    this.#options = options;
  }

  /** A leadership begins: what an earlier one saw does not count. */
  begin(): void {
    this.#lookedAtMs = null;
    this.#nextLookMs = 0;
    this.#isFirstDone = false;
  }

  get isDue(): boolean {
    return this.#options.clock.monotonicMs() >= this.#nextLookMs;
  }

  /** Every store was asked once in this leadership, whatever it answered. */
  get isFirstDone(): boolean {
    return this.#isFirstDone;
  }

  /** Who took over; null: nobody, as far as this node has seen. */
  get newer(): SiteEpoch | null {
    return this.#newer;
  }

  /** False when writes must wait for a look. */
  get isFresh(): boolean {
    const { ageMaxMs, clock } = this.#options;
    if (ageMaxMs === null) return true;
    return this.#lookedAtMs !== null && clock.monotonicMs() - this.#lookedAtMs <= ageMaxMs;
  }

  status(): FenceWatchStatus {
    const nowMs = this.#options.clock.monotonicMs();
    const lookAgeMs = this.#lookedAtMs === null ? null : nowMs - this.#lookedAtMs;
    return { lookAgeMs, failureCount: this.#failureCount, lastError: this.#lastError };
  }

  /** Asks every store. Never throws. */
  async look(signal: AbortSignal): Promise<void> {
    const { clock, lookIntervalMs, stores } = this.#options;
    const beganMs = clock.monotonicMs();
    this.#nextLookMs = beganMs + lookIntervalMs;
    const found = await Promise.all(
      stores.all.map((sink, position) => this.#lookInto(sink, position === 0, signal)),
    );
    if (signal.aborted) return;
    this.#isFirstDone = true;
    this.#newer ??= found.find((one) => one.epoch !== null)?.epoch ?? null;
    if (found[0]?.isKnown === true) this.#lookedAtMs = beganMs;
  }

  async #lookInto(
    sink: SiteStores['deciding'],
    isDeciding: boolean,
    signal: AbortSignal,
  ): Promise<{ readonly epoch: SiteEpoch | null; readonly isKnown: boolean }> {
    const { clusterId, stores } = this.#options;
    try {
      const epoch = await stores.newestEpoch(sink, clusterId, OWN_EPOCH, signal);
      if (isDeciding) this.#lastError = null;
      return { epoch, isKnown: true };
    } catch (thrown) {
      if (!signal.aborted) {
        this.#failureCount += 1;
        this.#lastError = toHoldfastError(thrown);
      }
      return { epoch: null, isKnown: false };
    }
  }
}

export const fenceUnknown = (isDefinite: boolean): HoldfastError =>
  new HoldfastFailure(
    'FENCE_UNKNOWN',
    isDefinite
      ? 'this leader cannot tell whether another cluster has taken over, because it cannot read ' +
          'the store (primaryRequiresSink); nothing was written, try again later'
      : 'while the write was under way the store could not be read, so another cluster may have ' +
          'taken over without it (primaryRequiresSink); repeat the same request',
    isDefinite ? {} : { definite: false },
  );
