/**
 * Goal: while a replica cannot answer for a shard, the request is answered all the same, by another
 * replica, and what the client sees is one call that took a little longer.
 * Method: the client library over a simulated network, whole nodes whose lanes are lost.
 */
import { type HoldfastError, SeededRandom } from '@holdfast/base';
import { HoldfastClient } from '@holdfast/client';
import type { GetResult, Request } from '@holdfast/protocol';
import t from 'tap';
import { SimCluster, type SimNode } from '../src/testing/sim-cluster.ts';

const ROW_COUNT = 60;
const vectorOf = (id: number): Float32Array => Float32Array.from([id, 1]);

async function makeWorld(seed: number) {
  const cluster = new SimCluster({ nodeCount: 3, seed, hasClientPorts: true });
  await cluster.start();
  const leader = await cluster.leader();
  const { clock } = cluster.scheduler;
  const run = <Value>(promise: Promise<Value>) => cluster.scheduler.resolve(promise);
  const client = await run(
    HoldfastClient.connect({
      nodes: cluster.nodes.map((node) => node.clientAddress),
      ...{ timeoutMs: 10_000, transport: cluster.clientNetwork },
      ...{ clock, timers: clock, random: new SeededRandom(seed) },
    }),
  );
  await run(client.createCollection({ name: 'docs', dimension: 2, metric: 'l2', shardCount: 4 }));
  const docs = client.collection('docs');
  const ids = Array.from({ length: ROW_COUNT }, (_, id) => id);
  await run(docs.upsert(ids.map((id) => ({ id, vector: vectorOf(id) }))));
  return { cluster, leader, client, docs, ids, run, clock };
}

const laneStates = ({ host }: SimNode): readonly string[] =>
  host.health().map(({ state }) => state);

for (const loss of ['dies', 'hangs'] as const) {
  t.test(`a read of a shard whose lane ${loss} is answered by another replica`, async (t) => {
    const { client, clock, docs, ids, leader, run } = await makeWorld(11);
    await run(docs.upsert({ id: 7, vector: vectorOf(700) }));
    // Nobody can take the leadership just now: the replica that lacks the shard goes on leading.
    leader.node.replica.handOver = async () => {};
    leader.host.loseLane(0, loss);
    const startMs = clock.monotonicMs();
    const points = await run(docs.get(ids, { withVector: true }));
    const tookMs = clock.monotonicMs() - startMs;
    t.same(laneStates(leader), ['down', 'up'], 'the lane is still away');
    t.equal(points.length, ROW_COUNT);
    t.equal(points.find(({ id }) => id === 7)?.vector?.[0], 700, 'the newest value, no older one');
    const noticedMs = loss === 'dies' ? 0 : 5_000;
    t.ok(tookMs < noticedMs + 500, `${tookMs} ms`);
    t.match(await run(docs.search(vectorOf(3), { k: 1 })), { hits: [{ id: 3 }], degraded: [] });
    t.equal((await run(docs.count())).count, ROW_COUNT);
    await run(client.close());
  });
}

t.test('a read of a lane that hangs ends at its own deadline, and once', async (t) => {
  const { client, cluster, clock, ids, leader, run } = await makeWorld(15);
  const { replica, service } = leader.node;
  leader.node.replica.handOver = async () => {};
  // Until it knows how far behind it is at most.
  await cluster.scheduler.until(() => replica.isCaughtUp, 1_000);
  leader.host.loseLane(0, 'hangs');
  const startMs = clock.monotonicMs();
  const vector = vectorOf(3);
  const filter = { must: [] };
  const kinds = [
    { kind: 'get', ids },
    { kind: 'search', vector, k: 1 },
    { kind: 'scroll', limit: 5 },
    { kind: 'count' },
    { kind: 'deleteByFilter', filter, limit: 1 },
  ] as const;
  const answers = kinds.flatMap((body) =>
    (['linearizable', 'stale'] as const).map(async (consistency) => {
      const request = { id: 1, collection: 'docs', ...body };
      const asked = body.kind === 'deleteByFilter' ? request : { ...request, consistency };
      const deadlineMs = leader.nowMs + 800;
      const error = await service.execute(asked as Request, { deadlineMs }).then(
        () => 'answered',
        (thrown: HoldfastError) => thrown,
      );
      return { error, tookMs: clock.monotonicMs() - startMs };
    }),
  );
  const late = await run(Promise.all(answers));
  for (const { error, tookMs } of late) {
    t.match(error, { code: 'REQUEST_TIMEOUT', details: { lanes: [0, 1] } });
    t.ok(tookMs >= 800 && tookMs < 900, `${tookMs} ms`);
  }
  t.same(laneStates(leader), ['up', 'up'], 'nobody has noticed the hang yet');
  t.equal(replica.lanes.counts.reads, 0, 'nothing waits any more');
  t.ok(replica.lanes.counts.tasks > 0, 'the lane still has the tasks');
  await cluster.scheduler.until(() => laneStates(leader).join() === 'down,up', 10_000);
  await cluster.scheduler.until(() => laneStates(leader).join() === 'up,up', 10_000);
  t.same(replica.lanes.counts, { reads: 0, tasks: 0 }, 'with the lost thread they are gone');
  const request = { id: 2, kind: 'get', collection: 'docs', ids } as const;
  const answer = await run(service.execute(request, { deadlineMs: leader.nowMs + 800 }));
  t.equal((answer as GetResult).points.length, ROW_COUNT);
  await run(client.close());
});

t.test('every recovery of a lane is told by the node that had it', async (t) => {
  const { client, cluster, leader, run } = await makeWorld(12);
  const { recoveries } = leader.node.care;
  leader.host.loseLane(1, 'dies');
  await cluster.scheduler.until(() => recoveries.isOpen('lane 1'), 1_000);
  await run(recoveries.idle());
  t.same(laneStates(leader), ['up', 'up']);
  const told = recoveries.events().filter(({ key }) => key === 'lane 1');
  t.same(
    told.map(({ kind }) => kind),
    ['found', 'started', 'recovered'],
  );
  t.match(told.at(-1), { type: 'laneDied', priority: 1, facts: { action: 'restartLane' } });
  t.match(recoveries.stats(), { rtoComplianceRate: 1, overdue: 0, escalated: 0 });
  await run(client.close());
});

t.test('a lane that is lost while recoveries are off waits until they are on', async (t) => {
  const { client, cluster, docs, ids, leader, run } = await makeWorld(13);
  const { care } = leader.node;
  care.recoveries.configure({ isEnabled: false });
  leader.host.loseLane(0, 'dies');
  await cluster.scheduler.advance(20_000);
  t.same(laneStates(leader), ['down', 'up']);
  t.equal((await run(docs.get(ids))).length, ROW_COUNT, 'others answer meanwhile');
  care.recoveries.configure({ isEnabled: true });
  await cluster.scheduler.until(() => laneStates(leader).join() === 'up,up', 5_000);
  await run(care.recoveries.idle());
  const kinds = care.recoveries.events().flatMap(({ key, kind }) => (key === 'lane 0' ? kind : []));
  t.same(kinds, ['found', 'leftAlone', 'found', 'started', 'recovered']);
  await run(client.close());
});

t.test('a leader whose log cannot be synced stops, another leads, nothing is lost', async (t) => {
  const { client, cluster, docs, ids, leader, run } = await makeWorld(14);
  const acknowledged = new Map<number, number>(ids.map((id) => [id, id]));
  leader.fileSystem.faults.add({
    ...{ operation: 'sync', pathContains: '/wal/', fault: 'EIO', times: 1 },
  });
  for (let i = 0; i < 40; i++) {
    const value = 1_000 + i;
    await run(docs.upsert({ id: i, vector: vectorOf(value) }));
    acknowledged.set(i, value);
  }
  t.match(leader.failure, { code: 'WAL_IO' }, 'a failed sync is never tried again');
  const next = await cluster.leader();
  t.not(next.id, leader.id);
  const points = await run(docs.get(ids, { withVector: true }));
  const wrong = points.filter(({ id, vector }) => acknowledged.get(Number(id)) !== vector?.[0]);
  t.same([points.length, wrong], [ROW_COUNT, []], 'each has what was acknowledged last');
  // The machine gets another process on the same disk: it catches up.
  leader.kill();
  await leader.start();
  const digests = await cluster.digests();
  t.equal(new Set(digests.map(({ digest }) => digest)).size, 1);
  t.equal(digests.length, 3);
  await run(client.close());
});
