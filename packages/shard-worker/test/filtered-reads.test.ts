/**
 * Goal: search, count and scroll with a filter see exactly the matching points, whatever indexes
 * there are, however far they are built, and through deletes, replacements and reloads.
 * Method: seeded histories and drawn filters against the plain oracle.
 */
import { SeededRandom } from '@holdfast/base';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import fc from 'fast-check';
import type { Test } from 'tap';
import t from 'tap';
import { Shard } from '../src/engine/shard.ts';
import { InlineHost } from '../src/host/inline-host.ts';
import type { CollectionDefinition, PayloadIndexDefinition, PointId } from '../src/model.ts';
import type { Filter } from '../src/payload/filter.ts';
import { NumberIndex } from '../src/payload/number-index.ts';
import { PayloadIndexes } from '../src/payload/payload-indexes.ts';
import { RowBitmap } from '../src/payload/row-bitmap.ts';
import { encodePath } from '../src/payload/scan.ts';
import { TokenIndex } from '../src/payload/token-index.ts';
import { comparePointIds } from '../src/point-id.ts';
import type { PointOp } from '../src/point-op.ts';
import { encodePointOps, PointOpReader } from '../src/point-op.ts';
import { BruteForceOracle } from '../src/testing/brute-force-oracle.ts';
import { matchesFilter } from '../src/testing/filter-oracle.ts';
import { filters } from './filter-harness.ts';
import { at, definitionOf, HostDriver, UID } from './harness.ts';

const SEED = 415;
const UTF8 = new TextEncoder();
const TEXT = new TextDecoder();
const none = { kind: 'none' } as const;

const INDEXES: readonly PayloadIndexDefinition[] = [
  { key: 'color', type: 'keyword' },
  { key: 'size', type: 'integer' },
  { key: 'price', type: 'float' },
  { key: 'isNew', type: 'bool' },
  { key: 'at', type: 'datetime' },
  { key: 'parts.name', type: 'keyword' },
];
const PATHS = [...INDEXES.map(({ key }) => key), 'note'];
const COLORS = ['red', 'green', 'blue', 'bl"ue', ''];
const TIMES = ['2024-01-01T00:00:00Z', '2024-01-01T01:00:00+01:00', '2025-06-01T12:00:00Z'];

/** Sometimes of another sort than the index is declared for: it must not lose them. */
function randomPayload(random: SeededRandom): string | null {
  const pick = <Value>(values: readonly Value[]): Value => values[random.nextBelow(values.length)]!;
  const oneOrMore = (draw: () => unknown): unknown =>
    random.nextBelow(4) === 0 ? [draw(), draw()] : draw();
  if (random.nextBelow(12) === 0) return null;
  const all: Record<string, unknown> = {
    at: oneOrMore(() => pick([...TIMES, 'soon', 5])),
    color: oneOrMore(() => pick([...COLORS, 5, true, null])),
    isNew: oneOrMore(() => pick([true, false, 'true'])),
    note: pick(['x', 'y', null]),
    parts: [{ name: pick(COLORS) }, { name: pick(COLORS) }, {}],
    price: oneOrMore(() => pick([0, 2.5, -1, 1e21, '2.5'])),
    size: oneOrMore(() => pick([1, 2, 3, 55, 2.5, '1'])),
  };
  const kept = Object.entries(all).filter(() => random.nextBelow(5) > 0);
  return JSON.stringify(Object.fromEntries(kept));
}

function randomOps(random: SeededRandom): PointOp[] {
  return Array.from({ length: 1 + random.nextBelow(12) }, () => {
    const n = random.nextBelow(90);
    const id = n % 3 === 0 ? `${n.toString(16).padStart(8, '0')}-0000-4000-8000-000000000000` : n;
    if (random.nextBelow(4) === 0) return { type: 'delete', id, condition: none };
    const text = randomPayload(random);
    const payload = text === null ? null : UTF8.encode(text);
    const vector = Float32Array.from({ length: 4 }, () => random.nextBelow(7) - 3);
    return { type: 'upsert', id, vector, payload, condition: none };
  });
}

class World {
  readonly fs = new MemoryFileSystem();
  readonly oracle: BruteForceOracle;
  definition: CollectionDefinition;
  host: InlineHost;
  driver: HostDriver;

  private constructor(definition: CollectionDefinition) {
    this.definition = definition;
    this.oracle = new BruteForceOracle(definition);
    this.host = this.#newHost();
    this.driver = new HostDriver(this.host, definition);
  }

  static async create(indexes: readonly PayloadIndexDefinition[]): Promise<World> {
    const world = new World(definitionOf({ payloadIndexes: indexes }));
    await world.driver.openEmpty();
    await world.driver.create();
    return world;
  }

  #newHost(): InlineHost {
    const place = { fs: this.fs, dataDirectory: '/data' };
    const small = { laneCount: 2, graphFactory: null, compactionDeadRowCountMin: 5 };
    return new InlineHost({ ...place, ...small });
  }

  async write(ops: readonly PointOp[]): Promise<void> {
    await this.driver.write(ops);
    this.oracle.apply(ops, this.driver.appliedIndex);
  }

  async declare(indexes: readonly PayloadIndexDefinition[]): Promise<void> {
    this.definition = { ...this.definition, payloadIndexes: indexes };
    const index = at(this.driver.appliedIndex + 1);
    const command = { kind: 'redefineCollection', index, definition: this.definition } as const;
    await this.host.apply({ fromIndex: index, toIndex: index, perLane: [[command], [command]] });
    this.driver.appliedIndex += 1;
  }

  /** After it dead rows may go, and the others get other numbers. */
  async checkpoint(): Promise<void> {
    const id = `c${this.driver.appliedIndex}`;
    await this.driver.checkpoint(id);
    await this.host.checkpointDurable(id);
  }

  /** Dead rows in memory, once those that may go have gone. */
  async deadCount(): Promise<number> {
    const stats = await this.host.stats();
    return stats.reduce((sum, { deletedRowCount }) => sum + deletedRowCount, 0);
  }

  async reopen(): Promise<void> {
    const { appliedIndex } = this.driver;
    const manifests = await this.driver.checkpoint();
    await this.host.close();
    this.host = this.#newHost();
    this.driver = new HostDriver(this.host, this.definition, appliedIndex);
    const definitions = [this.definition];
    await this.host.open({ appliedIndex: at(appliedIndex), definitions, manifests });
  }

  matching(filter: Filter): PointId[] {
    return [...this.oracle.points.values()]
      .filter(({ id, payload }) =>
        matchesFilter(filter, { id, payload: payload === null ? null : TEXT.decode(payload) }),
      )
      .map(({ id }) => id)
      .sort(comparePointIds);
  }

  async scrolled(filter: Filter, limit: number): Promise<PointId[]> {
    const found: PointId[] = [];
    const read = { kind: 'scroll', uid: UID, filter, limit, withVector: false } as const;
    let after: PointId | null = null;
    for (;;) {
      const results = await this.driver.readAll({ ...read, after, withPayload: false });
      const pages = results.map((result) =>
        result.kind === 'scroll' ? result : { points: [], hasMore: false },
      );
      for (const { points } of pages) for (const { id } of points) found.push(id);
      // The lanes of this test are scrolled in step only when neither has more.
      if (pages.every(({ hasMore }) => !hasMore)) return found.sort(comparePointIds);
      const ends = pages.flatMap(({ points, hasMore }) => (hasMore ? [points.at(-1)!.id] : []));
      after = ends.sort(comparePointIds)[0]!;
      const end = after;
      found.splice(0, found.length, ...found.filter((id) => comparePointIds(id, end) <= 0));
    }
  }

  async check(t: Test, filter: Filter, label: string): Promise<number> {
    const wanted = this.matching(filter);
    const results = await this.driver.readAll({ kind: 'count', uid: UID, filter });
    const count = results.reduce((sum, each) => sum + (each.kind === 'count' ? each.count : 0), 0);
    const note = `${label} filter ${JSON.stringify(filter)}`;
    if (count !== wanted.length) t.fail(`${note}: ${count} counted, ${wanted.length} match`);
    const scrolled = await this.scrolled(filter, 7);
    if (JSON.stringify(scrolled) !== JSON.stringify(wanted)) t.same(scrolled, wanted, note);
    const vector = Float32Array.of(1, 0, -1, 2);
    const { hits, plans } = await this.driver.search({ vector, k: 10, filter });
    const nearest = this.oracle.search(vector, this.oracle.points.size);
    const expected = nearest.filter(({ id }) => wanted.includes(id)).slice(0, 10);
    const found = hits.map(({ id, score }) => ({ id, score }));
    if (JSON.stringify(found.map(({ id }) => id)) !== JSON.stringify(expected.map(({ id }) => id)))
      t.same(found, expected, note);
    if (plans.some((plan) => plan.filter?.way !== 'exact')) t.fail(`${note}: the plan says so`);
    return wanted.length;
  }
}

const drawn = (seed: number, count: number): readonly Filter[] => {
  const ids = [1, 2, 4, '00000003-0000-4000-8000-000000000000', 5_000];
  return fc.sample(fc.oneof(indexedFilters, filters(ids, fc.constantFrom(...PATHS))), {
    seed,
    numRuns: count,
  });
};

/** What the indexes can answer, alone and together. */
const indexedCondition = fc.oneof(
  fc.record({ key: fc.constant('color'), match: fc.record({ value: fc.constantFrom(...COLORS) }) }),
  fc.record({
    key: fc.constant('parts.name'),
    match: fc.record({ any: fc.array(fc.constantFrom(...COLORS), { maxLength: 3 }) }),
  }),
  fc.record({ key: fc.constant('size'), match: fc.record({ value: fc.constantFrom(1, 2.5, 55) }) }),
  fc.record({
    key: fc.constantFrom('size', 'price'),
    range: fc.record({ gt: fc.constantFrom(-1, 0, 2), lte: fc.constantFrom(2.5, 3, 1e21) }),
  }),
  fc.record({ key: fc.constant('isNew'), match: fc.record({ value: fc.boolean() }) }),
  fc.record({ key: fc.constant('at'), range: fc.record({ gte: fc.constantFrom(...TIMES) }) }),
);
const indexedFilters = fc.oneof(
  fc.record({ must: fc.array(indexedCondition, { minLength: 1, maxLength: 3 }) }),
  fc.record({ should: fc.array(indexedCondition, { minLength: 1, maxLength: 3 }) }),
  fc.record({
    must: fc.array(indexedCondition, { minLength: 1, maxLength: 2 }),
    must_not: fc.array(indexedCondition, { minLength: 1, maxLength: 1 }),
  }),
) as fc.Arbitrary<Filter>;

t.test('filtered reads agree with the oracle through every kind of history', async (t) => {
  let matchedCount = 0;
  let compactedCount = 0;
  for (let run = 0; run < 6; run++) {
    const seed = SEED + run;
    const random = new SeededRandom(seed);
    const world = await World.create(run % 2 === 0 ? INDEXES : []);
    for (let step = 0; step < 50; step++) {
      await world.write(randomOps(random));
      if (step === 20) await world.declare(run % 2 === 0 ? INDEXES.slice(0, 3) : INDEXES);
      if (step === 35) await world.reopen();
      if (step % 8 === 5) await world.checkpoint();
      const before = await world.deadCount();
      if (random.nextBelow(3) > 0) world.host.buildSlice(random.nextBelow(9));
      if ((await world.deadCount()) < before) compactedCount += 1;
      if (step % 10 === 9)
        for (const filter of drawn(seed + step, 30))
          matchedCount += await world.check(t, filter, `seed ${seed} step ${step}`);
    }
    while (world.host.buildSlice(7));
    for (const filter of drawn(seed, 60))
      matchedCount += await world.check(t, filter, `seed ${seed} built`);
    await world.host.close();
  }
  t.ok(compactedCount > 20, `rows got other numbers ${compactedCount} times`);
  t.ok(matchedCount > 2_000, `filters match often enough to mean something: ${matchedCount}`);
});

t.test('an index is used once it is built, and not before', async (t) => {
  const world = await World.create([]);
  const random = new SeededRandom(SEED);
  for (let step = 0; step < 40; step++) await world.write(randomOps(random));
  await world.declare([{ key: 'color', type: 'keyword' }]);
  const filter: Filter = { must: [{ key: 'color', match: { value: 'red' } }] };
  const planOf = async () => {
    const { plans } = await world.driver.search({ vector: new Float32Array(4), filter });
    return plans.map((plan) => [plan.filter?.hasIndex, (plan.filter?.testedRowCount ?? 0) > 0]);
  };
  const scanned = [false, true];
  const indexed = [true, false];
  t.same(await planOf(), [scanned, scanned, scanned], 'payloads are read');
  t.ok(world.host.buildSlice(3), 'more rows wait');
  t.same(
    (await planOf()).filter(([isUsed]) => isUsed),
    [],
    'a part of an index is not used',
  );
  while (world.host.buildSlice(5));
  t.same(await planOf(), [indexed, indexed, indexed], 'no payload is read');
  const [stats] = await world.host.stats();
  t.match(stats, { payloadIndexBacklogCount: 0, payloadIndexGivenUpCount: 0 });
  t.ok((stats?.payloadIndexSizeBytes ?? 0) > 0, 'its memory is shown');
  await world.declare([]);
  t.same(await planOf(), [scanned, scanned, scanned], 'a dropped index is not used');
  t.equal((await world.host.stats())[0]?.payloadIndexSizeBytes, 0, 'nor kept');
  await world.host.close();
});

t.test('indexes forget dead rows instead of growing with every replacement', async (t) => {
  const live = new Set<number>();
  const isLive = (row: number): boolean => live.has(row);
  const tokens = new TokenIndex(encodePath('k'), 'string', isLive);
  const numbers = new NumberIndex(encodePath('n'), false, isLive);
  const payloadOf = (row: number) =>
    UTF8.encode(JSON.stringify({ k: [`v${row % 5}`, `v${row % 5}`], n: [row % 100, row % 7] }));
  const sizes: number[] = [];
  for (let row = 0; row < 60_000; row++) {
    live.add(row);
    for (const index of [tokens, numbers]) index.add(payloadOf(row), row);
    const dead = row - 1_000;
    if (dead >= 0) {
      live.delete(dead);
      for (const index of [tokens, numbers]) index.remove(payloadOf(dead), dead);
    }
    if (row % 10_000 === 9_999) sizes.push(tokens.sizeBytes + numbers.sizeBytes);
  }
  t.ok(Math.max(...sizes) < 120_000, `a thousand live rows stay small: ${sizes.join(', ')} bytes`);
  const found = new RowBitmap(60_000);
  tokens.collect({ key: 'k', match: { any: ['v1', 'v1', 'v3'] } }, found);
  const wanted = [...live].filter((row) => row % 5 === 1 || row % 5 === 3);
  t.same([...found.rows()], wanted, 'the live rows are all there');
  const inside = new RowBitmap(60_000);
  numbers.collect({ key: 'n', range: { gte: 97 } }, inside);
  t.same(
    [...inside.rows()],
    [...live].filter((row) => row % 100 >= 97),
  );
  t.ok(numbers.estimate({ key: 'n', range: { gte: 97 } }) >= 30, 'an estimate is never too low');
});

t.test('an index that outgrows its memory is given up, and goes on being answered', async (t) => {
  const shard = new Shard(definitionOf({ shardCount: 1 }), 0, null);
  const write = (id: number, from: number): void => {
    const payload = UTF8.encode(JSON.stringify({ k: `value ${from}` }));
    const vector = new Float32Array(4);
    const op = new PointOpReader(
      encodePointOps([{ type: 'upsert', id, vector, payload, condition: none }]),
    );
    op.next();
    shard.upsert(op, from + 1, 0);
  };
  for (let id = 0; id < 100; id++) write(id, id);
  const definitions = [{ key: 'k', type: 'keyword' }] as const;
  const condition = { key: 'k', match: { value: 'value 7' } };
  const small = new PayloadIndexes(shard.rows, 5_000);
  small.declare(definitions);
  while (small.buildSlice(3) > 0);
  t.match(small, { givenUpCount: 1, sizeBytes: 0, hasWork: false });
  t.equal(small.find(condition), null, 'filters read payloads');
  shard.indexes.declare(definitions);
  while (shard.indexes.buildSlice(7) > 0);
  const before = shard.indexes.sizeBytes;
  t.ok(before > 5_000 && shard.indexes.find(condition) !== null);
  for (let i = 0; i < 20_000; i++) write(i % 100, i % 100);
  t.ok(shard.indexes.sizeBytes < 5 * before, `${before}, then ${shard.indexes.sizeBytes} bytes`);
});

t.test('a bitmap lists its rows from any position', async (t) => {
  const rows = fc.uniqueArray(fc.nat(299), { maxLength: 100 });
  fc.assert(
    fc.property(rows, fc.nat(300), (members, first) => {
      const bitmap = new RowBitmap(300);
      for (const row of members) bitmap.add(row);
      const sorted = [...members].sort((left, right) => left - right);
      t.same(
        [...bitmap.rows(first)],
        sorted.filter((row) => row >= first),
      );
      t.equal(bitmap.count, members.length);
    }),
  );
  t.pass('for all');
});
