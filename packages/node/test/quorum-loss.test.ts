/**
 * Goal: what a lost quorum leaves is judged honestly, and going on with one survivor is all or
 * nothing whatever file operation a power cut falls on.
 * Method: survivors' disks of simulated clusters; the plan is pure; a cut at every operation.
 */
import type { NodeId } from '@holdfast/base';
import { nodeId } from '@holdfast/base';
import type { GetResult, Request } from '@holdfast/protocol';
import { createEntryHasher, readIdentity } from '@holdfast/storage';
import type { MemoryFileSystem } from '@holdfast/storage/testing';
import { CrashSignal } from '@holdfast/storage/testing';
import t from 'tap';
import {
  carryOut,
  checkKeptEntries,
  recordOf,
  refuseUnfinished,
  unfinishedRecovery,
} from '../src/quorum-loss/carry-out.ts';
import { planRecovery } from '../src/quorum-loss/plan.ts';
import type { Survivor } from '../src/quorum-loss/survivor.ts';
import { readSurvivor } from '../src/quorum-loss/survivor.ts';
import { SimCluster } from '../src/testing/sim-cluster.ts';

const DATA = '/data';
const POINT_COUNT = 12;
const DEAD = [nodeId('n2'), nodeId('n3')];
const NOBODY: readonly NodeId[] = [];

const upsert = (id: number): Request => ({
  id: 1,
  kind: 'upsert',
  collection: 'docs',
  points: [{ id, vector: new Float32Array([id, 1]) }],
});

async function deadCluster(hasCheckpoint = false): Promise<SimCluster> {
  const cluster = new SimCluster({ nodeCount: 3, seed: 5 });
  await cluster.start();
  const leader = await cluster.leader();
  const create = { id: 1, kind: 'createCollection', name: 'docs', dimension: 2 } as const;
  await cluster.execute(leader, { ...create, metric: 'l2' });
  for (let id = 1; id <= POINT_COUNT; id++) {
    await cluster.execute(leader, upsert(id));
    if (!hasCheckpoint || id !== 6) continue;
    for (const node of cluster.nodes) {
      await cluster.scheduler.resolve(node.node.replica.checkpoint());
    }
  }
  await cluster.digests();
  for (const node of cluster.nodes) node.kill();
  return cluster;
}

const survivorOf = (cluster: SimCluster, position: number): Survivor =>
  readSurvivor(cluster.node(position).fileSystem, DATA);

const recordFor = (cluster: SimCluster) => {
  const survivors = [survivorOf(cluster, 0)];
  const plan = planRecovery({ survivors, dead: DEAD, answering: NOBODY });
  return recordOf(plan, '2026-01-01T00:00:00.000Z');
};

const recover = (fileSystem: MemoryFileSystem, record: ReturnType<typeof recordFor>) =>
  carryOut(fileSystem, DATA, record, {
    hasher: createEntryHasher(),
    wal: { fileSizeBytes: 64 * 1024 },
  });

for (const hasCheckpoint of [false, true]) {
  const what = hasCheckpoint ? 'with a checkpoint' : 'from the first entry on';
  t.test(`one survivor of three goes on alone, ${what}, with everything it held`, async (t) => {
    const cluster = await deadCluster(hasCheckpoint);
    const node = cluster.node(0);
    const record = recordFor(cluster);
    t.ok(checkKeptEntries(node.fileSystem, DATA, record) > 0);
    await recover(node.fileSystem, record);
    await node.start();
    const leader = await cluster.leader();
    t.equal(leader, node);
    t.equal(node.node.service.status().epoch, 2);
    const ids = Array.from({ length: POINT_COUNT }, (_, i) => i + 1);
    const request: Request = { id: 1, kind: 'get', collection: 'docs', ids };
    const { points } = (await cluster.execute(node, request)) as GetResult;
    t.equal(points.filter((point) => point !== null).length, POINT_COUNT);
    await cluster.execute(node, upsert(POINT_COUNT + 1));
    t.same(node.node.replica.raftStatus().conf.voters, ['n1']);
    // And again after a restart: nothing of the old cluster comes back.
    node.kill();
    await node.start();
    await cluster.leader();
    t.same(node.node.replica.raftStatus().conf.voters, ['n1']);
  });
}

t.test('a power cut at every file operation of a recovery leaves it to be run again', async (t) => {
  const cluster = await deadCluster(true);
  const record = recordFor(cluster);
  const original = cluster.node(0).fileSystem;
  const whole = original.clone();
  const before = whole.operationCount;
  await recover(whole, record);
  const operationCount = whole.operationCount - before;
  t.comment(`${operationCount} file operations`);
  const expected = readSurvivor(whole, DATA);
  t.equal(expected.epoch, 2);
  let unfinishedCount = 0;
  for (let operation = 1; operation <= operationCount; operation++) {
    const disk = original.clone();
    disk.crashAtOperation(disk.operationCount + operation);
    try {
      await recover(disk, record);
      t.fail(`operation ${operation} was not reached`);
    } catch (error) {
      if (!(error instanceof CrashSignal)) throw error;
    }
    disk.crash({ seed: operation, keepUnsynced: 'random', tearsSectors: true });
    if (unfinishedRecovery(disk, DATA) !== null) {
      unfinishedCount += 1;
      t.throws(() => refuseUnfinished(disk, DATA), { code: 'RECOVERY_UNFINISHED' });
    } else {
      // Not begun, or done: a node may start on either.
      const { epoch } = readIdentity(disk, DATA);
      const found = readSurvivor(disk, DATA);
      t.equal(found.epoch, epoch);
      t.equal(found.conf.voters.length, epoch === 1 ? 3 : 1, `operation ${operation}`);
    }
    await recover(disk, record);
    t.strictSame({ ...readSurvivor(disk, DATA) }, { ...expected }, `operation ${operation}`);
    t.equal(unfinishedRecovery(disk, DATA), null);
    t.ok(disk.exists(`${DATA}/quarantine/recovery-2/wal`), 'the old log is kept');
  }
  t.ok(unfinishedCount > operationCount / 2);
});

t.test(
  'the survivor with the newest log is kept, and only what it can show is certain',
  async (t) => {
    const cluster = await deadCluster();
    const base = survivorOf(cluster, 0);
    const other = { ...survivorOf(cluster, 1), directory: '/other' };
    const older = { ...base, keptTerm: base.keptTerm, keptIndex: (base.keptIndex - 3) as never };
    const lagging = { ...older, committed: older.keptIndex, lastIndex: older.keptIndex };
    const conf = { ...base.conf, voters: [...base.conf.voters, nodeId('n4'), nodeId('n5')] };
    const members = ['n4', 'n5'].map((id) => ({ ...base.conf.members[0]!, nodeId: nodeId(id) }));
    const five = { ...conf, members: [...conf.members, ...members] };
    const dead = [...DEAD.slice(1), ...members.map(({ nodeId: id }) => id)];
    const plan = planRecovery({
      survivors: [
        { ...lagging, conf: five },
        { ...other, conf: five },
      ],
      dead,
      answering: NOBODY,
    });
    t.equal(plan.keeper.nodeId, 'n2');
    t.equal(plan.keptThrough, other.keptIndex);
    t.same(
      plan.others.map(({ nodeId: id }) => id),
      ['n1'],
    );
    t.equal(plan.damagedThrough, null);
    // A damaged survivor knows of commits that nobody can show any more.
    const damaged = { ...base, keptIndex: (base.keptIndex - 4) as never };
    const alone = planRecovery({ survivors: [damaged], dead: DEAD, answering: NOBODY });
    t.equal(alone.certainThrough, damaged.keptIndex);
    t.equal(alone.damagedThrough, base.lastIndex);
  },
);

t.test('a recovery that is not needed, not complete or not honest is refused', async (t) => {
  const cluster = await deadCluster();
  const [n1, n2] = [survivorOf(cluster, 0), { ...survivorOf(cluster, 1), directory: '/n2' }];
  const refused = (
    survivors: readonly Survivor[],
    dead: readonly string[],
    answering: readonly string[],
    message: RegExp,
  ): void => {
    const request = { survivors, dead: dead.map(nodeId), answering: answering.map(nodeId) };
    t.throws(() => planRecovery(request), { code: 'RECOVERY_REFUSED', message });
  };
  refused([], ['n2'], [], /at least one survivor/);
  refused([n1], ['n2'], [], /n3: neither given as survivor nor declared dead/);
  refused([n1], ['n1', 'n2', 'n3'], [], /n1 is named as survivor and as dead/);
  refused([n1], ['n2', 'n3', 'n9'], [], /n9 is no member/);
  refused([n1], ['n2', 'n3'], ['n3'], /n3 was declared dead and answers/);
  refused([n1, n2], ['n3'], [], /the survivors are a quorum/);
  refused([n1, n1], ['n2', 'n3'], [], /named twice/);
  refused([n1, { ...n2, epoch: 2 }], ['n3'], [], /different epochs/);
  const stranger = { ...n2, clusterId: '0'.repeat(32) as never };
  refused([n1, stranger], ['n3'], [], /another cluster/);
  const five = { ...n1.conf, voters: [...n1.conf.voters] };
  refused([{ ...n1, conf: five }], ['n2', 'n3'], ['n1', 'n2'], /declared dead and answers/);
});
