/** Lanes in threads: order under load, limits, lost threads, a real disk; the runner's slices. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type HoldfastError, must } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import { NodeFileSystem } from '@holdfast/storage';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import type { Test } from 'tap';
import tap from 'tap';
import { LaneEngine } from '../src/engine/lane-engine.ts';
import { loadGraphFactory } from '../src/graph/graph-engines.ts';
import { InlineHost } from '../src/host/inline-host.ts';
import { LANE_READ_TASK_COUNT_MAX } from '../src/host/lane.ts';
import { laneOfShard } from '../src/host/lane-of.ts';
import { BUILD_SLICE_MS, LaneRunner } from '../src/host/lane-runner.ts';
import { PiscinaHost } from '../src/host/piscina-host.ts';
import type { PointOp } from '../src/point-op.ts';
import { encodePointOps, splitPointOps } from '../src/point-op.ts';
import { removeUnreferenced } from '../src/segment/references.ts';
import type { LaneReadResult, ShardTask } from '../src/tasks.ts';
import { clusteredVectors } from '../src/testing/seeded-dataset.ts';
import { at, definitionOf, fillQuery, HostDriver, UID } from './harness.ts';

const none = { kind: 'none' } as const;
const DIMENSION = 16;

function dataDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-lanes-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  return directory;
}

async function threads(t: Test, laneCount: number): Promise<HostDriver & { host: PiscinaHost }> {
  const host = new PiscinaHost({ dataDirectory: dataDirectory(t), laneCount });
  t.teardown(() => host.close());
  const definition = definitionOf({ dimension: DIMENSION, shardCount: 4 });
  const driver = new HostDriver(host, definition);
  await driver.openEmpty();
  await driver.create();
  return driver as HostDriver & { host: PiscinaHost };
}

const upsertOf = (id: number, vector: Float32Array): PointOp => ({
  type: 'upsert',
  id,
  vector,
  payload: new TextEncoder().encode(`{"n":${id}}`),
  condition: none,
});

const countOf = (results: readonly (readonly LaneReadResult[])[]): number =>
  results.flat().reduce((sum, one) => sum + (one.kind === 'count' ? one.count : 0), 0);

tap.test('shards spread evenly over lanes, the same everywhere', async (t) => {
  for (const laneCount of [1, 2, 3, 5]) {
    const counts = new Array<number>(laneCount).fill(0);
    for (let uid = 1; uid <= 50; uid++)
      for (let shard = 0; shard < 6; shard++) counts[laneOfShard(uid, shard, laneCount)]! += 1;
    const mean = 300 / laneCount;
    t.ok(
      counts.every((count) => Math.abs(count - mean) <= mean / 3),
      `${laneCount}: ${counts}`,
    );
  }
  t.same(
    [0, 1, 2, 3].map((shard) => laneOfShard(7, shard, 2)),
    [0, 1, 0, 1].map((l) => (l + laneOfShard(7, 0, 2)) % 2),
  );
});

tap.test('threads keep the order of applies and reads under load', async (t) => {
  const driver = await threads(t, 2);
  const vectors = clusteredVectors({ seed: 3, dimension: DIMENSION, count: 3000 });
  const countEverywhere = [[{ kind: 'count', uid: UID }], [{ kind: 'count', uid: UID }]] as const;
  const applies: Promise<unknown>[] = [];
  const reads: Promise<number>[] = [];
  // Everything is posted without waiting: each read must see the applies before it and no more.
  for (let batch = 0; batch < 150; batch++) {
    const ops = vectors
      .slice(batch * 20, batch * 20 + 20)
      .map((vector, i) => upsertOf(batch * 20 + i, vector));
    applies.push(driver.write(ops));
    reads.push(driver.host.read(at(driver.appliedIndex), countEverywhere).then(countOf));
  }
  await Promise.all(applies);
  t.same(
    await Promise.all(reads),
    Array.from({ length: 150 }, (_, i) => (i + 1) * 20),
  );
  await driver.host.settle();
  const stats = await driver.host.stats();
  t.ok(
    stats.every(({ graphRowCount, tailRowCount }) => graphRowCount === 0 && tailRowCount > 0),
    'shards this small have no graph',
  );
  t.ok(stats.every(({ busyMs, appliedIndex }) => busyMs > 0 && appliedIndex === 151));
});

tap.test('threads write a checkpoint while entries go on being applied', async (t) => {
  const driver = await threads(t, 2);
  const vectors = clusteredVectors({ seed: 5, dimension: DIMENSION, count: 6000 });
  const write = (batch: number) =>
    driver.write(
      Array.from({ length: 40 }, (_, i) => {
        const id = (batch * 40 + i) % 3000;
        return upsertOf(id, vectors[(batch * 40 + i) % vectors.length]!);
      }),
    );
  for (let batch = 0; batch < 100; batch++) await write(batch);
  const index = driver.appliedIndex;
  const expected = await driver.digests();
  let isWritten = false;
  const written = driver.checkpoint('under-way').finally(() => {
    isWritten = true;
  });
  let overtakingCount = 0;
  for (let batch = 100; batch < 160; batch++) {
    await write(batch);
    if (!isWritten) overtakingCount += 1;
  }
  const manifests = await written;
  t.ok(overtakingCount > 0, `${overtakingCount} entries were applied before it was written`);
  await driver.host.checkpointDurable('under-way');
  const later = await driver.digests();
  const definitions = [driver.definition];
  await driver.host.open({ appliedIndex: at(index), definitions, manifests });
  driver.appliedIndex = index;
  t.same(await driver.digests(), expected, 'it holds what was applied before it, and no more');
  const { loadedRowCount, rowCount } = driver.host.loadProgress();
  t.ok(loadedRowCount === rowCount && rowCount >= 3000, `${rowCount} rows, dead ones included`);
  for (let batch = 100; batch < 160; batch++) await write(batch);
  t.same(await driver.digests(), later);
});

tap.test('threads answer what engines inline answer, from a real disk too', async (t) => {
  const driver = await threads(t, 2);
  const { definition } = driver;
  const inline = new HostDriver(
    new InlineHost({ fs: new MemoryFileSystem(), dataDirectory: '/data', laneCount: 1 }),
    definition,
  );
  await inline.openEmpty();
  await inline.create();
  const vectors = clusteredVectors({ seed: 4, dimension: DIMENSION, count: 6000 });
  for (let start = 0; start < 5900; start += 295) {
    const ops = vectors
      .slice(start, start + 295)
      .map((vector, i) => upsertOf((start + i) % 5000, vector));
    ops.push({ type: 'delete', id: start, condition: none });
    t.same(await driver.write(ops), await inline.write(ops));
  }
  const same = async (label: string, one: HostDriver) => {
    t.same(await one.digests(), await inline.digests(), `${label}: digests`);
    for (const vector of vectors.slice(5990)) {
      // A view of a larger buffer must not drag the buffer along, nor be read at a wrong offset.
      const padded = new Float32Array(1000);
      padded.set(vector, 7);
      const query = { vector: padded.subarray(7, 7 + DIMENSION), isExact: true, withPayload: true };
      const found = await one.search({ ...query, withVector: true });
      t.same(found.hits, (await inline.search({ ...query, withVector: true })).hits, label);
    }
  };
  await same('before', driver);
  const manifests = await driver.checkpoint('first');
  await driver.write([{ type: 'delete', id: 77, condition: none }]);
  await driver.host.open({
    appliedIndex: at(inline.appliedIndex),
    definitions: [definition],
    manifests,
  });
  const again = new HostDriver(driver.host, definition, inline.appliedIndex);
  await same('after reopening in place', again);
  await again.host.settle();
  const { plans, hits } = await again.search({ vector: must(vectors[5999]) });
  t.ok(
    plans.every(({ graphRowCount, exactRowCount }) => graphRowCount > 1000 && exactRowCount === 0),
  );
  t.equal(hits.length, 10);
});

tap.test('large op buffers are handed over and small ones are copied', async (t) => {
  const driver = await threads(t, 1);
  const { host, definition } = driver;
  const write = async (rowCount: number, offset: number) => {
    const vectors = clusteredVectors({ seed: 5, dimension: DIMENSION, count: rowCount });
    const encoded = encodePointOps(vectors.map((vector, id) => upsertOf(id, vector)));
    const [slice] = splitPointOps(encoded, definition.shardCount, () => 0, 1);
    const whole = new Uint8Array(must(slice).byteLength + offset);
    whole.set(must(slice), offset);
    const ops = whole.subarray(offset);
    const index = at(driver.appliedIndex + 1);
    driver.appliedIndex += 1;
    const command = {
      kind: 'write',
      index,
      timestampMs: 0,
      uid: UID,
      mode: 'always',
      ops,
    } as const;
    await host.apply({ fromIndex: index, toIndex: index, perLane: [[command]] });
    t.equal(await driver.count(), rowCount);
    return whole.byteLength === 0;
  };
  t.ok(await write(400, 0), 'the buffer is gone');
  t.notOk(await write(400, 8), "a view was copied, its buffer is still the caller's");
  t.notOk(await write(400, 8));
});

tap.test('a lane refuses reads beyond its limit and goes on', async (t) => {
  const driver = await threads(t, 1);
  const read = () => driver.host.read(at(1), [[{ kind: 'count', uid: UID }]]);
  const answers = await Promise.allSettled(
    Array.from({ length: LANE_READ_TASK_COUNT_MAX + 3 }, () => read()),
  );
  const refused = answers.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
  t.equal(refused.length, 3);
  for (const error of refused)
    t.match(error, { code: 'OVERLOADED', definite: true, details: { retryAfterMs: Number } });
  t.equal(countOf(await read()), 0, 'the next one is answered');
});

tap.test('a lost thread is noticed, and its empty successor serves nothing', async (t) => {
  const driver = await threads(t, 2);
  const { host, definition } = driver;
  const vectors = clusteredVectors({ seed: 6, dimension: DIMENSION, count: 100 });
  await driver.write(vectors.map((vector, id) => upsertOf(id, vector)));
  const index = driver.appliedIndex;
  const digests = await driver.digests();
  const manifests = await driver.checkpoint('before');
  const underWay = Promise.allSettled([driver.count(), driver.count()]);
  await host.terminateLane(0);
  t.ok(
    (await underWay).every(
      (one) => one.status === 'fulfilled' || one.reason.code === 'SHARD_UNAVAILABLE',
    ),
    'answered before the end, or refused with a code',
  );
  await t.rejects(driver.count(), { code: 'SHARD_UNAVAILABLE' });
  await t.rejects(driver.write([upsertOf(1, must(vectors[0]))]), { code: 'SHARD_UNAVAILABLE' });
  await t.rejects(host.digests(at(index)), { code: 'SHARD_UNAVAILABLE' });
  // The lane that lives went on; opening again brings all lanes to the checkpoint.
  await host.open({ appliedIndex: at(index), definitions: [definition], manifests });
  t.same(await new HostDriver(host, definition, index).digests(), digests);
});

tap.test('a bug inside a lane comes back as an error and stops that engine', async (t) => {
  const driver = await threads(t, 1);
  await t.rejects(driver.host.read(at(99), [[{ kind: 'count', uid: UID }]]), { code: 'INTERNAL' });
  t.equal(await driver.count(), 0, 'a read that fails changes nothing');
  const index = at(driver.appliedIndex + 1);
  const ops = encodePointOps([
    upsertOf(
      1,
      Float32Array.from({ length: DIMENSION }, () => Number.NaN),
    ),
  ]);
  const command = { kind: 'write', index, timestampMs: 0, uid: UID, mode: 'always', ops } as const;
  await t.rejects(driver.host.apply({ fromIndex: index, toIndex: index, perLane: [[command]] }), {
    code: 'INTERNAL',
  });
  await t.rejects(driver.count(), { code: 'SHARD_UNAVAILABLE' });
});

tap.test('close answers what was posted before and refuses what comes after', async (t) => {
  const driver = await threads(t, 2);
  const vectors = clusteredVectors({ seed: 7, dimension: DIMENSION, count: 40 });
  const write = driver.write(vectors.map((vector, id) => upsertOf(id, vector)));
  const count = driver.count();
  await driver.host.close();
  t.same(await write, { kind: 'written', deletedCount: 0 });
  t.equal(await count, 40);
  await t.rejects(driver.count(), { code: 'SHUTTING_DOWN' });
});

tap.test('closing in the middle of building a graph ends cleanly', async (t) => {
  // Ending a thread inside the native library would abort this whole process.
  const driver = await threads(t, 2);
  const vectors = clusteredVectors({ seed: 10, dimension: DIMENSION, count: 12_000 });
  for (let start = 0; start < vectors.length; start += 3000)
    await driver.write(
      vectors.slice(start, start + 3000).map((vector, i) => upsertOf(start + i, vector)),
    );
  const settled = driver.host.settle().then(
    () => 'settled',
    (error: HoldfastError) => error.code,
  );
  await driver.search({ vector: must(vectors[0]) });
  await driver.host.close();
  t.equal(await settled, 'SHARD_UNAVAILABLE', 'it was not finished');
});

tap.test('files that no checkpoint needs go from a real disk', async (t) => {
  const directory = dataDirectory(t);
  const fs = new NodeFileSystem();
  const host = new InlineHost({ fs, dataDirectory: directory, laneCount: 2 });
  const driver = new HostDriver(host, definitionOf({ dimension: DIMENSION, shardCount: 4 }));
  await driver.openEmpty();
  await driver.create();
  const vectors = clusteredVectors({ seed: 8, dimension: DIMENSION, count: 100 });
  await driver.write(vectors.map((vector, id) => upsertOf(id, vector)));
  await driver.checkpoint('one');
  await driver.write([upsertOf(1, must(vectors[2]))]);
  const manifests = await driver.checkpoint('two');
  const removed = removeUnreferenced(fs, directory, manifests);
  t.ok(removed.some((path) => path.endsWith('manifest-one.man')));
  await host.open({ appliedIndex: at(3), definitions: [driver.definition], manifests });
  t.equal(await driver.count(), 100);
});

/** A runner under a virtual clock whose deferred callbacks the test fires. */
function manualRunner() {
  const clock = new VirtualClock();
  const factory = must(loadGraphFactory(), 'no graph engine');
  const engine = new LaneEngine({ fs: new MemoryFileSystem(), graphFactory: factory });
  const deferred: { readonly delayMs: number; readonly callback: () => void }[] = [];
  const runner = new LaneRunner({
    engine,
    // Every look at the clock costs half a millisecond: a slice ends after a few steps.
    monotonicMs: () => {
      clock.advance(0.5);
      return clock.monotonicMs();
    },
    defer: (delayMs, callback) => deferred.push({ delayMs, callback }),
  });
  return { clock, engine, runner, deferred };
}

tap.test(
  'graphs are built in short slices, slower while writes come, and settle waits',
  async (t) => {
    const { clock, engine, runner, deferred } = manualRunner();
    const definition = definitionOf({ dimension: DIMENSION, shardCount: 1 });
    const run = (task: object) => runner.run({ epoch: 1, ...task } as ShardTask);
    const place = { dataDirectory: '/data', laneIndex: 0, laneCount: 1 };
    run({ kind: 'open', ...place, appliedIndex: 0, definitions: [], manifests: [] });
    const create = { kind: 'createCollection', index: 1, definition };
    run({ kind: 'apply', fromIndex: 1, toIndex: 1, commands: [create] });
    t.same(deferred, [], 'nothing to build');
    const vectors = clusteredVectors({ seed: 9, dimension: DIMENSION, count: 1500 });
    const ops = encodePointOps(vectors.map((vector, id) => upsertOf(id, vector)));
    const write = { kind: 'write', index: 2, timestampMs: 0, uid: UID, mode: 'always', ops };
    run({ kind: 'apply', fromIndex: 2, toIndex: 2, commands: [write] });
    t.equal(deferred.length, 1, 'one slice is scheduled, once');
    t.ok(must(deferred[0]).delayMs > 0, 'writes are recent: a pause');

    must(deferred.shift()).callback();
    const built = 1500 - engine.buildBacklog;
    t.ok(built > 0 && built <= 4 * (BUILD_SLICE_MS / 0.5 + 1), `${built} rows in the first slice`);
    clock.advance(1000);
    must(deferred.shift()).callback();
    t.equal(must(deferred[0]).delayMs, 0, 'no writes any more: no pause');

    let settledKind = '';
    const settled = Promise.resolve(run({ kind: 'settle' })).then((reply) => {
      settledKind = reply.kind;
    });
    const vector = must(vectors[0]);
    while (deferred.length > 0) {
      t.equal(deferred.length, 1);
      must(deferred.shift()).callback();
      const reply = await run({
        kind: 'read',
        expectedIndex: 2,
        reads: [{ kind: 'search', query: fillQuery({ vector, k: 1, ef: 100 }) }],
      });
      const first = reply.kind === 'read' ? reply.results[0] : undefined;
      if (first?.kind !== 'search' || first.hits[0]?.score !== 0) t.fail('a row was missed');
      if (engine.hasBuildWork) t.equal(settledKind, '', 'not settled while rows wait');
    }
    await settled;
    t.equal(settledKind, 'settled');
    t.equal(engine.buildBacklog, 0);
  },
);
