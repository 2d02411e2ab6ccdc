/**
 * Goal: a checkpoint that fails costs nothing but the checkpoint. Method: every file operation of a
 * checkpoint is made to fail in every way a disk fails, on a whole node on virtual time; then the
 * node must serve, try again by itself, and start from what is on its disk.
 */
import { HoldfastError, must } from '@holdfast/base';
import type { GetResult, Request } from '@holdfast/protocol';
import type { FileOperation } from '@holdfast/storage/testing';
import t from 'tap';
import { checkpointRetryDelayMs, isFatalForNode } from '../src/replica/checkpoint-failure.ts';
import { CheckpointSchedule } from '../src/replica/checkpoint-schedule.ts';
import { MetaMachine } from '../src/state/meta-machine.ts';
import { succeeded } from '../src/state/meta-step.ts';
import { SESSION_WINDOW_MAX } from '../src/state/sessions.ts';
import { SimCluster, type SimNode } from '../src/testing/sim-cluster.ts';

const COLLECTION = 'docs';
const create: Extract<Request, { kind: 'createCollection' }> = {
  ...{ id: 1, kind: 'createCollection', name: COLLECTION, dimension: 2, metric: 'l2' },
  shardCount: 2,
};
const upsert = (value: number): Request => ({
  ...{ id: 1, kind: 'upsert', collection: COLLECTION },
  points: [{ id: value, vector: new Float32Array([value, 1]) }],
});

async function oneNode(seed: number): Promise<{ cluster: SimCluster; node: SimNode }> {
  const cluster = new SimCluster({ nodeCount: 1, seed, settings: { retainedEntryCount: 0 } });
  await cluster.start();
  const node = await cluster.leader();
  await cluster.execute(node, create);
  for (let i = 0; i < 5; i++) await cluster.execute(node, upsert(i));
  await cluster.scheduler.resolve(node.node.replica.checkpoint());
  for (let i = 5; i < 10; i++) await cluster.execute(node, upsert(i));
  return { cluster, node };
}

async function isComplete(cluster: SimCluster, node: SimNode, count: number): Promise<boolean> {
  const ids = Array.from({ length: count }, (_, i) => i);
  const request: Request = { id: 1, kind: 'get', collection: COLLECTION, ids };
  const { points } = (await cluster.execute(node, request)) as GetResult;
  return points.length === count;
}

/** Files of checkpoints on the disk, of every kind. */
function fileCount({ fileSystem }: SimNode): number {
  const count = (path: string): number =>
    fileSystem.isDirectory(path)
      ? fileSystem.list(path).reduce((sum, name) => sum + count(`${path}/${name}`), 0)
      : 1;
  return count('/data/meta') + count('/data/collections');
}

const CHECKPOINT_PATHS = ['/data/meta', '/data/collections', '/data/CHECKPOINT'] as const;
const SURVIVED: readonly (readonly [FileOperation, 'EIO' | 'ENOSPC'])[] = [
  ['open', 'ENOSPC'],
  ['write', 'ENOSPC'],
  ['write', 'EIO'],
  ['sync', 'EIO'],
  ['sync', 'ENOSPC'],
  ['rename', 'ENOSPC'],
];

for (const [operation, fault] of SURVIVED) {
  t.test(`${fault} at any ${operation} of a checkpoint fails it, not the node`, async (t) => {
    for (const pathContains of CHECKPOINT_PATHS) {
      const { cluster, node } = await oneNode(1);
      const { replica } = node.node;
      const before = replica.checkpointer.root;
      const filesBefore = fileCount(node);
      node.fileSystem.faults.add({ operation, pathContains, fault, times: 1_000 });
      for (let attempt = 1; attempt <= 3; attempt++) {
        const outcome = cluster.scheduler.resolve(replica.checkpoint());
        await t.rejects(outcome, { code: 'FILE_IO' }, `${pathContains}, attempt ${attempt}`);
        t.equal(replica.checkpoints.failuresInRow, attempt);
      }
      t.equal(node.failure, null);
      t.equal(replica.checkpointer.root, before, 'the checkpoint before stays');
      t.ok(fileCount(node) <= filesBefore, 'and nothing of the failed ones does');
      await cluster.execute(node, upsert(10));
      node.cutPower({ seed: 1, keepUnsynced: 'none' });
      await node.start();
      await cluster.leader();
      t.ok(await isComplete(cluster, node, 11), 'nothing is lost');
    }
  });
}

t.test('a collection whose first checkpoint failed is in the next one', async (t) => {
  const { cluster, node } = await oneNode(5);
  const { replica } = node.node;
  for (const shard of [0, 1]) {
    const name = `new-${shard}`;
    await cluster.execute(node, { ...create, name });
    const { uid } = must(replica.applier.meta.catalogue.all().find((one) => one.name === name));
    const directory = `/data/collections/${uid}/${shard}`;
    const lift = node.fileSystem.faults.add({
      ...{ operation: 'write', pathContains: directory, fault: 'ENOSPC', times: 1_000 },
    });
    await t.rejects(cluster.scheduler.resolve(replica.checkpoint()), { code: 'FILE_IO' });
    t.notOk(node.fileSystem.exists(directory), 'what the failed one left is gone');
    lift();
    const { shards } = await cluster.scheduler.resolve(replica.checkpoint());
    t.equal(shards.length, 4 + 2 * shard, 'and its folder is there again');
  }
});

t.test('a failed checkpoint ends only when the slowest lane has', async (t) => {
  const cluster = new SimCluster({
    ...{ nodeCount: 1, seed: 4, latency: { laneMsMax: 40 }, settings: { retainedEntryCount: 0 } },
  });
  await cluster.start();
  const node = await cluster.leader();
  await cluster.execute(node, create);
  await cluster.execute(node, upsert(1));
  await cluster.scheduler.resolve(node.node.replica.checkpoint());
  const filesBefore = fileCount(node);
  await cluster.execute(node, upsert(2));
  node.fileSystem.faults.add({
    ...{ operation: 'open', pathContains: '/data/meta', fault: 'ENOSPC', times: 1_000 },
  });
  await t.rejects(cluster.scheduler.resolve(node.node.replica.checkpoint()), { code: 'FILE_IO' });
  await cluster.scheduler.advance(200);
  t.ok(fileCount(node) <= filesBefore, 'so nothing of it is written behind the clearing up');
});

t.test('after a failure it is held back, also while the log grows', async (t) => {
  const schedule = new CheckpointSchedule({ intervalMs: 60_000, logSizeBytes: 100 }, 0, 0);
  schedule.started(0, 0);
  const lane = { refusal: null, freeSizeBytes: 0 };
  t.equal(schedule.failed(0, lane), 1_000);
  t.equal(schedule.isDue(999, 1_000_000), false);
  t.equal(schedule.isDue(1_000, 0), true);
  schedule.started(1_000, 0);
  t.equal(schedule.failed(1_000, lane), 2_000);
  schedule.started(3_000, 0);
  schedule.succeeded();
  t.equal(schedule.failuresInRow, 0);
  t.equal(schedule.isDue(3_500, 0), false, 'then the interval counts again');
});

t.test('a failed sync of a directory of a checkpoint stops the node', async (t) => {
  const { cluster, node } = await oneNode(2);
  node.fileSystem.faults.add({
    ...{ operation: 'syncDirectory', pathContains: '/data/meta', fault: 'EIO' },
  });
  await t.rejects(cluster.scheduler.resolve(node.node.replica.checkpoint()));
  t.match(node.failure, { code: 'FILE_IO' });
});

t.test('room on a full disk ends the waiting at once, but nothing less does', async (t) => {
  const { cluster, node } = await oneNode(5);
  const { replica } = node.node;
  const { fileSystem } = node;
  fileSystem.capacityBytes = fileSystem.usedBytes() + 8 * 1024 * 1024;
  fileSystem.faults.add({
    ...{ operation: 'write', pathContains: '/data/meta', fault: 'ENOSPC', times: 1 },
  });
  await t.rejects(cluster.scheduler.resolve(replica.checkpoint()), { code: 'FILE_IO' });
  t.match(replica.checkpoints.writes, { state: 'open', errors: { disk_full: 1 }, opened: 1 });
  await cluster.scheduler.advance(30_000);
  t.equal(replica.checkpoints.failuresInRow, 1, 'once is enough: nothing is written in vain');
  t.match(node.node.care.recoveries.stats(), { overdue: 1 }, 'a P0 for longer than 30 s');
  fileSystem.capacityBytes += 2 * 1024 * 1024;
  await cluster.scheduler.advance(2_000);
  t.equal(replica.checkpoints.failuresInRow, 0);
  t.equal(replica.checkpoints.writes.state, 'closed');
  t.match(
    node.node.care.recoveries.events().map(({ key, kind }) => `${key} ${kind}`),
    ['checkpoint found', 'checkpoint started', 'checkpoint overdue', 'checkpoint recovered'],
  );
});

t.test(
  'a lane that is opened anew fails the checkpoint it was writing, not the node',
  async (t) => {
    const { cluster, node } = await oneNode(6);
    const { replica } = node.node;
    const { host } = node;
    const checkpoint = host.checkpoint.bind(host);
    let isFirst = true;
    host.checkpoint = (index, id) => {
      if (!isFirst) return checkpoint(index, id);
      isFirst = false;
      return Promise.reject(new HoldfastError('SHUTTING_DOWN', 'the lane was closed'));
    };
    await t.rejects(cluster.scheduler.resolve(replica.checkpoint()), { code: 'SHUTTING_DOWN' });
    t.equal(node.failure, null);
    t.equal(replica.checkpoints.writes.state, 'closed', 'the disk refused nothing');
    await cluster.scheduler.advance(1_500);
    t.equal(replica.checkpoints.failuresInRow, 0, 'the next one does it');
    t.ok(must(replica.checkpointer.root).meta.index >= 10);
  },
);

t.test('a failed checkpoint is tried again by itself, with back-off, until it works', async (t) => {
  const cluster = new SimCluster({
    ...{ nodeCount: 1, seed: 3, settings: { checkpointIntervalMs: 1_000 } },
  });
  await cluster.start();
  const node = await cluster.leader();
  await cluster.execute(node, create);
  const { replica } = node.node;
  const root = must(await cluster.scheduler.resolve(replica.checkpoint()));
  await cluster.execute(node, upsert(1));
  node.fileSystem.faults.add({
    ...{ operation: 'write', pathContains: '/data/meta', fault: 'EIO', times: 4 },
  });
  await cluster.scheduler.advance(12_000);
  t.equal(replica.checkpoints.failuresInRow, 3, 'at about 1, 2 and 4 seconds');
  t.equal(replica.checkpoints.writes.state, 'open');
  await cluster.scheduler.advance(60_000);
  t.equal(replica.checkpoints.failuresInRow, 4, 'a probe after a minute');
  await cluster.scheduler.advance(60_000);
  t.equal(replica.checkpoints.failuresInRow, 0);
  t.ok(must(replica.checkpointer.root).meta.index > root.meta.index);
  t.equal(node.failure, null);
});

t.test('what a failed checkpoint means is decided by its code', async (t) => {
  const error = (code: 'FILE_IO' | 'WAL_IO' | 'SEGMENT_CORRUPT' | 'OVERLOADED', details = {}) =>
    new HoldfastError(code, 'x', { details });
  t.equal(isFatalForNode(error('FILE_IO', { operation: 'write' })), false);
  t.equal(isFatalForNode(error('FILE_IO', { operation: 'sync' })), false);
  t.equal(isFatalForNode(error('OVERLOADED')), false);
  t.equal(isFatalForNode(error('FILE_IO', { operation: 'syncDirectory' })), true);
  t.equal(isFatalForNode(error('WAL_IO')), true);
  t.equal(isFatalForNode(error('SEGMENT_CORRUPT')), true);
  t.equal(isFatalForNode(new TypeError('a bug')), true);
  t.strictSame([1, 2, 3, 7, 50].map(checkpointRetryDelayMs), [1_000, 2_000, 4_000, 60_000, 60_000]);
});

t.test('the meta state is written in pieces, whatever its sessions hold', async (t) => {
  const machine = MetaMachine.empty();
  const sessionCount = 20;
  for (let id = 1; id <= sessionCount; id++) {
    machine.sessions.restore({ id, lastActiveMs: 5, ackedThrough: 0 });
    for (let sequence = 1; sequence <= SESSION_WINDOW_MAX; sequence++) {
      const at = { index: sequence as never, term: 1 as never };
      const result = succeeded(at, { kind: 'written', deletedCount: 3 });
      machine.sessions.restoreResult(id as never, { sequence, bodyHash: BigInt(id), result });
    }
  }
  const sizes = [...machine.pieces()].map((piece) => piece.byteLength);
  t.ok(sizes.length > 10);
  t.ok(Math.max(...sizes) < 65 * 1024, `largest piece: ${Math.max(...sizes)} bytes`);
  const rowBytes = sizes.reduce((sum, size) => sum + size, 0) / (sessionCount * SESSION_WINDOW_MAX);
  t.ok(rowBytes < 40, `${rowBytes} bytes per result`);
});
