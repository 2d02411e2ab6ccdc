/** Graph search: recall on seeded data with churn, the tail of a half-built graph, the guards. */
import { InvariantViolation, must, SeededRandom } from '@holdfast/base';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import tap from 'tap';
import type { Graph, GraphFactory } from '../src/graph/graph.ts';
import { loadEngines } from '../src/graph/graph-engines.ts';
import type { NativeIndex } from '../src/graph/hnswlib-graph.ts';
import { HnswlibGraph } from '../src/graph/hnswlib-graph.ts';
import { InlineHost } from '../src/host/inline-host.ts';
import type { CollectionDefinition, GraphChoice, Metric } from '../src/model.ts';
import type { PointOp } from '../src/point-op.ts';
import type { OracleHit } from '../src/testing/brute-force-oracle.ts';
import { BruteForceOracle } from '../src/testing/brute-force-oracle.ts';
import { recallAtK } from '../src/testing/recall.ts';
import { clusteredVectors } from '../src/testing/seeded-dataset.ts';
import { definitionOf, HostDriver } from './harness.ts';

const SEED = 97;
const DIMENSION = 32;
const METRICS: readonly Metric[] = ['l2', 'cosine', 'innerProduct'];
/** Everything a collection can get. */
const CHOICES: readonly GraphChoice[] = [
  { engine: 'hnswlib', precision: 'f32' },
  { engine: 'usearch', precision: 'f32' },
  { engine: 'usearch', precision: 'bf16' },
];
const none = { kind: 'none' } as const;
const hnsw = { m: 16, efConstruction: 128, efSearch: 64 };

const upsertOf = (id: number, vector: Float32Array): PointOp => ({
  type: 'upsert',
  id,
  vector,
  payload: null,
  condition: none,
});

class Fixture {
  readonly host: InlineHost;
  readonly driver: HostDriver;
  readonly oracle: BruteForceOracle;
  /** Exact answers since the last write: the oracle sorts everything for each. */
  readonly #truths = new Map<Float32Array, readonly OracleHit[]>();

  constructor(changes: Partial<CollectionDefinition>, graphFactory?: GraphFactory | null) {
    const definition = definitionOf({ dimension: DIMENSION, hnsw, sealRowCount: 1000, ...changes });
    this.host = new InlineHost({
      fs: new MemoryFileSystem(),
      dataDirectory: '/data',
      laneCount: 2,
      ...(graphFactory === undefined ? {} : { graphFactory }),
    });
    this.driver = new HostDriver(this.host, definition);
    this.oracle = new BruteForceOracle(definition);
  }

  async open(): Promise<this> {
    await this.driver.openEmpty();
    await this.driver.create();
    return this;
  }

  async write(ops: readonly PointOp[]): Promise<void> {
    this.#truths.clear();
    for (let start = 0; start < ops.length; start += 100) {
      const batch = ops.slice(start, start + 100);
      this.oracle.apply(batch, this.driver.appliedIndex + 1);
      await this.driver.write(batch);
    }
  }

  /** Mean recall@10, and the rows that the plans say were found by graph and exactly. */
  async recall(queries: readonly Float32Array[], isExact = false) {
    const isSmallerBetter = this.driver.definition.metric === 'l2';
    let sum = 0;
    let graphRowCount = 0;
    let exactRowCount = 0;
    for (const vector of queries) {
      const { hits, plans } = await this.driver.search({ vector, isExact });
      const truth = this.#truths.get(vector) ?? this.oracle.search(vector, 10);
      this.#truths.set(vector, truth);
      sum += recallAtK(hits, truth, isSmallerBetter);
      graphRowCount = plans.reduce((total, plan) => total + plan.graphRowCount, 0);
      exactRowCount = plans.reduce((total, plan) => total + plan.exactRowCount, 0);
    }
    return { recall: sum / queries.length, graphRowCount, exactRowCount };
  }
}

tap.test('both graph libraries are there, so what follows means something', async (t) => {
  const { hnswlib, usearch } = loadEngines();
  t.ok(hnswlib !== undefined && usearch !== undefined);
});

for (const graph of CHOICES) {
  const name = `${graph.engine} ${graph.precision}`;
  for (const metric of METRICS)
    tap.test(`recall@10 stays above 0.95 through churn (${name}, ${metric})`, async (t) => {
      const dataset = { dimension: DIMENSION, seed: SEED, count: 3800 };
      const vectors = clusteredVectors(dataset);
      const queries = vectors.slice(3700, 3760);
      const fixture = await new Fixture({ graph, metric, shardCount: 2 }).open();
      await fixture.write(vectors.slice(0, 2500).map((vector, id) => upsertOf(id, vector)));
      await fixture.host.settle();
      const built = await fixture.recall(queries);
      t.ok(built.recall >= 0.95, `seed ${SEED}: ${built.recall} on the built graph`);
      t.match(built, { graphRowCount: 2500, exactRowCount: 0 }, 'all by graph');

      const random = new SeededRandom(SEED);
      const churn = Array.from({ length: 1200 }, (_, i): PointOp => {
        const id = random.nextBelow(2500);
        if (i % 3 === 0) return { type: 'delete', id, condition: none };
        return upsertOf(id, must(vectors[2500 + i]));
      });
      await fixture.write(churn);
      const live = fixture.oracle.points.size;
      const churned = await fixture.recall(queries);
      t.ok(churned.recall >= 0.95, `seed ${SEED}: ${churned.recall} with a tail and dead rows`);
      t.ok(churned.exactRowCount > 500, `${churned.exactRowCount} rows of tail`);
      t.equal(churned.graphRowCount + churned.exactRowCount, live, 'every live row is covered');

      await fixture.host.settle();
      const settled = await fixture.recall(queries);
      t.ok(settled.recall >= 0.95, `seed ${SEED}: ${settled.recall} when built again`);
      t.match(settled, { graphRowCount: live, exactRowCount: 0 });
      const exact = await fixture.recall(queries, true);
      t.match(exact, { recall: 1, graphRowCount: 0, exactRowCount: live }, 'exact is exact');
    });

  tap.test(`approximate and exact search give one row one score (${name})`, async (t) => {
    for (const metric of METRICS) {
      const fixture = await new Fixture({ graph, metric, shardCount: 1 }).open();
      const vectors = clusteredVectors({ dimension: DIMENSION, seed: SEED + 2, count: 1520 });
      await fixture.write(vectors.slice(0, 1500).map((vector, id) => upsertOf(id, vector)));
      await fixture.host.settle();
      for (const vector of vectors.slice(1500)) {
        const byGraph = await fixture.driver.search({ vector, k: 5, ef: 300 });
        const exact = await fixture.driver.search({ vector, k: 5, ef: 300, isExact: true });
        t.same(byGraph.hits, exact.hits, metric);
      }
    }
  });

  tap.test(`k beyond what the graph returns is answered in full (${name})`, async (t) => {
    const fixture = await new Fixture({ graph, shardCount: 1 }).open();
    const vectors = clusteredVectors({ dimension: DIMENSION, seed: SEED + 4, count: 1500 });
    await fixture.write(vectors.map((vector, id) => upsertOf(id, vector)));
    await fixture.host.settle();
    // Deleting all but a few leaves a graph of mostly dead rows.
    await fixture.write(
      vectors.slice(0, 1490).map((_, id): PointOp => ({ type: 'delete', id, condition: none })),
    );
    for (const k of [1, 5, 10, 2000]) {
      const vector = must(vectors[0]);
      const { hits } = await fixture.driver.search({ vector, k, ef: 16 });
      t.same(
        hits.map(({ id }) => id),
        fixture.oracle.search(vector, k).map(({ id }) => id),
        `k ${k}`,
      );
    }
  });

  tap.test(`zero vectors live in a cosine graph (${name})`, async (t) => {
    const fixture = await new Fixture({ graph, metric: 'cosine', shardCount: 1 }).open();
    const vectors = clusteredVectors({ dimension: DIMENSION, seed: SEED + 7, count: 1500 });
    const zero = new Float32Array(DIMENSION);
    await fixture.write(vectors.map((vector, id) => upsertOf(id, id % 50 === 0 ? zero : vector)));
    await fixture.host.settle();
    const { recall } = await fixture.recall(vectors.slice(1, 40));
    t.ok(recall >= 0.95, `${recall}`);
    const { hits } = await fixture.driver.search({ vector: zero, k: 4 });
    t.same(
      hits.map(({ id, score }) => [id, score]),
      [
        [0, 0],
        [1, 0],
        [2, 0],
        [3, 0],
      ],
    );
  });
}

tap.test('while a graph is being built nothing written is missed', async (t) => {
  const fixture = await new Fixture({ shardCount: 1 }).open();
  const vectors = clusteredVectors({ dimension: DIMENSION, seed: SEED + 1, count: 3000 });
  await fixture.write(vectors.slice(0, 2000).map((vector, id) => upsertOf(id, vector)));
  const findEach = async (label: string) => {
    const missed: number[] = [];
    for (const [id, { vector }] of fixture.oracle.points) {
      if (Number(id) % 20 !== 0) continue;
      const { hits } = await fixture.driver.search({ vector, k: 1, ef: 200 });
      if (hits[0]?.score !== 0) missed.push(Number(id));
    }
    t.same(missed, [], label);
  };
  for (let slice = 0; slice < 4; slice++) {
    t.ok(fixture.host.buildSlice(350), 'more rows wait');
    await findEach(`after ${350 * (slice + 1)} rows`);
  }
  // Rows that die before, and after, their turn.
  await fixture.write([
    { type: 'delete', id: 100, condition: none },
    { type: 'delete', id: 1900, condition: none },
    upsertOf(1980, must(vectors[2500])),
    upsertOf(40, must(vectors[2501])),
  ]);
  await findEach('after rows died on both sides of the border');
  t.notOk(fixture.host.buildSlice(Number.MAX_SAFE_INTEGER), 'the rest in one go');
  await findEach('when built');
  const [stats] = (await fixture.host.stats()).filter(({ liveRowCount }) => liveRowCount > 0);
  t.match(stats, { liveRowCount: 1998, graphRowCount: 1998, tailRowCount: 0, deletedRowCount: 4 });
});

tap.test('a shard of few rows has no graph and is searched exactly', async (t) => {
  const fixture = await new Fixture({ shardCount: 1 }).open();
  const vectors = clusteredVectors({ dimension: DIMENSION, seed: SEED + 3, count: 1000 });
  await fixture.write(vectors.slice(0, 999).map((vector, id) => upsertOf(id, vector)));
  t.notOk(fixture.host.buildSlice(10_000));
  const query = [must(vectors[0])];
  t.match(await fixture.recall(query), { recall: 1, graphRowCount: 0, exactRowCount: 999 });
  await fixture.write([upsertOf(999, must(vectors[999]))]);
  await fixture.host.settle();
  t.match(await fixture.recall(query), { graphRowCount: 1000, exactRowCount: 0 });
});

tap.test('a graph that returns too little is not believed', async (t) => {
  let asked = 0;
  const lazy = (): Graph => {
    const states = new Set<number>();
    return {
      engine: 'hnswlib',
      precision: 'f32',
      get rowCount() {
        return states.size;
      },
      deletedCount: 0,
      changeCount: 0,
      addRow: (row) => states.add(row),
      markDeleted: () => {},
      hasRow: (row) => states.has(row),
      search: (_query, _count, _ef, target) => {
        asked += 1;
        target[0] = 3;
        return 1;
      },
      labelRows: () => new Uint32Array(0),
      renumber: () => {},
      save: () => {},
    };
  };
  const factory: GraphFactory = {
    buildFor: () => ({ engine: 'hnswlib', precision: 'f32', engineVersion: '1' }),
    create: lazy,
    load: lazy,
    isFileComplete: () => true,
  };
  const fixture = await new Fixture({ shardCount: 1 }, factory).open();
  const vectors = clusteredVectors({ dimension: DIMENSION, seed: SEED + 5, count: 1200 });
  await fixture.write(vectors.map((vector, id) => upsertOf(id, vector)));
  await fixture.host.settle();
  const vector = must(vectors[7]);
  const { hits, plans } = await fixture.driver.search({ vector });
  t.equal(asked, 1, 'the graph was asked');
  t.match(plans, [{ graphRowCount: 0, exactRowCount: 1200 }], 'the plan tells the truth');
  t.same(
    hits.map(({ id }) => id),
    fixture.oracle.search(vector, 10).map(({ id }) => id),
  );
});

tap.test('without the native library every search is exact and the plan says so', async (t) => {
  const fixture = await new Fixture({ shardCount: 1 }, null).open();
  const vectors = clusteredVectors({ dimension: DIMENSION, seed: SEED + 6, count: 1500 });
  await fixture.write(vectors.map((vector, id) => upsertOf(id, vector)));
  await fixture.host.settle();
  const found = await fixture.recall(vectors.slice(0, 20));
  t.match(found, { recall: 1, graphRowCount: 0, exactRowCount: 1500 });
});

const options = {
  dimension: 2,
  metric: 'l2',
  hnsw,
  graph: { engine: 'hnswlib', precision: 'f32' },
} as const;

/** Records what would reach native code. */
class RecordingIndex implements NativeIndex {
  static calls: { readonly name: string; readonly numbers: readonly unknown[] }[] = [];
  #record(name: string, numbers: readonly unknown[]) {
    RecordingIndex.calls.push({ name, numbers: [...numbers] });
  }
  initIndex(...numbers: readonly unknown[]) {
    this.#record('initIndex', numbers.slice(0, 4));
  }
  resizeIndex(size: number) {
    this.#record('resizeIndex', [size]);
  }
  addPoint(point: number[], label: number) {
    this.#record('addPoint', [...point, label]);
  }
  markDelete(label: number) {
    this.#record('markDelete', [label]);
  }
  searchKnn(query: number[], count: number) {
    this.#record('searchKnn', [...query, count]);
    return { neighbors: [] };
  }
  setEf(ef: number) {
    this.#record('setEf', [ef]);
  }
  getMaxElements = () => 0;
  getCurrentCount = () => 0;
  readIndexSync() {}
  writeIndexSync() {}
}

tap.test('no input that kills the process reaches the native library', async (t) => {
  const good = Float32Array.from([1, 2, 3]);
  const holes = new Array(3) as unknown as Float32Array;
  const strings = ['1', '2', '3'] as unknown as Float32Array;
  const bad: readonly (readonly [string, Float32Array])[] = [
    ['NaN', Float32Array.from([1, Number.NaN, 3])],
    ['infinity', Float32Array.from([1, Number.POSITIVE_INFINITY, 3])],
    ['minus infinity', Float32Array.from([Number.NEGATIVE_INFINITY, 0, 0])],
    ['too short', new Float32Array(2)],
    ['too long', new Float32Array(4)],
    ['holes', holes],
    ['strings', strings],
    ['nothing', undefined as unknown as Float32Array],
  ];
  for (const metric of METRICS) {
    RecordingIndex.calls = [];
    const graph = HnswlibGraph.create(RecordingIndex, { ...options, dimension: 3, metric });
    graph.addRow(0, good);
    graph.addRow(5000, good);
    const before = RecordingIndex.calls.length;
    const target = new Uint32Array(8);
    for (const [name, vector] of bad) {
      t.throws(() => graph.addRow(5, vector), InvariantViolation, `${metric}: add ${name}`);
      t.throws(() => graph.search(vector, 1, 10, target), InvariantViolation, `search ${name}`);
    }
    for (const row of [-1, 1.5, 2 ** 32 - 1, 2 ** 33 + 1, Number.NaN, 0])
      t.throws(() => graph.addRow(row, good), InvariantViolation, `label ${row}`);
    t.throws(() => graph.markDeleted(1), InvariantViolation, 'a row that was never added');
    t.throws(
      () => graph.search(good, 1.5, 10, target),
      InvariantViolation,
      'a count with a fraction',
    );
    t.throws(() => graph.search(good, 1, Number.NaN, target), InvariantViolation, 'ef NaN');
    t.throws(() => graph.search(good, 2, 10, new Uint32Array(1)), InvariantViolation, 'no room');
    t.equal(RecordingIndex.calls.length, before, 'the library saw none of it');
    graph.markDeleted(0);
    t.throws(() => graph.markDeleted(0), InvariantViolation, 'a row is marked once');
    graph.search(good, 100, 10, target);
    const numbers = RecordingIndex.calls.flatMap((call) => call.numbers);
    t.ok(numbers.every(Number.isFinite), 'every number that got through is finite');
    t.same(RecordingIndex.calls.at(-1)?.numbers.at(-1), 1, 'never more than there are live rows');
  }
});

tap.test('the native capacity grows ahead of the rows', async (t) => {
  RecordingIndex.calls = [];
  const graph = HnswlibGraph.create(RecordingIndex, { ...options, dimension: 2 });
  const vector = new Float32Array(2);
  let capacity = 1024;
  let rowCount = 0;
  for (let row = 0; row < 5000; row++) graph.addRow(row, vector);
  for (const { name, numbers } of RecordingIndex.calls) {
    if (name === 'resizeIndex') capacity = Number(numbers[0]);
    if (name === 'addPoint') rowCount += 1;
    if (rowCount > capacity) t.fail(`row ${rowCount} beyond ${capacity}`);
  }
  t.equal(rowCount, 5000);
});
