/**
 * Answers to searches that were asked before, at the same log index: any write makes all of them
 * old at once, so nothing stale is ever found here. Off unless configured, because most loads do
 * not repeat a vector to the bit.
 *
 * It is a layer like the others: a look-up that takes too long counts, and after three in a row it
 * is left out for a while.
 */
import type { Clock, LogIndex } from '@holdfast/base';
import { CircuitBreaker, logIndex } from '@holdfast/base';
import type { LaneReadResult, SearchQuery } from '@holdfast/shard-worker';
import type { LaneAnswers } from './scatter-gather.ts';

export interface ResultCacheOptions {
  /** 0: no cache. */
  readonly entryCountMax: number;
  readonly timeoutMs: number;
  readonly breakerOpenMs: number;
}

export const RESULT_CACHE_OFF: ResultCacheOptions = {
  entryCountMax: 0,
  timeoutMs: 10,
  breakerOpenMs: 10_000,
};

/** Larger answers are not kept: with the count above it bounds the memory. */
const ANSWER_SIZE_BYTES_MAX = 64 * 1024;
const HIT_SIZE_BYTES = 64;
const BREAKER_FAILURE_COUNT_MAX = 3;

export interface ResultCacheCounts {
  readonly hits: number;
  readonly misses: number;
  readonly timeouts: number;
  readonly entries: number;
  readonly state: CircuitBreaker['state'];
}

export class ResultCache {
  readonly name = 'searches';
  readonly #options: ResultCacheOptions;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #breaker: CircuitBreaker;
  /** Least recently used first; all of `#index`. */
  readonly #answers = new Map<string, readonly LaneReadResult[]>();
  #index: LogIndex = logIndex(0);
  #hits = 0;
  #misses = 0;
  #timeouts = 0;

  constructor(options: ResultCacheOptions, clock: Pick<Clock, 'monotonicMs'>) {
    this.#options = options;
    this.#clock = clock;
    this.#breaker = new CircuitBreaker({
      failureCountMax: BREAKER_FAILURE_COUNT_MAX,
      openMs: options.breakerOpenMs,
    });
  }

  get counts(): ResultCacheCounts {
    const { state } = this.#breaker;
    const entries = this.#answers.size;
    return { hits: this.#hits, misses: this.#misses, timeouts: this.#timeouts, entries, state };
  }

  clear(): { readonly entryCount: number } {
    const entryCount = this.#answers.size;
    this.#answers.clear();
    return { entryCount };
  }

  /** The answer at exactly `index`, else what `ask` gives, which is kept when it is whole. */
  async through(
    query: SearchQuery,
    index: LogIndex,
    ask: () => Promise<LaneAnswers>,
  ): Promise<LaneAnswers> {
    const startMs = this.#clock.monotonicMs();
    if (this.#options.entryCountMax === 0 || !this.#breaker.tryPass(startMs)) return ask();
    const key = keyOf(query);
    const found = this.#find(key, index);
    this.#judge(startMs);
    if (found !== null) {
      this.#hits += 1;
      return { index, results: found };
    }
    this.#misses += 1;
    const answers = await ask();
    this.#keep(key, answers);
    return answers;
  }

  #find(key: string, index: LogIndex): readonly LaneReadResult[] | null {
    if (index !== this.#index) return null;
    const found = this.#answers.get(key);
    if (found === undefined) return null;
    this.#answers.delete(key);
    this.#answers.set(key, found);
    return found;
  }

  #judge(startMs: number): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - startMs <= this.#options.timeoutMs) {
      this.#breaker.succeeded();
      return;
    }
    this.#timeouts += 1;
    this.#breaker.failed(nowMs);
  }

  #keep(key: string, { index, results }: LaneAnswers): void {
    if (index < this.#index || !results.every(isWorthKeeping)) return;
    if (index > this.#index) {
      this.#answers.clear();
      this.#index = index;
    }
    this.#answers.set(key, results);
    if (this.#answers.size <= this.#options.entryCountMax) return;
    const [oldest] = this.#answers.keys();
    if (oldest !== undefined) this.#answers.delete(oldest);
  }
}

/** Equal for equal questions only: options as text, then the bits of the vector. */
function keyOf(query: SearchQuery): string {
  const { uid, vector, k, ef, isExact, withPayload, withVector } = query;
  const { buffer, byteOffset, byteLength } = vector;
  const bits = Buffer.from(buffer, byteOffset, byteLength).toString('latin1');
  return `${uid} ${k} ${ef} ${isExact} ${withPayload} ${withVector} ${bits}`;
}

/** Errors and answers that left something out are asked for again. */
function isWorthKeeping(result: LaneReadResult): boolean {
  if (result.kind !== 'search') return false;
  if (result.plans.some(({ skippedLayer }) => skippedLayer !== undefined)) return false;
  let sizeBytes = 0;
  for (const { vector, payload } of result.hits)
    sizeBytes += HIT_SIZE_BYTES + (vector?.byteLength ?? 0) + (payload?.byteLength ?? 0);
  return sizeBytes <= ANSWER_SIZE_BYTES_MAX;
}
