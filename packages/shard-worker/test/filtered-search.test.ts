/**
 * Goal: the planner compares the matches or asks the graph, says which, and finds the nearest
 * matches either way: with an index and without, with dead rows and a tail, and when filter and
 * nearness have to do with each other.
 * Method: 12,000 seeded rows in one shard with a real graph, beside a scan in double precision.
 */
import { must, SeededRandom } from '@holdfast/base';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import t from 'tap';
import { loadGraphFactory } from '../src/graph/graph-engines.ts';
import { InlineHost } from '../src/host/inline-host.ts';
import type { Filter } from '../src/payload/filter.ts';
import type { PointOp } from '../src/point-op.ts';
import { scoreOf } from '../src/testing/brute-force-oracle.ts';
import { recallAtK } from '../src/testing/recall.ts';
import { clusteredVectors } from '../src/testing/seeded-dataset.ts';
import { definitionOf, HostDriver } from './harness.ts';

const SEED = 211;
const ROW_COUNT = 12_000;
const UTF8 = new TextEncoder();
const none = { kind: 'none' } as const;
const vectors = clusteredVectors({ seed: SEED, dimension: 16, count: ROW_COUNT + 40 });
const queries = vectors.slice(ROW_COUNT);
const rare = new Set([17, 4_711, 11_999]);

/** `share` is 0 to 99 in equal parts; `isNear`: the first component is positive. */
const payloadOf = (id: number): { share: number; plain: number; isNear: boolean; rare?: true } => ({
  isNear: must(vectors[id])[0]! > 0,
  plain: (id * 7) % 100,
  ...(rare.has(id) ? { rare: true } : {}),
  share: (id * 7) % 100,
});

const upsertOf = (id: number): PointOp => ({
  type: 'upsert',
  id,
  vector: must(vectors[id]),
  payload: UTF8.encode(JSON.stringify(payloadOf(id))),
  condition: none,
});

t.ok(loadGraphFactory(), 'a native graph library is there');

const live = new Set<number>();
const host = new InlineHost({ fs: new MemoryFileSystem(), dataDirectory: '/data', laneCount: 1 });
const driver = new HostDriver(
  host,
  definitionOf({
    dimension: 16,
    shardCount: 1,
    sealRowCount: 5_000,
    payloadIndexes: [
      { key: 'share', type: 'integer' },
      { key: 'isNear', type: 'bool' },
    ],
  }),
);

async function write(ops: readonly PointOp[]): Promise<void> {
  for (let start = 0; start < ops.length; start += 500)
    await driver.write(ops.slice(start, start + 500));
  for (const op of ops)
    if (op.type === 'delete') live.delete(Number(op.id));
    else live.add(Number(op.id));
}

function nearest(query: Float32Array, matches: (id: number) => boolean, k: number) {
  return [...live]
    .filter(matches)
    .map((id) => ({ id, score: scoreOf('l2', query, must(vectors[id])) }))
    .sort((left, right) => left.score - right.score || left.id - right.id)
    .slice(0, k);
}

interface Found {
  readonly recall: number;
  readonly ways: string;
  readonly testedRowCount: number;
  readonly matchedRowCount: number;
}

async function find(
  filter: Filter,
  matches: (id: number) => boolean,
  { ef = 64, k = 10, isExact = false } = {},
): Promise<Found> {
  let recall = 0;
  const ways = new Set<string>();
  let last = { testedRowCount: 0, matchedRowCount: 0 };
  for (const vector of queries) {
    const { hits, plans } = await driver.search({ vector, k, ef, filter, isExact });
    const wanted = nearest(vector, matches, k);
    const wrong = hits.filter(({ id }) => !live.has(Number(id)) || !matches(Number(id)));
    if (wrong.length > 0 || hits.length !== wanted.length)
      throw new Error(`${hits.length} hits of ${wanted.length}, ${wrong.length} must not be there`);
    recall += recallAtK(hits, wanted, true);
    const plan = must(plans[0]?.filter);
    ways.add(plan.way);
    last = plan;
  }
  const { testedRowCount, matchedRowCount } = last;
  return {
    recall: recall / queries.length,
    ways: [...ways].sort().join(),
    testedRowCount,
    matchedRowCount,
  };
}

const below = (key: 'share' | 'plain', limit: number): Filter => ({
  must: [{ key, range: { lt: limit } }],
});
const isBelow = (limit: number) => (id: number) => payloadOf(id).share < limit;

t.before(async () => {
  await driver.openEmpty();
  await driver.create();
  await write(Array.from({ length: ROW_COUNT }, (_, id) => upsertOf(id)));
  await host.settle();
});

t.test('few matches are compared one by one, many are taken from the graph', async (t) => {
  for (const [share, way] of [
    [90, 'graph'],
    [50, 'graph'],
    [10, 'exact'],
    [1, 'exact'],
  ] as const) {
    const found = await find(below('share', share), isBelow(share));
    t.equal(found.ways, way, `${share} %`);
    t.ok(found.recall >= 0.98, `${share} %: recall ${found.recall}, seed ${SEED}`);
    t.match(found, { testedRowCount: 0, matchedRowCount: (ROW_COUNT * share) / 100 });
    if (way === 'exact') t.equal(found.recall, 1, 'a comparison of all matches is exact');
  }
});

t.test('an exact search with a filter asks no graph', async (t) => {
  const found = await find(below('share', 90), isBelow(90), { isExact: true });
  t.match(found, { recall: 1, ways: 'exact' });
});

t.test('without an index a sample says how many match, and few payloads are read', async (t) => {
  const many = await find(below('plain', 90), isBelow(90));
  t.equal(many.ways, 'graph');
  t.ok(many.recall >= 0.98, `recall ${many.recall}, seed ${SEED}`);
  t.ok(many.testedRowCount < 1_000, `${many.testedRowCount} payloads were read`);
  const off = Math.abs(many.matchedRowCount / ROW_COUNT - 0.9);
  t.ok(off < 0.1, `${many.matchedRowCount} rows were estimated`);
  const few = await find(below('plain', 5), isBelow(5));
  t.match(few, { recall: 1, ways: 'exact', matchedRowCount: ROW_COUNT / 20 });
});

t.test('three rows of twelve thousand that no sample meets are found', async (t) => {
  const filter: Filter = { must: [{ key: 'rare', exists: true }] };
  const found = await find(filter, (id) => rare.has(id));
  t.match(found, { recall: 1, ways: 'exact', matchedRowCount: 3, testedRowCount: ROW_COUNT + 256 });
});

t.test('a filter that keeps the far half out of the graph falls back to comparing', async (t) => {
  // The neighbours of a query lie on its own side, so the other side is not among them.
  const far: Filter = { must: [{ key: 'isNear', match: { value: false } }] };
  const isFar = (id: number): boolean => !payloadOf(id).isNear;
  const found = await find(far, isFar, { ef: 16 });
  t.ok(found.ways.includes('fallback'), `ways: ${found.ways}`);
  t.ok(found.recall >= 0.98, `recall ${found.recall}, seed ${SEED}`);
});

t.test('deletes, replacements and a tail change nothing about it', async (t) => {
  const random = new SeededRandom(SEED);
  const churn = Array.from({ length: 3_000 }, (): PointOp => {
    const id = random.nextBelow(ROW_COUNT);
    return random.nextBelow(3) === 0 ? { type: 'delete', id, condition: none } : upsertOf(id);
  });
  await write(churn);
  for (const share of [90, 50, 10]) {
    const indexed = await find(below('share', share), isBelow(share));
    t.ok(indexed.recall >= 0.98, `${share} %: recall ${indexed.recall}, ${indexed.ways}`);
    t.equal(indexed.matchedRowCount, [...live].filter(isBelow(share)).length);
    const scanned = await find(below('plain', share), isBelow(share));
    t.ok(scanned.recall >= 0.98, `${share} % without index: recall ${scanned.recall}`);
  }
  await host.settle();
  const settled = await find(below('share', 90), isBelow(90));
  t.ok(settled.recall >= 0.98 && settled.ways === 'graph', `settled: ${settled.recall}`);
});

t.test('k above what matches gives all that match', async (t) => {
  const found = await find(below('share', 1), isBelow(1), { k: 500 });
  t.match(found, { recall: 1, ways: 'exact' });
});

t.teardown(() => host.close());
