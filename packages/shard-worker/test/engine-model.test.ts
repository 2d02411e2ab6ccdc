/**
 * The engine against the plain oracle: seeded random batches of upserts, deletes and conditions
 * with many repeats of few ids, over several shards and lanes, driven as the applier drives it.
 */
import { HoldfastError, InvariantViolation, SeededRandom } from '@holdfast/base';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import type { Test } from 'tap';
import tap from 'tap';
import { InlineHost } from '../src/host/inline-host.ts';
import type { CollectionDefinition, Metric, PointId } from '../src/model.ts';
import type { PointOp } from '../src/point-op.ts';
import { BruteForceOracle } from '../src/testing/brute-force-oracle.ts';
import { at, definitionOf, fillQuery, HostDriver, randomOps, UID } from './harness.ts';

const SEED = 71;
const METRICS: readonly Metric[] = ['l2', 'cosine', 'innerProduct'];
const none = { kind: 'none' } as const;

async function driverOf(definition: CollectionDefinition, laneCount: number): Promise<HostDriver> {
  const host = new InlineHost({
    fs: new MemoryFileSystem(),
    dataDirectory: '/data',
    laneCount,
    graphFactory: null,
  });
  const driver = new HostDriver(host, definition);
  await driver.openEmpty();
  await driver.create();
  return driver;
}

const upsert = (
  id: PointId,
  vector: readonly number[],
  payload: string | null = null,
): PointOp => ({
  type: 'upsert',
  id,
  vector: Float32Array.from(vector),
  payload: payload === null ? null : new TextEncoder().encode(payload),
  condition: none,
});
const remove = (id: PointId): PointOp => ({ type: 'delete', id, condition: none });

async function compareState(t: Test, driver: HostDriver, oracle: BruteForceOracle, label: string) {
  t.equal(await driver.count(), oracle.points.size, `${label}: count`);
  const digests = await driver.digests();
  t.same(
    digests.map(({ digest, liveRowCount }) => [digest, liveRowCount]),
    digests.map(({ shard }) => [oracle.digestOfShard(shard), oracle.pointsOfShard(shard).length]),
    `${label}: digests from first principles`,
  );
}

async function compareReads(t: Test, driver: HostDriver, oracle: BruteForceOracle, seed: number) {
  const random = new SeededRandom(seed);
  const { dimension, metric } = driver.definition;
  const query = Float32Array.from({ length: dimension }, () => random.nextBelow(7) - 3);
  const k = 1 + random.nextBelow(70);
  const { hits } = await driver.search({ vector: query, k, withVector: true, withPayload: true });
  const expected = oracle.search(query, k);
  t.equal(hits.length, expected.length, `seed ${seed}: as many hits as there are points, up to k`);
  // Whole-number sums are exact, so ids must agree; cosine divides, so its near-ties may swap.
  if (metric !== 'cosine')
    t.same(
      hits.map(({ id }) => id),
      expected.map(({ id }) => id),
    );
  const worst = Math.max(0, ...hits.map((hit, i) => Math.abs(hit.score - expected[i]!.score)));
  t.ok(worst < 1e-5, `seed ${seed}: scores are off by ${worst}`);
  for (const { id, version, vector, payload } of hits)
    t.same({ id, version, vector, payload }, oracle.points.get(id), `hit ${id} is the point`);
  const ids = [...oracle.points.keys(), 1_000_000, '00000000-0000-4000-8000-00000000ffff'];
  const got = await driver.get(ids);
  t.same(
    new Map(got.map((point) => [point.id, point])),
    oracle.points,
    `seed ${seed}: get returns every point and nothing else`,
  );
}

for (const metric of METRICS) {
  tap.test(`random batches mean what the oracle says (${metric})`, async (t) => {
    const random = new SeededRandom(SEED);
    const definition = definitionOf({ metric });
    const driver = await driverOf(definition, 2);
    const other = await driverOf(definition, 3);
    const oracle = new BruteForceOracle(definition);
    const versions = (id: PointId) => oracle.points.get(id)?.version ?? 0;
    let conflictCount = 0;
    let deletedCount = 0;
    for (let round = 0; round < 400; round++) {
      const ops = randomOps(random, definition.dimension, versions);
      const expected = oracle.apply(ops, driver.appliedIndex + 1);
      const found = await driver.write(ops);
      await other.write(ops);
      if (expected.kind === 'written') {
        t.same(found, expected, `seed ${SEED} round ${round}`);
        deletedCount += expected.deletedCount;
      } else {
        conflictCount += 1;
        t.equal(found.kind, 'conflict', `seed ${SEED} round ${round}`);
        const byId = (a: { id: PointId }, b: { id: PointId }) =>
          String(a.id) < String(b.id) ? -1 : 1;
        if (found.kind === 'conflict')
          t.same([...found.conflicts].sort(byId), [...expected.conflicts].sort(byId));
      }
      if (round % 40 === 39) await compareState(t, driver, oracle, `seed ${SEED} round ${round}`);
      if (round % 100 === 99) await compareReads(t, driver, oracle, SEED + round);
    }
    t.ok(conflictCount > 20 && deletedCount > 50, 'the run met conflicts and deletes');
    t.same(await other.digests(), await driver.digests(), 'lane counts do not matter');
  });
}

tap.test('the last op of an id in a batch wins and the others leave no trace', async (t) => {
  const driver = await driverOf(definitionOf(), 1);
  await driver.write([upsert(1, [1, 0, 0, 0]), upsert(1, [2, 0, 0, 0], 'last')]);
  const [point] = await driver.get([1]);
  t.same(point?.vector, Float32Array.from([2, 0, 0, 0]));
  t.same(await driver.write([upsert(9, [1, 1, 1, 1]), remove(9)]), {
    kind: 'written',
    deletedCount: 0,
  });
  t.same(await driver.write([remove(1), remove(1)]), { kind: 'written', deletedCount: 1 });
  t.equal(await driver.count(), 0);
  t.equal((await driver.host.stats())[0]?.deletedRowCount, 1, 'superseded upserts made no rows');
});

tap.test('conditions of duplicates all look at the state before the batch', async (t) => {
  const driver = await driverOf(definitionOf(), 1);
  const ifAbsent = (id: PointId): PointOp => ({
    type: 'upsert',
    id,
    vector: new Float32Array(4),
    payload: null,
    condition: { kind: 'ifAbsent' },
  });
  t.equal((await driver.write([ifAbsent(1), ifAbsent(1)])).kind, 'written');
  t.same(await driver.write([upsert(2, [0, 0, 0, 0]), ifAbsent(1), ifAbsent(1)]), {
    kind: 'conflict',
    conflicts: [
      { id: 1, actualVersion: 2 },
      { id: 1, actualVersion: 2 },
    ],
  });
  t.equal(await driver.count(), 1, 'nothing of a conflicting batch was written');
});

tap.test('at most sixteen conflicts are reported, over all lanes', async (t) => {
  const driver = await driverOf(definitionOf(), 3);
  const condition = { kind: 'ifVersion', version: 77 } as const;
  const ops = Array.from({ length: 60 }, (_, id): PointOp => ({ type: 'delete', id, condition }));
  const result = await driver.write(ops);
  t.equal(result.kind === 'conflict' && result.conflicts.length, 16);
});

tap.test('zero vectors under cosine are stored and similar to nothing', async (t) => {
  const driver = await driverOf(definitionOf({ metric: 'cosine' }), 2);
  await driver.write([
    upsert(1, [0, 0, 0, 0]),
    upsert(2, [1, 0, 0, 0]),
    upsert(3, [-1, 0, 0, 0]),
    upsert(4, [0, 0, 0, 0]),
  ]);
  const scores = async (vector: readonly number[]) =>
    (await driver.search({ vector: Float32Array.from(vector) })).hits.map((h) => [h.id, h.score]);
  t.strictSame(await scores([2, 0, 0, 0]), [
    [2, 1],
    [1, 0],
    [4, 0],
    [3, -1],
  ]);
  t.strictSame(await scores([0, 0, 0, 0]), [
    [1, 0],
    [2, 0],
    [3, 0],
    [4, 0],
  ]);
});

tap.test('components at the edges of float32 give finite, rightly ordered scores', async (t) => {
  const huge = 3e38;
  const tiny = 1e-40;
  for (const metric of METRICS) {
    const driver = await driverOf(definitionOf({ metric }), 1);
    const oracle = new BruteForceOracle(driver.definition);
    const ops = [
      upsert(1, [huge, huge, huge, huge]),
      upsert(2, [-huge, huge, -huge, huge]),
      upsert(3, [tiny, tiny, 0, 0]),
      upsert(4, [1, 1, 1, 2]),
      upsert(5, [huge, -huge, 1, 0]),
    ];
    oracle.apply(ops, 2);
    await driver.write(ops);
    for (const query of [
      [huge, huge, -huge, 1],
      [tiny, 0, 0, 0],
      [1, 2, 3, 4],
    ]) {
      const vector = Float32Array.from(query);
      for (const k of [1, 2, 5]) {
        const { hits } = await driver.search({ vector, k });
        const expected = oracle.search(vector, k);
        t.same(
          hits.map(({ id }) => id),
          expected.map(({ id }) => id),
          `${metric} ${query} ${k}`,
        );
        t.ok(hits.every(({ score }) => Number.isFinite(score)));
      }
    }
  }
});

tap.test('of rows whose float32 distances overflow the nearest still wins', async (t) => {
  const huge = 3e38;
  for (const metric of ['l2', 'innerProduct'] as const) {
    const driver = await driverOf(definitionOf({ metric, shardCount: 1 }), 1);
    await driver.write([upsert(1, [-huge, -huge, -huge, -huge]), upsert(2, [-huge, 1, 1, 1])]);
    await driver.write([upsert(3, [-huge, -huge, -huge, 1])]);
    const vector = new Float32Array(4).fill(huge);
    const { hits } = await driver.search({ vector, k: 1 });
    t.equal(hits[0]?.id, 2, metric);
    // A huge query over ordinary rows overflows too.
    const small = await driverOf(definitionOf({ metric, shardCount: 1 }), 1);
    const far = 1e14;
    await small.write([upsert(1, [-far, -far, -far, -far]), upsert(2, [far, far, far, far])]);
    const found = await small.search({ vector: new Float32Array(4).fill(2e19), k: 1 });
    t.equal(found.hits[0]?.id, 2, `${metric}, huge query`);
  }
});

tap.test('bad queries are refused one by one and the others are answered', async (t) => {
  const driver = await driverOf(definitionOf(), 1);
  await driver.write([upsert(1, [1, 2, 3, 4])]);
  const search = (vector: Float32Array, uid = UID) =>
    ({ kind: 'search', query: fillQuery({ vector, uid }) }) as const;
  const [results] = await driver.host.read(at(driver.appliedIndex), [
    [
      search(new Float32Array(3)),
      search(Float32Array.from([1, Number.NaN, 0, 0])),
      search(Float32Array.from([1, Number.POSITIVE_INFINITY, 0, 0])),
      search(new Float32Array(4), 999),
      search(new Float32Array(4)),
    ],
  ]);
  t.same(
    results?.map((result) => (result.kind === 'error' ? result.error.code : result.kind)),
    ['DIMENSION_MISMATCH', 'VECTOR_INVALID', 'VECTOR_INVALID', 'COLLECTION_NOT_FOUND', 'search'],
  );
});

tap.test(
  'a gap in the log, a read of another index and a bad vector are refused loudly',
  async (t) => {
    const driver = await driverOf(definitionOf(), 1);
    const { host } = driver;
    await t.rejects(host.read(at(7), [[{ kind: 'count', uid: UID }]]), InvariantViolation);
    await t.rejects(
      host.apply({ fromIndex: at(3), toIndex: at(3), perLane: [[]] }),
      InvariantViolation,
    );
    await driver.write([upsert(1, [1, 0, 0, 0])]);
    await t.rejects(driver.write([upsert(2, [Number.NaN, 0, 0, 0])]), InvariantViolation);
    await t.rejects(
      driver.count(),
      { code: 'SHARD_UNAVAILABLE' },
      'an engine that failed in the middle of an entry serves nothing any more',
    );
  },
);

tap.test('collections come and go, and their uids keep them apart', async (t) => {
  const driver = await driverOf(definitionOf(), 2);
  await driver.write([upsert(1, [1, 0, 0, 0])]);
  const second = definitionOf({ uid: 9, name: 'other', dimension: 2 });
  const both = (index: number) => ({ fromIndex: at(index), toIndex: at(index) });
  const create = { kind: 'createCollection', index: at(3), definition: second } as const;
  await driver.host.apply({ ...both(3), perLane: [[create], [create]] });
  const drop = { kind: 'dropCollection', index: at(4), uid: UID } as const;
  await driver.host.apply({ ...both(4), perLane: [[drop], [drop]] });
  driver.appliedIndex = 4;
  t.same(
    (await driver.digests()).map(({ uid, shard }) => [uid, shard]),
    [
      [9, 0],
      [9, 1],
      [9, 2],
    ],
  );
  await t.rejects(driver.count(), { code: 'COLLECTION_NOT_FOUND' });
  await driver.host.close();
  await driver.host.close();
  await t.rejects(driver.digests(), HoldfastError);
});
