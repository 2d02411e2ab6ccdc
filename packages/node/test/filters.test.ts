/**
 * Goal: filtered reads, scrolls, deletes by filter and payload indexes hold on a cluster: the same
 * on every replica whatever its lanes, exactly once, and across restarts and snapshots.
 * Method: whole nodes on virtual time, each with another number of lanes.
 */
import { HoldfastError, logIndex, term } from '@holdfast/base';
import type {
  CountResult,
  DeleteByFilterResult,
  Filter,
  GetResult,
  ListCollectionsResult,
  OpenSessionResult,
  PointId,
  Request,
  ScrollResult,
  SearchResult,
  UpsertResult,
} from '@holdfast/protocol';
import { canonicalPayload } from '@holdfast/protocol';
import t from 'tap';
import { mergeScroll } from '../src/routing/scatter-gather.ts';
import { FrameReader, FrameWriter } from '../src/state/meta-rows.ts';
import { succeeded } from '../src/state/meta-step.ts';
import { SimCluster } from '../src/testing/sim-cluster.ts';

const COLLECTION = 'docs';
const RED: Filter = { must: [{ key: 'color', match: { value: 'red' } }] };

async function onLeader<Result>(cluster: SimCluster, request: object) {
  for (let attempt = 0; attempt < 30; attempt++) {
    const leader = await cluster.leader();
    try {
      return (await cluster.execute(leader, { id: 1, ...request } as Request, 1_000)) as Result;
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.retry === 'never') throw error;
      await cluster.scheduler.advance(50);
    }
  }
  throw new Error('no leader answered');
}

const point = (id: PointId, color: string, size = 0) => ({
  id,
  vector: new Float32Array([size, 0]),
  payload: canonicalPayload({ color, size }),
});
const uuid = (n: number): string =>
  `${n.toString(16).padStart(8, '0')}-0000-4000-8000-000000000000`;
const upsert = (points: readonly ReturnType<typeof point>[]) =>
  ({ kind: 'upsert', collection: COLLECTION, points }) as const;

async function started(seed: number, latencyMs = 0): Promise<SimCluster> {
  const cluster = new SimCluster({
    nodeCount: 3,
    seed,
    laneCount: [1, 2, 3],
    latency: { networkMsMax: latencyMs },
    settings: { checkpointIntervalMs: 1_000_000, retainedEntryCount: 0 },
  });
  await cluster.start();
  await onLeader(cluster, {
    kind: 'createCollection',
    name: COLLECTION,
    dimension: 2,
    metric: 'l2',
    shardCount: 5,
    payloadIndexes: [{ key: 'color', type: 'keyword' }],
  });
  return cluster;
}

/** 300 points; every third is red. */
async function filled(seed: number): Promise<SimCluster> {
  const cluster = await started(seed);
  const colors = ['red', 'green', 'blue'];
  const points = Array.from({ length: 300 }, (_, i) =>
    point(i % 2 === 0 ? i : uuid(i), colors[i % 3] ?? '', i),
  );
  await onLeader(cluster, upsert(points));
  return cluster;
}

t.test('count, search and scroll with a filter answer alike on every replica', async (t) => {
  const cluster = await filled(31);
  await cluster.scheduler.advance(500);
  for (const node of cluster.nodes) {
    const ask = async <Result>(request: object): Promise<Result> => {
      const stale = { id: 1, collection: COLLECTION, consistency: 'stale', ...request } as Request;
      return (await cluster.execute(node, stale, 1_000)) as Result;
    };
    t.equal((await ask<CountResult>({ kind: 'count', filter: RED })).count, 100);
    t.equal((await ask<CountResult>({ kind: 'count' })).count, 300);
    const ids: PointId[] = [];
    let after: PointId | null = null;
    let pageCount = 0;
    do {
      const page: ScrollResult = await ask({
        ...{ kind: 'scroll', filter: RED, limit: 7 },
        ...(after === null ? {} : { after }),
      });
      t.ok(page.points.length <= 7 && page.points.every(({ payload }) => payload?.color === 'red'));
      for (const { id } of page.points) ids.push(id);
      after = page.next;
      pageCount += 1;
    } while (after !== null);
    const reds = Array.from({ length: 100 }, (_, i) => i * 3);
    const [even, odd] = [reds.filter((i) => i % 2 === 0), reds.filter((i) => i % 2 === 1)];
    t.same(ids, [...even, ...odd.map(uuid)], 'numbers ascending, then UUIDs, none twice');
    t.equal(pageCount, 15);
    const vector = new Float32Array([10, 0]);
    const found = await ask<SearchResult>({ kind: 'search', vector, k: 3, filter: RED });
    t.same(
      found.hits.map(({ id }) => id),
      [uuid(9), 12, 6],
    );
    t.match(found.plan.filter, { matchedRowCount: 100, indexedShardCount: 5, exactShardCount: 5 });
  }
});

t.test('a page ends where its bytes do, and the next one goes on there', async (t) => {
  const cluster = await started(32);
  const payload = canonicalPayload({ color: 'red', text: 'x'.repeat(60_000) });
  for (let i = 0; i < 400; i += 100) {
    const points = Array.from({ length: 100 }, (_, j) => ({ ...point(i + j, 'red'), payload }));
    await onLeader(cluster, upsert(points));
  }
  const ids: PointId[] = [];
  const sizes: number[] = [];
  let after: PointId | null = null;
  do {
    const page: ScrollResult = await onLeader(cluster, {
      ...{ kind: 'scroll', collection: COLLECTION, limit: 1_000 },
      ...(after === null ? {} : { after }),
    });
    for (const { id } of page.points) ids.push(id);
    sizes.push(page.points.length);
    after = page.next;
  } while (after !== null);
  t.same(
    ids,
    Array.from({ length: 400 }, (_, i) => i),
  );
  t.ok(sizes.length > 3 && Math.max(...sizes) < 80, `pages of ${sizes.join(', ')}`);
});

t.test('a page ends where a lane knows no further, whatever the others have', async (t) => {
  const record = (id: PointId) => ({ id, version: 1, vector: null, payload: null });
  const lane = (ids: readonly PointId[], hasMore: boolean) =>
    ({ kind: 'scroll', points: ids.map(record), hasMore }) as const;
  const idsOf = ({ points, next }: ReturnType<typeof mergeScroll>) => [
    points.map(({ id }) => id),
    next,
  ];
  const [cut, whole] = [lane([1, 9], true), lane([5, 12, uuid(1)], false)];
  t.same(idsOf(mergeScroll([cut, whole], 10)), [[1, 5, 9], 9]);
  t.same(idsOf(mergeScroll([cut, whole], 2)), [[1, 5], 5]);
  t.same(idsOf(mergeScroll([lane([], false), whole], 10)), [[5, 12, uuid(1)], null]);
  t.same(idsOf(mergeScroll([whole], 3)), [[5, 12, uuid(1)], null]);
  t.same(idsOf(mergeScroll([lane([], false)], 3)), [[], null]);
});

t.test('the answer of a delete by filter is kept in a checkpoint as it was', async (t) => {
  const at = { index: logIndex(7), term: term(1) };
  const rows = [{}, { skippedCount: 2 }].map((skipped, sequence) => ({
    ...{ sequence, bodyHash: 3n },
    result: succeeded(at, { kind: 'written', deletedCount: 5, ...skipped }),
  }));
  const writer = new FrameWriter();
  for (const row of rows) writer.result(row);
  const read: unknown[] = [];
  const ignore = (): void => {};
  const visitor = { head: ignore, collection: ignore, hidden: ignore, session: ignore };
  const frame = writer.take()?.subarray(4) ?? new Uint8Array(0);
  new FrameReader({ ...visitor, result: (row) => void read.push(row) }).read(frame);
  t.same(read, rows);
});

t.test('a delete by filter is exactly once: its repeat finds nothing new', async (t) => {
  const cluster = await filled(33);
  const { sessionId } = await onLeader<OpenSessionResult>(cluster, { kind: 'openSession' });
  const request = {
    kind: 'deleteByFilter',
    collection: COLLECTION,
    filter: RED,
    session: { id: sessionId, sequence: 1, ackedThrough: 0 },
  } as const;
  const first = await onLeader<DeleteByFilterResult>(cluster, request);
  t.match(first, { deletedCount: 100, skippedCount: 0 });
  await onLeader(cluster, upsert([point(1_000, 'red')]));
  const leader = await cluster.leader();
  leader.kill();
  await cluster.leader();
  await leader.start();
  t.same(await onLeader(cluster, request), first, 'the repeat is answered with the first answer');
  const count = { kind: 'count', collection: COLLECTION, filter: RED } as const;
  t.equal((await onLeader<CountResult>(cluster, count)).count, 1, 'the new point stays');
  await t.rejects(
    onLeader(cluster, { ...request, filter: { must: [{ has_id: [1] }] } }),
    { code: 'SEQUENCE_REUSED' },
    'another filter under the same sequence is another request',
  );
  const digests = await cluster.digests();
  t.equal(new Set(digests.map(({ digest }) => digest)).size, 1, 'replicas agree');
});

t.test('its limit takes the lowest ids first', async (t) => {
  const cluster = await filled(34);
  const request = { kind: 'deleteByFilter', collection: COLLECTION, filter: RED } as const;
  t.match(await onLeader(cluster, { ...request, limit: 4 }), { deletedCount: 4, skippedCount: 0 });
  const scroll = { kind: 'scroll', collection: COLLECTION, filter: RED, limit: 1 } as const;
  t.match((await onLeader<ScrollResult>(cluster, scroll)).points, [{ id: 24 }]);
  t.match(await onLeader(cluster, request), { deletedCount: 96 });
  t.match(await onLeader(cluster, request), { deletedCount: 0, skippedCount: 0 });
});

t.test('a point that another write changed meanwhile is skipped and counted', async (t) => {
  let skippedCount = 0;
  let deletedCount = 0;
  for (let delayMs = 0; delayMs < 12; delayMs++) {
    const cluster = await started(40 + delayMs, 4);
    await onLeader(cluster, upsert([point(1, 'red'), point(2, 'red')]));
    const leader = await cluster.leader();
    const deleted = cluster.execute(
      leader,
      { id: 1, kind: 'deleteByFilter', collection: COLLECTION, filter: RED },
      5_000,
    ) as Promise<DeleteByFilterResult>;
    await cluster.scheduler.advance(delayMs);
    const written = await onLeader<UpsertResult>(cluster, upsert([point(1, 'green')]));
    const result = await cluster.scheduler.resolve(deleted);
    const get = { kind: 'get', collection: COLLECTION, ids: [1, 2] } as const;
    const { points } = await onLeader<GetResult>(cluster, get);
    t.match(points, [{ id: 1, version: written.index, payload: { color: 'green' } }]);
    t.equal(points.length, 1, 'the point that nobody changed is gone');
    skippedCount += result.skippedCount;
    deletedCount += result.deletedCount;
    const digests = await cluster.digests();
    t.equal(new Set(digests.map(({ digest }) => digest)).size, 1, 'replicas agree');
  }
  t.ok(skippedCount > 0, `the race was met: ${skippedCount} skipped, ${deletedCount} deleted`);
});

t.test('payload indexes are declared by the log, and survive restarts and snapshots', async (t) => {
  const cluster = await filled(35);
  const name = { collection: COLLECTION, key: 'size' };
  const declared = async () => {
    const { collections } = await onLeader<ListCollectionsResult>(cluster, {
      kind: 'listCollections',
    });
    return collections[0]?.payloadIndexes.map(({ key, type }) => `${key} ${type}`);
  };
  const behind = cluster.nodes.find((node) => node.node.replica.soft.role !== 'leader');
  if (behind === undefined) throw new Error('three nodes have a follower');
  behind.kill();
  await cluster.scheduler.advance(2_000);
  const create = { kind: 'createPayloadIndex', ...name, type: 'integer' } as const;
  t.match(await onLeader(cluster, create), { isCreated: true });
  t.match(await onLeader(cluster, create), { isCreated: false }, 'an equal one is no error');
  const other = onLeader(cluster, { ...create, type: 'keyword' });
  await t.rejects(other, { code: 'PAYLOAD_INDEX_EXISTS' });
  t.match(
    await onLeader(cluster, { kind: 'dropPayloadIndex', collection: COLLECTION, key: 'color' }),
    { isDropped: true },
  );
  for (const node of cluster.nodes)
    if (node !== behind) await cluster.scheduler.resolve(node.node.replica.checkpoint());
  for (const node of cluster.nodes) {
    if (node === behind) continue;
    node.cutPower({ seed: 1, keepUnsynced: 'none' });
    await node.start();
  }
  await behind.start();
  t.same(await declared(), ['size integer']);
  await cluster.scheduler.advance(2_000);
  const big: Filter = { must: [{ key: 'size', range: { gte: 290 } }] };
  for (const node of cluster.nodes) {
    const read = { id: 1, kind: 'count', collection: COLLECTION, filter: big } as const;
    const stale = { ...read, consistency: 'stale' } as const;
    const { count } = (await cluster.execute(node, stale, 1_000)) as CountResult;
    t.equal(count, 10, 'whether it is built there or not');
    t.same(
      node.node.replica.meta.catalogue.byName(COLLECTION)?.payloadIndexes,
      [{ key: 'size', type: 'integer' }],
      'on the node that got a snapshot, too',
    );
  }
  const drop = { kind: 'dropPayloadIndex', ...name } as const;
  t.match(await onLeader(cluster, drop), { isDropped: true });
  t.match(await onLeader(cluster, drop), { isDropped: false });
  t.same(await declared(), []);
});

t.test('an equal collection has at least the indexes asked for', async (t) => {
  const cluster = await started(36);
  const create = {
    kind: 'createCollection',
    name: COLLECTION,
    dimension: 2,
    metric: 'l2',
    shardCount: 5,
    ifNotExists: true,
  } as const;
  t.ok(await onLeader(cluster, create), 'none asked for');
  const payloadIndexes = [{ key: 'color', type: 'keyword' as const }];
  t.ok(await onLeader(cluster, { ...create, payloadIndexes }));
  const wanted = [...payloadIndexes, { key: 'size', type: 'float' as const }];
  const more = onLeader(cluster, { ...create, payloadIndexes: wanted });
  await t.rejects(more, { code: 'COLLECTION_EXISTS' });
});
