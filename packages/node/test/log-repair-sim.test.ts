/**
 * Goal: logs that rotted while their nodes were down are repaired from peers by whole nodes, with
 * crashes in the middle; what all have lost stops them; nothing acknowledged goes missing.
 * Method: whole nodes on memory disks and virtual time; bits are flipped in the log files of nodes
 * that are down. Replay: HOLDFAST_SEED=7 node packages/node/dist/test/log-repair-sim.test.js
 */
import { SeededRandom } from '@holdfast/base';
import type { GetResult, Request } from '@holdfast/protocol';
import t, { type Test } from 'tap';
import type { SimNode } from '../src/testing/sim-cluster.ts';
import { SimCluster } from '../src/testing/sim-cluster.ts';
import { rotLog } from './support/rot.ts';

const SEED_COUNT = 20;
const createDocs: Request = {
  id: 1,
  kind: 'createCollection',
  name: 'docs',
  dimension: 2,
  metric: 'l2',
  shardCount: 2,
};

/** A vector that names its point in the bytes of the log. */
const vectorOf = (id: number): Float32Array => new Float32Array([id + 0.625, 12_345.5]);

const upsert = (id: number): Request => ({
  id: 1,
  kind: 'upsert',
  collection: 'docs',
  points: [{ id, vector: vectorOf(id) }],
});

async function clusterWith(
  pointCount: number,
  seed = 1,
  settings: SimCluster['options']['settings'] = {},
): Promise<SimCluster> {
  const cluster = new SimCluster({ nodeCount: 3, seed, settings });
  await cluster.start();
  const leader = await cluster.leader();
  await cluster.execute(leader, createDocs);
  for (let id = 1; id <= pointCount; id++) await cluster.execute(leader, upsert(id));
  await cluster.digests();
  return cluster;
}

/** Damages the entry that wrote point `id`. */
const rot = (node: SimNode, id: number): void => rotLog(node, new Uint8Array(vectorOf(id).buffer));

async function missing(cluster: SimCluster, pointCount: number): Promise<readonly number[]> {
  const ids = Array.from({ length: pointCount }, (_, i) => i + 1);
  const request: Request = { id: 1, kind: 'get', collection: 'docs', ids };
  const leader = await cluster.leader();
  const { points } = (await cluster.execute(leader, request, 20_000)) as GetResult;
  const found = new Set(points.flatMap((point) => (point === null ? [] : [point.id])));
  return ids.filter((id) => !found.has(id));
}

async function expectEqualDigests(t: Test, cluster: SimCluster): Promise<void> {
  const digests = await cluster.digests();
  t.equal(digests.length, cluster.nodes.length);
  t.equal(new Set(digests.map(({ digest }) => digest)).size, 1, 'every replica has one digest');
}

const isUp = (node: SimNode): boolean => node.state === 'running';

t.test('a follower whose log rotted in the middle repairs itself from its peers', async (t) => {
  const cluster = await clusterWith(30);
  const leader = await cluster.leader();
  const follower = cluster.nodes.find((node) => node !== leader)!;
  follower.kill();
  rot(follower, 12);
  await cluster.execute(await cluster.leader(), upsert(31));
  await follower.start();
  t.same(follower.log?.damage(), []);
  t.same(await missing(cluster, 31), []);
  await expectEqualDigests(t, cluster);
});

t.test('damage at different entries of two of three nodes heals, without the third', async (t) => {
  const cluster = await clusterWith(20);
  for (const node of cluster.nodes) node.kill();
  rot(cluster.node(0), 5);
  rot(cluster.node(0), 6);
  rot(cluster.node(1), 14);
  const boots = [cluster.node(0).begin(), cluster.node(1).begin()];
  await cluster.scheduler.until(() => isUp(cluster.node(0)) && isUp(cluster.node(1)), 10_000);
  await Promise.all(boots);
  t.same(await missing(cluster, 20), []);
  await cluster.node(2).start();
  await expectEqualDigests(t, cluster);
});

t.test('an entry that all three have lost stops all three, and each names it', async (t) => {
  const cluster = await clusterWith(10);
  for (const node of cluster.nodes) node.kill();
  for (const node of cluster.nodes) rot(node, 7);
  const boots = cluster.nodes.map((node) => node.begin().catch(() => undefined));
  await cluster.scheduler.until(
    () => cluster.nodes.every(({ state }) => state === 'failed'),
    20_000,
  );
  await Promise.all(boots);
  for (const node of cluster.nodes) {
    t.equal(node.failure?.code, 'ENTRY_LOST');
    t.equal(node.failure?.details.from, node.failure?.details.high, 'one entry, no more');
  }
  const froms = cluster.nodes.map((node) => node.failure?.details.from);
  t.equal(new Set(froms).size, 1, 'all name the same entry');
});

t.test('a damaged node neither votes nor serves until it is whole, and says why', async (t) => {
  const cluster = await clusterWith(10);
  for (const node of cluster.nodes) node.kill();
  const [damaged, healthy] = [cluster.node(0), cluster.node(1)];
  rot(damaged, 3);
  cluster.network.isolate(damaged.id, [healthy.id]);
  const boot = damaged.begin();
  await healthy.start();
  await cluster.scheduler.advance(10_000);
  t.equal(damaged.state, 'booting');
  t.equal(damaged.recovering?.role, 'repairing');
  t.match(damaged.recovering?.recovery, /repairing log entries .* waiting for n2, n3/);
  t.not(healthy.node.replica.soft.role, 'leader', 'the damaged node gave no vote');
  cluster.network.heal();
  await cluster.scheduler.until(() => isUp(damaged), 10_000);
  await boot;
  t.same(await missing(cluster, 10), []);
});

/** Everything that is applied is let go of at the next checkpoint. */
const FORGETFUL = { retainedEntryCount: 0, limits: { followerLogHoldSizeBytesMax: 0 } };

/** The log is kept from the last checkpoint but one, so there is a write between two. */
async function forget(cluster: SimCluster, nodes: readonly SimNode[]): Promise<void> {
  for (const id of [21, 22]) {
    await cluster.execute(await cluster.leader(), upsert(id));
    await cluster.digests();
    for (const node of nodes) await cluster.scheduler.resolve(node.node.replica.checkpoint());
  }
}

t.test('where peers have only a snapshot a damaged node begins a new life, unasked', async (t) => {
  const cluster = await clusterWith(20, 1, FORGETFUL);
  const leader = await cluster.leader();
  const damaged = cluster.nodes.find((node) => node !== leader)!;
  const others = cluster.nodes.filter((node) => node !== damaged);
  const { incarnation } = damaged;
  damaged.kill();
  rot(damaged, 12);
  await forget(cluster, others);
  for (const node of others) t.ok(node.log!.firstIndex() > 20, 'the entries are gone');
  const boot = damaged.begin().catch(() => undefined);
  await cluster.scheduler.until(() => damaged.state === 'failed', 30_000);
  await boot;
  t.equal(damaged.failure?.code, 'NEW_LIFE_NEEDED');
  damaged.kill();
  await damaged.start();
  t.not(damaged.incarnation, incarnation);
  await cluster.scheduler.until(
    () => isUp(damaged) && damaged.node.service.status().membership === 'voter',
    30_000,
  );
  t.same(await missing(cluster, 22), []);
  await expectEqualDigests(t, cluster);
});

t.test('without a leader nobody begins a new life, whatever was compacted', async (t) => {
  const cluster = await clusterWith(20, 1, FORGETFUL);
  const damaged = [cluster.node(0), cluster.node(1)];
  await forget(cluster, [cluster.node(2)]);
  for (const node of damaged) node.kill();
  for (const node of damaged) rot(node, 12);
  for (const node of damaged) void node.begin().catch(() => undefined);
  await cluster.scheduler.advance(60_000);
  for (const node of damaged) t.match(node.recovering?.recovery, /compacted/);
  for (const node of damaged) node.kill();
});

/** Damage and crashes at random; never the same point on a majority. */
async function storm(seed: number): Promise<{ repairs: number; crashes: number }> {
  const random = new SeededRandom(seed);
  const cluster = await clusterWith(24, seed);
  const counts = { repairs: 0, crashes: 0 };
  let pointCount = 24;
  for (let round = 0; round < 3; round++) {
    for (const node of cluster.nodes) node.kill();
    const rotten = new Set<number>();
    for (const node of cluster.nodes) {
      const id = 1 + random.nextBelow(pointCount);
      if (rotten.has(id) || random.nextBelow(4) === 0) continue;
      rotten.add(id);
      rot(node, id);
      counts.repairs += 1;
    }
    const boots = cluster.nodes.map((node) => node.begin().catch(() => undefined));
    // Somebody loses power while repairs are under way.
    await cluster.scheduler.advance(random.nextBelow(120));
    const victim = cluster.node(random.nextBelow(3));
    victim.cutPower({ seed, keepUnsynced: 'random', tearsSectors: true });
    counts.crashes += 1;
    await cluster.scheduler.advance(random.nextBelow(500));
    boots.push(victim.begin().catch(() => undefined));
    await cluster.scheduler.until(() => cluster.nodes.every(isUp), 30_000);
    const lost = await missing(cluster, pointCount);
    if (lost.length > 0) throw new Error(`acknowledged points are missing: ${lost.join(', ')}`);
    pointCount += 1;
    await cluster.execute(await cluster.leader(), upsert(pointCount));
    await cluster.digests();
  }
  const digests = new Set((await cluster.digests()).map(({ digest }) => digest));
  if (digests.size !== 1) throw new Error('the replicas differ');
  return counts;
}

const replayed = process.env.HOLDFAST_SEED;
const seeds =
  replayed === undefined ? Array.from({ length: SEED_COUNT }, (_, i) => i + 1) : [Number(replayed)];

t.test('rot and power cuts during repair lose nothing that was acknowledged', async (t) => {
  const total = { repairs: 0, crashes: 0 };
  for (const seed of seeds) {
    try {
      const { repairs, crashes } = await storm(seed);
      total.repairs += repairs;
      total.crashes += crashes;
    } catch (cause) {
      t.fail(`seed ${seed} broke; replay with HOLDFAST_SEED=${seed}`, { cause });
      throw cause;
    }
  }
  t.comment(JSON.stringify(total));
  if (replayed === undefined) t.ok(total.repairs > seeds.length, 'logs were repaired');
});
