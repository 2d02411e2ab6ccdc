/**
 * Goal: a member that lost its disk is another life: it never stands in for the old one, comes back
 * by itself as a learner and gets the vote back; and whoever a recovery has given up cannot return.
 * Method: whole nodes on memory disks and virtual time; disks are replaced by empty ones.
 */
import { incarnation, nodeId, SILENT_LOGGER } from '@holdfast/base';
import type { GetResult, Request } from '@holdfast/protocol';
import { createEntryHasher, describeWalFile, InlineWal, readIdentity } from '@holdfast/storage';
import type { MemoryFileSystem } from '@holdfast/storage/testing';
import { CrashSignal } from '@holdfast/storage/testing';
import t from 'tap';
import { carryOut, recordOf } from '../src/quorum-loss/carry-out.ts';
import { planRecovery } from '../src/quorum-loss/plan.ts';
import { readSurvivor } from '../src/quorum-loss/survivor.ts';
import { openLife, resumeNewLife } from '../src/recovery/new-life.ts';
import type { SimNode } from '../src/testing/sim-cluster.ts';
import { SimCluster } from '../src/testing/sim-cluster.ts';
import { ruin } from './support/rot.ts';

const vectorOf = (id: number): Float32Array => new Float32Array([id + 0.625, 12_345.5]);

const upsert = (id: number): Request => ({
  id: 1,
  kind: 'upsert',
  collection: 'docs',
  points: [{ id, vector: vectorOf(id) }],
});

async function runningCluster(nodeCount = 3): Promise<{ cluster: SimCluster; leader: SimNode }> {
  const cluster = new SimCluster({ nodeCount, seed: 9 });
  await cluster.start();
  const leader = await cluster.leader();
  const create = { id: 1, kind: 'createCollection', name: 'docs', dimension: 2 } as const;
  await cluster.execute(leader, { ...create, metric: 'l2' });
  for (let id = 1; id <= 10; id++) await cluster.execute(leader, upsert(id));
  await cluster.digests();
  return { cluster, leader };
}

async function countPoints(cluster: SimCluster, pointCount: number): Promise<number> {
  const ids = Array.from({ length: pointCount }, (_, i) => i + 1);
  const request: Request = { id: 1, kind: 'get', collection: 'docs', ids };
  const { points } = (await cluster.execute(await cluster.leader(), request)) as GetResult;
  return points.filter((point) => point !== null).length;
}

const votersOf = (node: SimNode): readonly string[] => node.node.replica.raftStatus().conf.voters;

t.test('a wiped follower comes back by itself as a new life, and gets its vote back', async (t) => {
  const { cluster, leader } = await runningCluster();
  const wiped = cluster.nodes.find((node) => node !== leader)!;
  const before = wiped.node.service.status().incarnation;
  wiped.kill();
  cluster.wipe(wiped);
  await cluster.execute(await cluster.leader(), upsert(11));
  await wiped.start();
  await cluster.scheduler.until(
    () => wiped.node.service.status().membership === 'voter' && votersOf(leader).length === 3,
    30_000,
  );
  t.not(wiped.node.service.status().incarnation, before);
  const digests = await cluster.digests();
  t.equal(new Set(digests.map(({ digest }) => digest)).size, 1);
  t.equal(await countPoints(cluster, 11), 11);
  // It counts again: with it and without another one, writes go on.
  cluster.nodes.find((node) => node !== leader && node !== wiped)!.kill();
  await cluster.execute(await cluster.leader(), upsert(12));
});

t.test('a wiped leader comes back as well, under the leader that followed it', async (t) => {
  const { cluster, leader } = await runningCluster();
  leader.kill();
  cluster.wipe(leader);
  await leader.start();
  await cluster.scheduler.until(() => leader.node.service.status().membership === 'voter', 30_000);
  t.equal(await countPoints(cluster, 10), 10);
  const digests = await cluster.digests();
  t.equal(new Set(digests.map(({ digest }) => digest)).size, 1);
});

t.test(
  'a new life is taken back by the next leader if the change of the last is lost',
  async (t) => {
    const { cluster, leader } = await runningCluster(5);
    const wiped = cluster.nodes.find((node) => node !== leader)!;
    wiped.kill();
    cluster.wipe(wiped);
    await cluster.scheduler.advance(2_000);
    // What the leader changes now reaches the new life and nobody else.
    for (const { id } of cluster.nodes.filter((node) => node !== leader && node !== wiped)) {
      cluster.network.isolate(id, [leader.id, wiped.id]);
    }
    await wiped.start();
    await cluster.scheduler.until(
      () => wiped.node.service.status().membership === 'learner',
      5_000,
    );
    leader.kill();
    cluster.network.heal();
    await cluster.scheduler.until(() => wiped.node.service.status().membership === 'voter', 30_000);
    const voters = votersOf(await cluster.leader());
    t.ok(voters.includes(wiped.id), 'the others know it as well');
    t.equal(await countPoints(cluster, 10), 10);
  },
);

t.test('a wiped member and a lagging one elect nobody without the one that knows', async (t) => {
  const { cluster, leader } = await runningCluster();
  const [wiped, lagging] = cluster.nodes.filter((node) => node !== leader) as [SimNode, SimNode];
  // Committed by the leader and the one that will be wiped; the third never hears of it.
  cluster.network.isolate(lagging.id, [leader.id, wiped.id]);
  await cluster.execute(leader, upsert(11));
  wiped.kill();
  leader.kill();
  cluster.wipe(wiped);
  cluster.network.heal();
  await wiped.start();
  await cluster.scheduler.advance(60_000);
  t.equal(wiped.node.service.status().membership, 'joining');
  t.not(lagging.node.replica.soft.role, 'leader', 'a vote of the new life would have made it one');
  await leader.start();
  await cluster.scheduler.until(() => wiped.node.service.status().membership === 'voter', 30_000);
  t.equal(await countPoints(cluster, 11), 11);
});

t.test(
  'members that a recovery has given up cannot come back, but their machines can',
  async (t) => {
    const { cluster } = await runningCluster();
    for (const node of cluster.nodes) node.kill();
    const [keeper, second, third] = cluster.nodes as [SimNode, SimNode, SimNode];
    const survivors = [readSurvivor(keeper.fileSystem, '/data')];
    const dead = [nodeId('n2'), nodeId('n3')];
    const plan = planRecovery({ survivors, dead, answering: [] });
    const record = recordOf(plan, '2026-01-01T00:00:00.000Z');
    const wal = { fileSizeBytes: 64 * 1024 };
    await carryOut(keeper.fileSystem, '/data', record, { hasher: createEntryHasher(), wal });
    await keeper.start();
    await cluster.execute(await cluster.leader(), upsert(11));
    // The dead rise: a quorum of the old cluster, of an epoch that is over.
    await second.start();
    await third.start();
    await cluster.scheduler.advance(5_000);
    t.same(votersOf(keeper), ['n1']);
    t.equal(keeper.node.replica.soft.role, 'leader', 'nobody deposes it');
    t.equal(second.node.service.status().epoch, 1);
    for (const node of [second, third]) {
      node.kill();
      cluster.wipe(node);
      await node.start();
      await cluster.scheduler.advance(2_000);
      await cluster.execute(keeper, { id: 1, kind: 'addMember', nodeId: node.id }, 20_000);
    }
    await cluster.scheduler.until(() => votersOf(keeper).length === 3, 30_000);
    t.equal(await countPoints(cluster, 11), 11);
    const digests = await cluster.digests();
    t.equal(new Set(digests.map(({ digest }) => digest)).size, 1);
  },
);

const BATCH_HEADER_SIZE_BYTES = 64;

/**
 * Both copies of term and vote are gone, and so are the newest pairs in the log: in the last two
 * batches and in the last one's confirmation of the one before.
 */
function loseVote(node: SimNode): void {
  for (const name of ['TERM-A', 'TERM-B']) ruin(node, `/data/wal/${name}`);
  const path = '/data/wal/0000000000000001.wal';
  const lines = [...describeWalFile(node.fileSystem, path)];
  const batches = lines.filter(({ kind }) => kind === 'batch').map(({ offset }) => offset);
  const [before = 0, last = 0] = batches.slice(-2);
  const records = lines.filter(({ kind, offset }) => kind === 'record' && offset > before);
  for (const { offset, what } of records) {
    if (what === 'hardState') node.fileSystem.flipBit(path, offset + 72);
  }
  const first = records.find(({ offset }) => offset > last);
  ruin(node, path, last + BATCH_HEADER_SIZE_BYTES, first?.offset);
}

t.test(
  'a node that cannot know its vote begins a new life, and nothing is thrown away',
  async (t) => {
    const { cluster, leader } = await runningCluster();
    const node = cluster.nodes.find((each) => each !== leader)!;
    const before = node.node.service.status().incarnation;
    node.kill();
    loseVote(node);
    await node.start();
    t.not(node.node.service.status().incarnation, before);
    await cluster.scheduler.until(() => node.node.service.status().membership === 'voter', 30_000);
    t.ok(node.fileSystem.exists(`/data/quarantine/life-${before}/wal`));
    t.equal(await countPoints(cluster, 10), 10);
    const digests = await cluster.digests();
    t.equal(new Set(digests.map(({ digest }) => digest)).size, 1);
  },
);

t.test(
  'a power cut at any moment of beginning a new life never brings the old one back',
  async (t) => {
    const { cluster, leader } = await runningCluster();
    const node = cluster.nodes.find((each) => each !== leader)!;
    const before = readIdentity(node.fileSystem, '/data').incarnation;
    node.kill();
    loseVote(node);
    const logOf = (disk: MemoryFileSystem) => () =>
      InlineWal.open({
        fileSystem: disk,
        directory: '/data/wal',
        options: { fileSizeBytes: 65_536 },
      });
    // What every start does.
    const live = async (disk: MemoryFileSystem) => {
      resumeNewLife(disk, '/data');
      return openLife({
        ...{ fileSystem: disk, dataDirectory: '/data', logger: SILENT_LOGGER },
        openWal: logOf(disk),
        identity: readIdentity(disk, '/data'),
        mintIncarnation: () => incarnation('e'.repeat(32)),
      });
    };
    const whole = node.fileSystem.clone();
    const start = whole.operationCount;
    await live(whole);
    const operationCount = whole.operationCount - start;
    let cutCount = 0;
    for (let operation = 1; operation <= operationCount; operation++) {
      const disk = node.fileSystem.clone();
      disk.crashAtOperation(disk.operationCount + operation);
      await live(disk).then(
        () => t.fail('the cut was not reached'),
        (error: unknown) => {
          if (!(error instanceof CrashSignal)) throw error;
        },
      );
      disk.crash({ seed: operation, keepUnsynced: 'random' });
      const { wal, identity } = await live(disk);
      cutCount += 1;
      t.equal(identity.incarnation, 'e'.repeat(32), `operation ${operation}`);
      t.same(identity.firstConfiguration, []);
      t.equal(wal.groupLog(identity.group).lastIndex(), 0, 'it remembers nothing');
      t.ok(disk.exists(`/data/quarantine/life-${before}/wal`));
    }
    t.comment(`${cutCount} file operations`);
  },
);
