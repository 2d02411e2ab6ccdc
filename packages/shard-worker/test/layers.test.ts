/** Layers of a search with deadlines: what is left out is said, and nothing else changes. */
import { must } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import t from 'tap';
import { LaneEngine } from '../src/engine/lane-engine.ts';
import { LAYER_LIMITS_DEFAULT, SearchLayers } from '../src/engine/layers.ts';
import { loadGraphFactory } from '../src/graph/graph-engines.ts';
import { markNativeCalls } from '../src/graph/marked-graph.ts';
import { encodePointOps } from '../src/point-op.ts';
import type { LaneReadResult, SearchQuery, ShardTask } from '../src/tasks.ts';
import { clusteredVectors } from '../src/testing/seeded-dataset.ts';
import { at, definitionOf, fillQuery, UID } from './harness.ts';

const DIMENSION = 4;
const UTF8 = new TextEncoder();
/** Some slices of 16,384 rows. */
const ROW_COUNT = 60_000;
const GRAPH_ROW_COUNT = 2_000;

/** One lane, one shard: a small graph and a long tail; every look at the clock costs time. */
function makeLane(costs: { lookMs: number; graphMs: number }) {
  const clock = new VirtualClock();
  const factory = must(loadGraphFactory(), 'a graph engine is installed');
  const native = <Value>(call: () => Value): Value => {
    clock.advance(costs.graphMs);
    return call();
  };
  let lookCount = 0;
  let beatCount = 0;
  const layers = new SearchLayers(LAYER_LIMITS_DEFAULT, {
    monotonicMs: () => {
      lookCount += 1;
      clock.advance(costs.lookMs);
      return clock.monotonicMs();
    },
    onProgress: () => {
      beatCount += 1;
    },
  });
  const graphFactory = markNativeCalls(factory, { native });
  const engine = new LaneEngine({ fs: new MemoryFileSystem(), graphFactory, layers });
  const run = (task: object) => engine.run({ epoch: 1, ...task } as ShardTask);
  const place = { dataDirectory: '/data', laneIndex: 0, laneCount: 1 };
  run({ kind: 'open', ...place, appliedIndex: 0, definitions: [], manifests: [] });
  const definition = definitionOf({
    ...{ dimension: DIMENSION, shardCount: 1, sealRowCount: 1_000_000, sealSizeBytes: 1 << 30 },
  });
  const create = { kind: 'createCollection', index: 1, definition };
  run({ kind: 'apply', fromIndex: 1, toIndex: 1, commands: [create] });
  const vectors = clusteredVectors({ seed: 9, dimension: DIMENSION, count: ROW_COUNT });
  const ops = encodePointOps(
    vectors.map((vector, id) => ({
      ...({ type: 'upsert', id, vector, condition: { kind: 'none' } } as const),
      payload: UTF8.encode(JSON.stringify({ half: id % 2, tenth: id % 10 })),
    })),
  );
  const write = { kind: 'write', index: 2, uid: UID, mode: 'always', ops };
  run({ kind: 'apply', fromIndex: 2, toIndex: 2, commands: [write] });
  engine.buildSlice(GRAPH_ROW_COUNT);
  const search = (query: Partial<SearchQuery> = {}): LaneReadResult | undefined => {
    const vector = vectors[ROW_COUNT - 1]!;
    const read = { kind: 'search', query: { ...fillQuery({ vector, k: 5 }), ...query } };
    return ask(read);
  };
  const ask = (read: object): LaneReadResult | undefined => {
    const reply = run({ kind: 'read', expectedIndex: at(2), reads: [read] });
    return reply.kind === 'read' ? reply.results[0] : undefined;
  };
  const idsOf = (result: LaneReadResult | undefined) =>
    result?.kind === 'search' ? result.hits.map(({ id }) => id) : [];
  const planOf = (result: LaneReadResult | undefined) =>
    result?.kind === 'search' ? result.plans[0] : undefined;
  const looks = (): number => lookCount;
  const beats = (): number => beatCount;
  return { clock, costs, layers, engine, search, ask, idsOf, planOf, looks, beats };
}

t.test('in time nothing is left out, and the answer is the exact one', async (t) => {
  const { search, idsOf, planOf, layers } = makeLane({ lookMs: 0, graphMs: 0 });
  const found = search();
  t.same(planOf(found), {
    ...{ shard: 0, graphRowCount: GRAPH_ROW_COUNT },
    exactRowCount: ROW_COUNT - GRAPH_ROW_COUNT,
  });
  t.same(idsOf(found), idsOf(search({ isExact: true })));
  t.same(layers.counts.timeouts, { graph: 0, tail: 0 });
});

t.test('a tail that takes too long is left out and said, and probed again later', async (t) => {
  const { clock, costs, search, planOf, layers, looks } = makeLane({ lookMs: 30, graphMs: 0 });
  for (let i = 1; i <= 3; i++) {
    t.match(planOf(search()), { skippedLayer: 'tail', exactRowCount: 0 }, `search ${i}`);
    t.equal(layers.counts.timeouts.tail, i);
  }
  t.equal(layers.counts.states.tail, 'open');
  const before = looks();
  t.match(planOf(search()), { skippedLayer: 'tail' }, 'not begun any more, still said');
  t.ok(looks() - before <= 5, 'nothing was scanned');
  t.same(layers.counts.fallbacks, { exact: 0, partial: 4 });
  costs.lookMs = 0;
  clock.advance(LAYER_LIMITS_DEFAULT.breakerOpenMs);
  t.equal(planOf(search())?.skippedLayer, undefined, 'the probe was in time');
  t.equal(layers.counts.states.tail, 'closed');
});

t.test('a graph that was too slow is left out: the shard is scanned, and exact', async (t) => {
  const { clock, costs, search, idsOf, planOf, layers } = makeLane({ lookMs: 0, graphMs: 1_001 });
  const exact = idsOf(search({ isExact: true }));
  for (let i = 1; i <= 3; i++) t.equal(planOf(search())?.skippedLayer, undefined, 'late, and used');
  t.equal(layers.counts.states.graph, 'open');
  const found = search();
  t.match(planOf(found), { skippedLayer: 'graph', graphRowCount: 0, exactRowCount: ROW_COUNT });
  t.same(idsOf(found), exact);
  t.same(layers.counts.fallbacks, { exact: 1, partial: 0 });
  costs.graphMs = 0;
  clock.advance(LAYER_LIMITS_DEFAULT.breakerOpenMs);
  t.match(planOf(search()), { graphRowCount: GRAPH_ROW_COUNT });
  t.equal(layers.counts.states.graph, 'closed');
});

t.test('a scan that is needed ends with the time of the request, as an error', async (t) => {
  const { search, planOf } = makeLane({ lookMs: 10, graphMs: 0 });
  const error = { code: 'REQUEST_TIMEOUT', details: { shard: 0 } };
  t.match(search({ isExact: true, budgetMs: 15 }), { kind: 'error', error });
  t.equal(planOf(search({ isExact: true, budgetMs: 1_000 }))?.exactRowCount, ROW_COUNT);
  t.equal(planOf(search({ isExact: true }))?.exactRowCount, ROW_COUNT, 'no deadline, no end');
});

t.test('every layer exhausted is a timeout, never the tail alone', async (t) => {
  const { costs, search, layers } = makeLane({ lookMs: 0, graphMs: 1_001 });
  for (let i = 0; i < 3; i++) search();
  t.equal(layers.counts.states.graph, 'open');
  costs.lookMs = 30;
  t.match(search({ budgetMs: 40 }), { kind: 'error', error: { code: 'REQUEST_TIMEOUT' } });
});

const HALF = { must: [{ key: 'half', match: { value: 1 } }] } as const;
const TENTH = { must: [{ key: 'tenth', match: { value: 3 } }] } as const;

t.test(
  'a filtered search leaves a late tail out and says so, as one without a filter',
  async (t) => {
    const { clock, costs, search, idsOf, planOf, layers } = makeLane({ lookMs: 0, graphMs: 0 });
    const whole = search({ filter: HALF });
    t.match(planOf(whole), { filter: { way: 'graph' }, exactRowCount: 29_000 });
    t.equal(planOf(whole)?.skippedLayer, undefined);
    t.same(idsOf(whole), idsOf(search({ filter: HALF, isExact: true })));
    costs.lookMs = 30;
    for (let i = 0; i < 3; i++)
      t.match(planOf(search({ filter: HALF })), { skippedLayer: 'tail', filter: { way: 'graph' } });
    t.equal(layers.counts.states.tail, 'open');
    t.match(planOf(search({ filter: HALF })), { skippedLayer: 'tail', exactRowCount: 0 });
    costs.lookMs = 0;
    clock.advance(LAYER_LIMITS_DEFAULT.breakerOpenMs);
    t.equal(planOf(search({ filter: HALF }))?.skippedLayer, undefined);
  },
);

t.test('a filtered search without a slow graph compares all matches, and says so', async (t) => {
  const { search, idsOf, planOf, layers } = makeLane({ lookMs: 0, graphMs: 1_001 });
  for (let i = 0; i < 3; i++) search({ filter: HALF });
  t.equal(layers.counts.states.graph, 'open');
  const found = search({ filter: HALF });
  t.match(planOf(found), { skippedLayer: 'graph', filter: { way: 'exact' }, graphRowCount: 0 });
  t.same(idsOf(found), idsOf(search({ filter: HALF, isExact: true })));
});

t.test('reading payloads ends with the time of the read, and shows life meanwhile', async (t) => {
  const { ask, beats, planOf, search } = makeLane({ lookMs: 10, graphMs: 0 });
  const late = { kind: 'error', error: { code: 'REQUEST_TIMEOUT', details: { shard: 0 } } };
  const count = { kind: 'count', uid: UID, filter: TENTH };
  const page = { after: null, limit: 5, withVector: false, withPayload: false };
  const scroll = { kind: 'scroll', uid: UID, filter: TENTH, ...page };
  t.match(search({ filter: TENTH, isExact: true, budgetMs: 35 }), late);
  t.match(ask({ ...count, budgetMs: 35 }), late);
  t.same(ask({ ...count, budgetMs: 10_000 }), { kind: 'count', count: ROW_COUNT / 10 });
  const before = beats();
  t.same(ask(count), { kind: 'count', count: ROW_COUNT / 10 }, 'without a budget, to the end');
  t.equal(beats() - before, Math.floor(ROW_COUNT / 4_096), 'a beat every few thousand rows');
  t.match(ask({ ...scroll, budgetMs: 10_000 }), {
    kind: 'scroll',
    points: [{ id: 3 }, { id: 13 }],
  });
  t.match(planOf(search({ filter: TENTH, isExact: true })), { filter: { matchedRowCount: 6_000 } });
});
