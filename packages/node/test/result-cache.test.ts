/** The cache of answers: exact questions, one log index, bounded, and never in the way. */
import { logIndex, SeededRandom } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import type { LaneReadResult, SearchQuery } from '@holdfast/shard-worker';
import t from 'tap';
import { RESULT_CACHE_OFF, ResultCache } from '../src/routing/result-cache.ts';
import type { LaneAnswers } from '../src/routing/scatter-gather.ts';

const query = (changes: Partial<SearchQuery> = {}): SearchQuery => ({
  ...{ uid: 1, vector: Float32Array.of(1, 2), k: 3, ef: null, isExact: false },
  ...{ withPayload: true, withVector: false },
  ...changes,
});

const answerOf = (score: number, skipped = false): LaneReadResult => ({
  kind: 'search',
  hits: [{ id: 1, version: 1, vector: null, payload: null, score }],
  plans: [
    { shard: 0, graphRowCount: 1, exactRowCount: 0, ...(skipped ? { skippedLayer: 'tail' } : {}) },
  ],
});

function makeCache(entryCountMax = 3) {
  const clock = new VirtualClock();
  let lookMs = 0;
  const slow = {
    monotonicMs: () => {
      clock.advance(lookMs);
      return clock.monotonicMs();
    },
  };
  const cache = new ResultCache({ ...RESULT_CACHE_OFF, entryCountMax }, slow);
  let asked = 0;
  const ask =
    (index: number, result = answerOf(index)) =>
    async (): Promise<LaneAnswers> => {
      asked += 1;
      return { index: logIndex(index), results: [result] };
    };
  const through = (index: number, changes: Partial<SearchQuery> = {}, result?: LaneReadResult) =>
    cache.through(query(changes), logIndex(index), ask(index, result));
  const setLookMs = (ms: number): void => {
    lookMs = ms;
  };
  return { cache, clock, through, setLookMs, asked: () => asked };
}

t.test('an equal question at an equal index is answered once', async (t) => {
  const { cache, through, asked } = makeCache();
  const first = await through(5);
  t.same(await through(5), first);
  t.equal(asked(), 1);
  t.match(cache.counts, { hits: 1, misses: 1, entries: 1 });
  for (const changes of [
    { uid: 2 },
    { k: 4 },
    { ef: 9 },
    { isExact: true },
    { withPayload: false },
    { withVector: true },
    { vector: Float32Array.of(1, 2.0000002) },
    { vector: Float32Array.of(-0, 2) },
  ])
    await through(5, changes);
  t.equal(asked(), 9, 'any difference is another question');
});

t.test('a write makes every answer old, and an old one is never given', async (t) => {
  const { cache, through } = makeCache();
  const random = new SeededRandom(1);
  let index = 1;
  for (let i = 0; i < 500; i++) {
    if (random.nextBelow(4) === 0) index += 1;
    const vector = Float32Array.of(random.nextBelow(3), 0);
    const { index: seen, results } = await through(index, { vector });
    const [result] = results;
    if (seen !== index || result?.kind !== 'search' || result.hits[0]?.score !== index)
      t.fail(`at ${index} the answer of another index`);
  }
  t.ok(cache.counts.hits > 50 && cache.counts.entries <= 3, 'it was used, and is bounded');
  await through(index - 1);
  t.ok((await through(index)).index === index, 'a late answer of before does not come back');
});

t.test('errors, degraded and huge answers are asked for again', async (t) => {
  const { through, asked } = makeCache();
  const error = { code: 'SHARD_UNAVAILABLE', message: '', definite: true, details: {} } as const;
  const hit = { id: 1, version: 1, vector: null, payload: new Uint8Array(70_000), score: 1 };
  const huge: LaneReadResult = { kind: 'search', hits: [hit], plans: [] };
  for (const result of [{ kind: 'error', error } as const, answerOf(1, true), huge]) {
    const before = asked();
    await through(1, {}, result as LaneReadResult);
    await through(1, {}, result as LaneReadResult);
    t.equal(asked() - before, 2);
  }
});

t.test(
  'a cache that is slow is left out for a while, and an empty one is never asked',
  async (t) => {
    const { cache, clock, through, setLookMs, asked } = makeCache();
    setLookMs(11);
    for (let i = 0; i < 3; i++) await through(1);
    t.match(cache.counts, { timeouts: 3, state: 'open' });
    const before = asked();
    await through(1);
    t.equal(asked() - before, 1, 'the lanes are asked');
    setLookMs(0);
    clock.advance(RESULT_CACHE_OFF.breakerOpenMs);
    await through(1);
    t.equal(cache.counts.state, 'closed');
    const off = makeCache(0);
    await off.through(1);
    await off.through(1);
    t.equal(off.asked(), 2);
  },
);
