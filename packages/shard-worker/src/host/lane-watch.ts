/**
 * Judges from a lane's pulse whether its thread hangs or leaks. Pure: looks come in with times.
 *
 * Silence counts only while something is expected of the thread, and only as far as this side was
 * awake to hear: a process that was stopped, or a machine that slept, gives one long gap between
 * two looks, and of that only twice the usual distance counts. Long work is no silence, because it
 * beats on its way: between tasks, slices, files and blocks. A call of the system may take as long
 * as a disk takes; it is told, never cut short, because ending the thread would wait for it too.
 */
import type { LanePlace, PulseSample } from './lane-pulse.ts';

/** How often a lane is looked at. */
export const LANE_LOOK_INTERVAL_MS = 250;
/** Gap between two looks up to which silence counts in full. */
const GAP_COUNTED_MS_MAX = 2 * LANE_LOOK_INTERVAL_MS;

export interface LaneWatchLimits {
  /** Silence of JavaScript after which the thread hangs. */
  readonly hungAfterMs: number;
  /** The same inside the native library, where the only cure is another process. */
  readonly hungNativeAfterMs: number;
  /** The same inside a call of the system: an alarm only. */
  readonly stalledAfterMs: number;
  /** From its start until the first sign of life. */
  readonly startAfterMs: number;
  /** Share of the heap's limit that is too much, seen this many times in a row. */
  readonly heapShareMax: number;
  readonly heapLookCountMax: number;
}

export const LANE_WATCH_LIMITS: LaneWatchLimits = {
  // Noticed within 5 s. The longest stretch without a beat is the scan of one shard's tail and the
  // collection of garbage in a heap of at most 1 GB: both far below a second.
  hungAfterMs: 4_250,
  // Growing the arrays of a graph of many GB copies them in one call.
  hungNativeAfterMs: 30_000,
  stalledAfterMs: 10_000,
  // A thread starts in 0.1 s; on a machine that swaps, in many.
  startAfterMs: 30_000,
  heapShareMax: 0.9,
  heapLookCountMax: 8,
};

export type LaneVerdict =
  | { readonly kind: 'fine' }
  /** The thread does not come back by itself. */
  | { readonly kind: 'hung'; readonly place: LanePlace; readonly quietMs: number }
  /** Told once per silence. */
  | { readonly kind: 'stalled'; readonly quietMs: number }
  | {
      readonly kind: 'leaking';
      readonly heapUsedSizeBytes: number;
      readonly heapLimitSizeBytes: number;
    };

const FINE: LaneVerdict = { kind: 'fine' };

export class LaneWatch {
  readonly #limits: LaneWatchLimits;
  #lastBeat = 0;
  #lastLookMs: number;
  #quietMs = 0;
  #fullLookCount = 0;
  #isStallTold = false;

  constructor(nowMs: number, limits: LaneWatchLimits = LANE_WATCH_LIMITS) {
    this.#limits = limits;
    this.#lastLookMs = nowMs;
  }

  /** One look. `hasTasks`: something is expected of the thread. */
  look(sample: PulseSample, hasTasks: boolean, nowMs: number): LaneVerdict {
    const gapMs = Math.min(GAP_COUNTED_MS_MAX, nowMs - this.#lastLookMs);
    this.#lastLookMs = nowMs;
    const isBusy = hasTasks || sample.place !== 'idle';
    if (sample.beat !== this.#lastBeat || !isBusy) {
      this.#lastBeat = sample.beat;
      this.#quietMs = 0;
      this.#isStallTold = false;
      return this.#heap(sample);
    }
    this.#quietMs += gapMs;
    return this.#silence(sample);
  }

  #silence({ beat, place }: PulseSample): LaneVerdict {
    const { hungAfterMs, hungNativeAfterMs, stalledAfterMs, startAfterMs } = this.#limits;
    const quietMs = this.#quietMs;
    if (place === 'disk') {
      if (quietMs < stalledAfterMs || this.#isStallTold) return FINE;
      this.#isStallTold = true;
      return { kind: 'stalled', quietMs };
    }
    const usualMs = place === 'native' ? hungNativeAfterMs : hungAfterMs;
    const limitMs = beat === 0 ? startAfterMs : usualMs;
    return quietMs >= limitMs ? { kind: 'hung', place, quietMs } : FINE;
  }

  #heap({ heapUsedSizeBytes, heapLimitSizeBytes }: PulseSample): LaneVerdict {
    const { heapShareMax, heapLookCountMax } = this.#limits;
    const isFull = heapLimitSizeBytes > 0 && heapUsedSizeBytes > heapShareMax * heapLimitSizeBytes;
    this.#fullLookCount = isFull ? this.#fullLookCount + 1 : 0;
    if (this.#fullLookCount < heapLookCountMax) return FINE;
    this.#fullLookCount = 0;
    return { kind: 'leaking', heapUsedSizeBytes, heapLimitSizeBytes };
  }
}
