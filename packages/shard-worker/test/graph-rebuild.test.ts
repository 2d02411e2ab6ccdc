/** Graphs that are replaced while they answer: for their dead rows, for their recall. */
import { must } from '@holdfast/base';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import tap from 'tap';
import { LaneEngine } from '../src/engine/lane-engine.ts';
import { Shard } from '../src/engine/shard.ts';
import { DEAD_SHARE_MAX } from '../src/graph/build-queue.ts';
import type { GraphFactory } from '../src/graph/graph.ts';
import { loadGraphFactory } from '../src/graph/graph-engines.ts';
import { PROBE_QUERY_COUNT, RECALL_MIN, ShardGraphHealth } from '../src/graph/graph-health.ts';
import { InlineHost } from '../src/host/inline-host.ts';
import { LaneRunner, PROBE_INTERVAL_MS } from '../src/host/lane-runner.ts';
import type { GraphChoice } from '../src/model.ts';
import type { PointOp } from '../src/point-op.ts';
import { encodePointOps, PointOpReader } from '../src/point-op.ts';
import type { ShardReply, ShardTask } from '../src/tasks.ts';
import { clusteredVectors } from '../src/testing/seeded-dataset.ts';
import { FakeGraphs } from './fake-graph.ts';
import { definitionOf, HostDriver } from './harness.ts';

const none = { kind: 'none' } as const;
const DIMENSION = 16;
const vectors = clusteredVectors({ seed: 77, dimension: DIMENSION, count: 3000 });
const upsertOf = (id: number, vector = must(vectors[id])): PointOp => ({
  type: 'upsert',
  id,
  vector,
  payload: null,
  condition: none,
});
const deleteOf = (id: number): PointOp => ({ type: 'delete', id, condition: none });
const real = must(loadGraphFactory(), 'no graph engine');

async function driverOf(graphFactory: GraphFactory) {
  const graph: GraphChoice = { engine: 'hnswlib', precision: 'f32' };
  const host = new InlineHost({
    fs: new MemoryFileSystem(),
    dataDirectory: '/data',
    laneCount: 1,
    graphFactory,
  });
  const driver = new HostDriver(host, definitionOf({ dimension: DIMENSION, shardCount: 1, graph }));
  await driver.openEmpty();
  await driver.create();
  await driver.write(vectors.slice(0, 2000).map((_, id) => upsertOf(id)));
  await host.settle();
  return { host, driver };
}

tap.test('a graph with a quarter of dead rows is replaced while it answers', async (t) => {
  const { host, driver } = await driverOf(real);
  const stats = async () => must((await host.stats())[0]);
  const deletedCount = Math.ceil(2000 * DEAD_SHARE_MAX);
  await driver.write(Array.from({ length: deletedCount }, (_, id) => deleteOf(id)));
  t.notOk(host.buildSlice(10), 'a quarter is not yet more than a quarter');
  await driver.write([deleteOf(deletedCount)]);
  t.ok(host.buildSlice(800), 'begun');
  t.match((await stats()).graphs, { rebuildingCount: 1, nodeCount: 2000, deadNodeCount: 501 });
  const check = async (label: string) => {
    for (const id of [600, 1200, 1999]) {
      const { hits, plans } = await driver.search({ vector: must(vectors[id]), k: 1, ef: 100 });
      t.same(hits[0]?.id, id, label);
      t.ok(must(plans[0]).graphRowCount > 1000, `${label}: by graph`);
    }
  };
  await check('in the middle');
  // Rows die and come on both sides of where the new graph has got to.
  await driver.write([deleteOf(601), deleteOf(1998), upsertOf(2500)]);
  for (let slice = 0; slice < 5; slice++) {
    t.ok(host.buildSlice(150));
    await check(`slice ${slice}`);
  }
  t.ok((await stats()).graphs.rebuildingCount === 1);
  await host.settle();
  await check('replaced');
  const after = await stats();
  t.match(after, { graphRowCount: 1498, tailRowCount: 0 });
  t.match(after.graphs, { rebuildingCount: 0, rebuiltForDeadRowsCount: 1, nodeCount: 1499 });
  // 601 had been copied before it died, 1998 had not.
  t.equal(after.graphs.deadNodeCount, 1, 'the new graph knows of its dead row');
  const gone = await driver.search({ vector: must(vectors[601]), k: 5 });
  t.notOk(gone.hits.some(({ id }) => id === 601 || id === 1998));
  // So few are left at last that no graph is needed.
  await driver.write(Array.from({ length: 1400 }, (_, i) => deleteOf(580 + i)));
  await host.settle();
  t.match(await stats(), { graphRowCount: 0, graphs: { nodeCount: 0, rebuildingCount: 0 } });
});

tap.test('writes during a replacement do not pile up in the tail', async (t) => {
  const { host, driver } = await driverOf(real);
  await driver.write(Array.from({ length: 700 }, (_, id) => deleteOf(id)));
  host.buildSlice(10);
  for (let round = 0; round < 60; round++) {
    await driver.write(
      Array.from({ length: 60 }, (_, i) => upsertOf(5000 + round * 60 + i, must(vectors[i]))),
    );
    host.buildSlice(100);
    const [stats] = await host.stats();
    t.ok(must(stats).tailRowCount < 2200, `${stats?.tailRowCount} rows of tail`);
  }
  await host.settle();
  t.match(await host.stats(), [{ tailRowCount: 0, graphs: { rebuiltForDeadRowsCount: 1 } }]);
});

function probed(factory: FakeGraphs, precision: 'f32' | 'bf16') {
  const definition = definitionOf({
    dimension: DIMENSION,
    shardCount: 1,
    graph: { engine: 'usearch', precision },
  });
  const shard = new Shard(definition, 0, factory);
  const ops = encodePointOps(vectors.slice(0, 1500).map((_, id) => upsertOf(id)));
  const op = new PointOpReader(ops);
  while (op.next()) shard.upsert(op, 2, 1);
  const build = () => {
    while (shard.queue.hasWork) shard.queue.buildSlice(Number.MAX_SAFE_INTEGER);
  };
  build();
  const health = new ShardGraphHealth(shard);
  const verdict = () => {
    let sliceCount = 1;
    while (!health.slice(400)) sliceCount += 1;
    return sliceCount;
  };
  return { shard, health, build, verdict };
}

tap.test('a good graph passes its probe, in slices of bounded size', async (t) => {
  const { shard, health, verdict } = probed(new FakeGraphs(new MemoryFileSystem()), 'f32');
  t.equal(health.recall, null);
  t.equal(verdict(), PROBE_QUERY_COUNT * 5, 'four slices of 400 rows and one of the graph each');
  t.equal(health.recall, 1);
  t.notOk(shard.queue.hasWork);
});

tap.test('a graph that misses too much is replaced, and not for ever', async (t) => {
  const factory = new FakeGraphs(new MemoryFileSystem());
  factory.blindShare = 0.5;
  const { shard, health, build, verdict } = probed(factory, 'f32');
  verdict();
  t.ok(must(health.recall) < RECALL_MIN, `${health.recall}`);
  t.ok(shard.queue.isRebuilding);
  t.ok(health.slice(400), 'no probe of a graph that is being replaced');
  build();
  t.same(shard.queue.rebuildCounts, { deadRows: 0, recall: 1 });
  verdict();
  t.ok(must(health.recall) < RECALL_MIN, 'the new one is as bad');
  t.notOk(shard.queue.isRebuilding, 'then the data or the ef is the cause: it stays');
});

tap.test('low recall at bf16 is answered with a graph at f32', async (t) => {
  const factory = new FakeGraphs(new MemoryFileSystem());
  factory.blindShare = 0.5;
  const { shard, health, build, verdict } = probed(factory, 'bf16');
  factory.blindShare = 0;
  verdict();
  build();
  t.same(
    factory.created.map(({ graph }) => graph.precision),
    ['bf16', 'f32'],
  );
  t.equal(shard.queue.graph?.precision, 'f32');
  verdict();
  t.equal(health.recall, 1);
  t.same(shard.queue.rebuildCounts, { deadRows: 0, recall: 1 });
});

tap.test('rows that die under a probe do not count against the graph', async (t) => {
  const { shard, health } = probed(new FakeGraphs(new MemoryFileSystem()), 'f32');
  for (let slice = 0; !health.slice(700); slice++) {
    const op = new PointOpReader(encodePointOps([deleteOf(1499 - slice)]));
    while (op.next()) shard.delete(op, 3 + slice);
  }
  t.equal(health.recall, 1);
});

tap.test('the probe runs in the pauses of a lane and ends with it', async (t) => {
  const deferred: { readonly delayMs: number; readonly callback: () => void }[] = [];
  const runner = new LaneRunner({
    engine: new LaneEngine({ fs: new MemoryFileSystem(), graphFactory: real }),
    monotonicMs: () => 0,
    defer: (delayMs, callback) => deferred.push({ delayMs, callback }),
    probeIntervalMs: PROBE_INTERVAL_MS,
  });
  const run = async (task: object): Promise<ShardReply> =>
    runner.run({ epoch: 1, ...task } as ShardTask);
  const place = { dataDirectory: '/data', laneIndex: 0, laneCount: 1 };
  await run({ kind: 'open', ...place, appliedIndex: 0, definitions: [], manifests: [] });
  t.equal(deferred.length, 1, 'one chain of timers');
  must(deferred.shift()).callback();
  t.ok(must(deferred[0]).delayMs > 1000, 'nothing to probe: it rests');
  await run({ kind: 'close' });
  must(deferred.shift()).callback();
  t.same(deferred, [], 'a closed lane has no timer');
});
