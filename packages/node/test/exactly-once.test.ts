/**
 * Goal: a write that is repeated because its reply was lost takes effect once: on the same leader,
 * on the next one, after checkpoint and restart, and after a snapshot install (architecture 3).
 * Method: the reply of each write is thrown away and the same (session, sequence) is sent again,
 * possibly elsewhere, while leaders are killed, checkpoints made and followers rebuilt.
 */
import { HoldfastError, SeededRandom } from '@holdfast/base';
import type { GetResult, OpenSessionResult, Request, UpsertResult } from '@holdfast/protocol';
import t from 'tap';
import { SimCluster } from '../src/testing/sim-cluster.ts';

const COLLECTION = 'counters';
const create: Request = {
  id: 1,
  kind: 'createCollection',
  name: COLLECTION,
  dimension: 1,
  metric: 'l2',
  shardCount: 2,
};

/** Executes on the current leader, again and again until an answer that is no redirect. */
async function onLeader(cluster: SimCluster, request: Request) {
  for (let attempt = 0; attempt < 30; attempt++) {
    const leader = await cluster.leader();
    try {
      return await cluster.execute(leader, request, 1_000);
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.retry === 'never') throw error;
      await cluster.scheduler.advance(50);
    }
  }
  throw new Error('no leader answered');
}

async function versionOf(cluster: SimCluster, id: number) {
  const request: Request = {
    id: 1,
    kind: 'get',
    collection: COLLECTION,
    ids: [id],
    withVector: true,
  };
  const { points } = (await onLeader(cluster, request)) as GetResult;
  const found = points[0];
  return { version: found?.version ?? 0, value: found?.vector?.[0] ?? 0 };
}

t.test('1,000 increments whose replies are lost each count once', async (t) => {
  const cluster = new SimCluster({
    nodeCount: 3,
    seed: 5,
    settings: { checkpointIntervalMs: 1_000_000, retainedEntryCount: 0 },
  });
  await cluster.start();
  await onLeader(cluster, create);
  const open: Request = { id: 1, kind: 'openSession' };
  const { sessionId } = (await onLeader(cluster, open)) as OpenSessionResult;
  const random = new SeededRandom(5);
  const expected = new Map<number, number>();
  let repeatedElsewhere = 0;
  for (let sequence = 1; sequence <= 1_000; sequence++) {
    const id = random.nextBelow(10);
    const { version, value } = await versionOf(cluster, id);
    const condition = version === 0 ? { ifAbsent: true } : { ifVersion: version };
    const request: Request = {
      id: 1,
      kind: 'upsert',
      collection: COLLECTION,
      session: { id: sessionId, sequence, ackedThrough: sequence - 1 },
      points: [{ id, vector: new Float32Array([value + 1]), ...condition }],
    };
    const first = (await onLeader(cluster, request)) as UpsertResult;
    if (sequence % 100 === 50) {
      const leader = await cluster.leader();
      leader.kill();
      await cluster.leader();
      await leader.start();
      repeatedElsewhere += 1;
    }
    if (sequence % 150 === 75) {
      for (const node of cluster.nodes)
        await cluster.scheduler.resolve(node.node.replica.checkpoint());
      for (const node of cluster.nodes) node.cutPower({ seed: sequence, keepUnsynced: 'none' });
      for (const node of cluster.nodes) await node.start();
      repeatedElsewhere += 1;
    }
    const again = (await onLeader(cluster, request)) as UpsertResult;
    if (again.index !== first.index) t.fail(`sequence ${sequence} ran twice`, { first, again });
    expected.set(id, (expected.get(id) ?? 0) + 1);
  }
  t.ok(repeatedElsewhere >= 15, `${repeatedElsewhere} repeats came after a fault`);
  for (const [id, count] of expected) t.equal((await versionOf(cluster, id)).value, count, `${id}`);
  const digests = await cluster.digests();
  t.equal(new Set(digests.map(({ digest }) => digest)).size, 1);
});

t.test(
  'the session table travels in a snapshot: a repeat on a rebuilt node finds it',
  async (t) => {
    const cluster = new SimCluster({ nodeCount: 3, seed: 6, settings: { retainedEntryCount: 0 } });
    await cluster.start();
    await onLeader(cluster, create);
    const { sessionId } = (await onLeader(cluster, {
      id: 1,
      kind: 'openSession',
    })) as OpenSessionResult;
    const behind = cluster.nodes.find((node) => node.node.replica.soft.role !== 'leader');
    if (behind === undefined) throw new Error('three nodes have a follower');
    behind.kill();
    // A follower that was heard a moment ago holds the log.
    await cluster.scheduler.advance(2_000);
    const request: Request = {
      id: 1,
      kind: 'upsert',
      collection: COLLECTION,
      session: { id: sessionId, sequence: 1, ackedThrough: 0 },
      points: [{ id: 1, vector: new Float32Array([1]), ifAbsent: true }],
    };
    const first = (await onLeader(cluster, request)) as UpsertResult;
    const leader = await cluster.leader();
    for (let i = 0; i < 3; i++) {
      await cluster.execute(leader, {
        ...request,
        session: { id: sessionId, sequence: 2 + i, ackedThrough: 0 },
        points: [{ id: 100 + i, vector: new Float32Array([1]) }],
      });
      await cluster.scheduler.resolve(leader.node.replica.checkpoint());
    }
    await behind.start();
    await cluster.digests();
    t.ok(behind.node.replica.checkpointer.root !== null, 'it was rebuilt by snapshot');
    // Only the rebuilt node and one other are left: make the rebuilt one lead.
    const third = cluster.nodes.find((node) => node !== behind && node !== leader);
    leader.kill();
    await cluster.scheduler.advance(100);
    for (let i = 0; i < 100 && (await cluster.leader()) !== behind; i++) {
      third?.kill();
      await leader.start();
      await cluster.leader();
      leader.kill();
      await third?.start();
    }
    const again = (await onLeader(cluster, request)) as UpsertResult;
    t.equal(again.index, first.index, 'the repeat got the first answer');
  },
);

t.test('a conditional batch over several shards is written wholly or not at all', async (t) => {
  const cluster = new SimCluster({ nodeCount: 3, seed: 7 });
  await cluster.start();
  await onLeader(cluster, create);
  const vector = new Float32Array([1]);
  const points = Array.from({ length: 20 }, (_, id) => ({ id, vector }));
  await onLeader(cluster, {
    id: 1,
    kind: 'upsert',
    collection: COLLECTION,
    points: [{ id: 7, vector }],
  });
  const batch: Request = {
    id: 1,
    kind: 'upsert',
    collection: COLLECTION,
    points: points.map((point) => ({ ...point, ifAbsent: true })),
  };
  await t.rejects(onLeader(cluster, batch), {
    code: 'VERSION_CONFLICT',
    definite: true,
    details: { conflicts: [{ id: 7 }] },
  });
  const count: Request = { id: 1, kind: 'count', collection: COLLECTION };
  t.match(await onLeader(cluster, count), { count: 1 }, 'nothing of the batch was written');
  await onLeader(cluster, { id: 1, kind: 'delete', collection: COLLECTION, points: [{ id: 7 }] });
  await onLeader(cluster, batch);
  t.match(await onLeader(cluster, count), { count: 20 });
  const digests = await cluster.digests();
  t.equal(new Set(digests.map(({ digest }) => digest)).size, 1);
});
