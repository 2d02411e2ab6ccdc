/**
 * The two layers of a shard's search, each with a deadline and a breaker: the graph, and the scan
 * of the tail that the graph does not hold yet. One per lane; times come through the clock given.
 *
 * - A graph that was too slow three times in a row is left out for a while: its shard is scanned,
 *   which is slower and exact.
 * - A tail that is not scanned in its time is left out of that answer, and the answer says so.
 * - A scan that the answer cannot do without ends with the request's own time, as an error.
 *
 * A native graph search cannot be cut short, so its deadline counts for the next one. A scan looks
 * at the clock between slices, and tells the lane's pulse that it gets on.
 */
import type { CircuitState } from '@holdfast/base';
import { CircuitBreaker, HoldfastError } from '@holdfast/base';

export const SEARCH_LAYERS = ['graph', 'tail'] as const;
export type SearchLayer = (typeof SEARCH_LAYERS)[number];

export interface LayerLimits {
  readonly graphTimeoutMs: number;
  readonly tailTimeoutMs: number;
  /** How long a layer that was too slow is left out. */
  readonly breakerOpenMs: number;
}

export const LAYER_LIMITS_DEFAULT: LayerLimits = {
  graphTimeoutMs: 1_000,
  tailTimeoutMs: 50,
  breakerOpenMs: 10_000,
};

/** Slow searches in a row. */
const BREAKER_FAILURE_COUNT_MAX = 3;

/** What happened to searches of a lane since its thread started. */
export interface LayerCounts {
  readonly timeouts: { readonly [Layer in SearchLayer]: number };
  /** Answers without a layer: `exact`, the shard was scanned; `partial`, the tail was left out. */
  readonly fallbacks: { readonly exact: number; readonly partial: number };
  readonly states: { readonly [Layer in SearchLayer]: CircuitState };
}

export interface LayerSeams {
  readonly monotonicMs: () => number;
  /** Called between slices of long scans. */
  readonly onProgress: () => void;
}

/** Asked between slices of a scan: true when its time is over. */
export type IsOver = () => boolean;

export class SearchLayers {
  readonly #limits: LayerLimits;
  readonly #seams: LayerSeams;
  readonly #breakers: { readonly [Layer in SearchLayer]: CircuitBreaker };
  readonly #timeouts: { [Layer in SearchLayer]: number } = { graph: 0, tail: 0 };
  readonly #fallbacks = { exact: 0, partial: 0 };

  constructor(limits: LayerLimits, seams: LayerSeams) {
    this.#limits = limits;
    this.#seams = seams;
    const options = { failureCountMax: BREAKER_FAILURE_COUNT_MAX, openMs: limits.breakerOpenMs };
    this.#breakers = { graph: new CircuitBreaker(options), tail: new CircuitBreaker(options) };
  }

  get counts(): LayerCounts {
    const { graph, tail } = this.#breakers;
    return {
      timeouts: { ...this.#timeouts },
      fallbacks: { ...this.#fallbacks },
      states: { graph: graph.state, tail: tail.state },
    };
  }

  nowMs(): number {
    return this.#seams.monotonicMs();
  }

  /** False: do without this layer. Otherwise tell how long it took. */
  tryPass(layer: SearchLayer, nowMs: number): boolean {
    const mayPass = this.#breakers[layer].tryPass(nowMs);
    if (!mayPass) this.noteFallback(layer);
    return mayPass;
  }

  graphDone(startMs: number): void {
    const nowMs = this.nowMs();
    this.#judge('graph', nowMs - startMs <= this.#limits.graphTimeoutMs, nowMs);
  }

  tailDone(isWhole: boolean): void {
    this.#judge('tail', isWhole, this.nowMs());
    if (!isWhole) this.noteFallback('tail');
  }

  noteFallback(layer: SearchLayer): void {
    if (layer === 'graph') this.#fallbacks.exact += 1;
    else this.#fallbacks.partial += 1;
  }

  /** For a tail: over after its own time, or the request's. */
  tailOver(deadlineMs: number): IsOver {
    return this.scanOver(Math.min(deadlineMs, this.nowMs() + this.#limits.tailTimeoutMs));
  }

  scanOver(deadlineMs: number): IsOver {
    return () => {
      this.#seams.onProgress();
      return this.nowMs() >= deadlineMs;
    };
  }

  #judge(layer: SearchLayer, isInTime: boolean, nowMs: number): void {
    if (isInTime) this.#breakers[layer].succeeded();
    else {
      this.#timeouts[layer] += 1;
      this.#breakers[layer].failed(nowMs);
    }
  }
}

export function searchTimeout(shard: number): HoldfastError {
  return new HoldfastError(
    'REQUEST_TIMEOUT',
    `the time of the request was over before shard ${shard} was scanned; allow it more`,
    { details: { shard } },
  );
}
