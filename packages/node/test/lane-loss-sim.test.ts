/**
 * Goal: a lane that is lost at a bad moment costs time and nothing else.
 * Method: whole nodes on virtual time whose lanes are engines under the supervision of threads.
 */
import t from 'tap';
import type { SimCluster, SimNode } from '../src/testing/sim-cluster.ts';
import {
  checkpointAll,
  clusterWithSegments,
  DATA,
  expectHealed,
  filesOf,
  upsertBatch,
  vectorOf,
} from './support/healing.ts';
import { rotLog } from './support/rot.ts';

async function follower(cluster: SimCluster): Promise<SimNode> {
  const leader = await cluster.leader();
  return cluster.nodes.find((one) => one !== leader)!;
}

const hasLanes = ({ host }: SimNode): boolean => host.health().every(({ state }) => state === 'up');

async function verify(cluster: SimCluster): Promise<void> {
  const leader = await cluster.leader();
  await cluster.scheduler.resolve(leader.node.replica.verify(leader.nowMs + 5_000));
}

t.test('a replica that loses a lane while it tells its digests goes on', async (t) => {
  const cluster = await clusterWithSegments(2, 1);
  const node = await follower(cluster);
  const digests = node.host.digests.bind(node.host);
  let lostCount = 0;
  node.host.digests = (index) => {
    const answer = digests(index);
    if (lostCount === 0) node.host.loseLane(0, 'dies');
    lostCount += 1;
    return answer;
  };
  await verify(cluster);
  await cluster.scheduler.until(() => lostCount > 0 && hasLanes(node), 20_000);
  t.ok(node.isRunning, 'it has not stopped');
  await upsertBatch(cluster, 2);
  await expectHealed(t, cluster, 120);
});

for (const loss of ['dies', 'hangs'] as const) {
  t.test(`a lane that ${loss} comes back with what was written meanwhile`, async (t) => {
    const cluster = await clusterWithSegments(3, 2);
    const node = await follower(cluster);
    await upsertBatch(cluster, 3);
    node.host.loseLane(0, loss);
    node.host.loseLane(1, loss);
    await upsertBatch(cluster, 4);
    await cluster.scheduler.until(() => !hasLanes(node), 20_000);
    await cluster.scheduler.until(() => hasLanes(node), 60_000);
    await expectHealed(t, cluster, 200);
    const [lane] = node.host.health();
    t.match(lane, { restarts: 1, lost: loss === 'dies' ? { died: 1 } : { hung: 1 } });
  });
}

t.test(
  'a lane that finds every checkpoint damaged stops its node, which starts whole',
  async (t) => {
    const cluster = await clusterWithSegments(3, 3);
    const node = await follower(cluster);
    const paths = filesOf(node, /\.meta$/);
    for (const path of paths) node.fileSystem.flipBit(`${DATA}/${path}`, 70);
    node.host.loseLane(0, 'dies');
    await upsertBatch(cluster, 3);
    await cluster.scheduler.until(() => node.state === 'failed', 120_000);
    t.match(node.failure, { code: 'FILE_CORRUPT' }, 'a new checkpoint would need this very lane');
    node.kill();
    await node.start();
    t.ok(hasLanes(node));
    await expectHealed(t, cluster, 160);
  },
);

t.test('a lane that needs an entry that has rot comes back once it is repaired', async (t) => {
  const cluster = await clusterWithSegments(3, 4, {}, { cacheSizeBytesMax: 1_024 });
  const node = await follower(cluster);
  for (let batch = 3; batch < 6; batch++) await upsertBatch(cluster, batch);
  await cluster.digests();
  rotLog(node, new Uint8Array(vectorOf(4 * 40 + 7).buffer).subarray(0, 16));
  node.host.loseLane(0, 'dies');
  await cluster.scheduler.until(() => !hasLanes(node), 20_000);
  await cluster.scheduler.until(() => hasLanes(node), 60_000);
  t.ok(node.isRunning, 'it has not stopped');
  await expectHealed(t, cluster, 240);
  const { wal } = node;
  t.same(wal.groupLog(wal.groups()[0]!).damage(), []);
});

/** A replica that was away so long that the leader's log begins after its own. */
async function behindASnapshot(seed: number): Promise<{ cluster: SimCluster; node: SimNode }> {
  const forgetful = { retainedEntryCount: 0, limits: { followerLogHoldSizeBytesMax: 0 } };
  const cluster = await clusterWithSegments(3, seed, forgetful);
  const node = await follower(cluster);
  cluster.network.isolate(
    node.id,
    cluster.nodes.filter((one) => one !== node).map(({ id }) => id),
  );
  for (let batch = 3; batch < 6; batch++) {
    await upsertBatch(cluster, batch);
    await checkpointAll(cluster);
  }
  return { cluster, node };
}

t.test('a lane that dies before an installed snapshot is loaded is opened by it', async (t) => {
  const { cluster, node } = await behindASnapshot(8);
  const { checkpointer } = node.node.replica;
  const before = checkpointer.root?.meta.index ?? 0;
  let load = (): void => {};
  checkpointer.lanesIdle = () =>
    new Promise((resolve) => {
      load = resolve;
    });
  cluster.network.heal();
  await cluster.scheduler.until(() => (checkpointer.root?.meta.index ?? 0) > before, 20_000);
  node.host.loseLane(0, 'dies');
  await cluster.scheduler.advance(10_000);
  t.ok(node.isRunning, 'it does not give up what is on its way');
  load();
  await cluster.scheduler.until(() => hasLanes(node), 20_000);
  await expectHealed(t, cluster, 240);
});

for (const loss of ['dies', 'hangs'] as const) {
  t.test(`a lane that ${loss} while a snapshot is loaded costs another attempt`, async (t) => {
    const { cluster, node } = await behindASnapshot(5);
    const open = node.host.open.bind(node.host);
    let openCount = 0;
    node.host.open = (options) => {
      openCount += 1;
      if (openCount > 1) return open(options);
      if (loss === 'hangs') node.host.loseLane(0, loss);
      const opened = open(options);
      if (loss === 'dies') node.host.loseLane(0, loss);
      return opened;
    };
    cluster.network.heal();
    await cluster.scheduler.until(() => openCount > 0 && hasLanes(node), 60_000);
    await upsertBatch(cluster, 6);
    await expectHealed(t, cluster, 280);
    t.ok(node.isRunning, 'it has not stopped');
    t.ok(node.snapshotsInstalled > 0);
    t.equal(openCount, 2);
  });
}

t.test('lanes that are lost at every attempt to load a snapshot stop their node', async (t) => {
  const { cluster, node } = await behindASnapshot(6);
  const open = node.host.open.bind(node.host);
  node.host.open = (options) => {
    const opened = open(options);
    node.host.loseLane(0, 'dies');
    return opened;
  };
  cluster.network.heal();
  await cluster.scheduler.until(() => node.state === 'failed', 120_000);
  t.match(node.failure, { code: 'SHARD_UNAVAILABLE' });
  node.kill();
  await node.start();
  await upsertBatch(cluster, 6);
  await expectHealed(t, cluster, 280);
});
