/**
 * Goal: a snapshot reaches its peer whatever breaks on the way, what arrived is not sent again,
 * and it keeps its pace. Method: whole nodes on virtual time, a slow transfer, and cuts at each
 * part of it.
 */
import type { Incarnation, NodeId } from '@holdfast/base';
import { DEFAULT_GROUP_ID, groupId, must, nodeId, term } from '@holdfast/base';
import type { Request } from '@holdfast/protocol';
import t, { type Test } from 'tap';
import { RESUME_HOLD_MS } from '../src/replica/snapshot-exchange.ts';
import type { SnapshotMessage } from '../src/replica/snapshot-header.ts';
import { encodeSnapshotHeader } from '../src/replica/snapshot-header.ts';
import { outgoingSnapshot } from '../src/replica/snapshot-source.ts';
import { TransferBudget } from '../src/replica/transfer-budget.ts';
import type { SimNode } from '../src/testing/sim-cluster.ts';
import { SimCluster } from '../src/testing/sim-cluster.ts';
import { DATA_DIRECTORY } from '../src/testing/sim-node.ts';
import { SimScheduler } from '../src/testing/sim-scheduler.ts';

const COLLECTION = 'docs';
const DIMENSION = 256;
const KIB = 1024;
const CHUNK_SIZE_BYTES = 16 * KIB;

const create: Request = {
  id: 1,
  kind: 'createCollection',
  name: COLLECTION,
  dimension: DIMENSION,
  metric: 'l2',
  shardCount: 2,
};
const upsert = (ids: readonly number[], value: number): Request => ({
  id: 1,
  kind: 'upsert',
  collection: COLLECTION,
  points: ids.map((id) => ({ id, vector: new Float32Array(DIMENSION).fill(value + id) })),
});
const range = (from: number, count: number): readonly number[] =>
  Array.from({ length: count }, (_, i) => from + i);

interface Behind {
  readonly cluster: SimCluster;
  readonly leader: SimNode;
  readonly behind: readonly SimNode[];
  readonly other: SimNode;
}

/** Followers that are down and can only come back by a snapshot of about 300 KiB. */
async function behindTheLog(
  seed: number,
  { bytesPerSecMax = 64 * KIB, behindCount = 1, nodeCount = 3, limits = {} } = {},
): Promise<Behind> {
  const cluster = new SimCluster({
    nodeCount,
    seed,
    settings: {
      retainedEntryCount: 0,
      limits: { snapshotTransferBytesPerSecMax: bytesPerSecMax, ...limits },
    },
  });
  cluster.network.chunkSizeBytes = CHUNK_SIZE_BYTES;
  await cluster.start();
  const leader = await cluster.leader();
  await cluster.execute(leader, create);
  await cluster.digests();
  const followers = cluster.nodes.filter((node) => node !== leader);
  const behind = followers.slice(0, behindCount);
  for (const node of behind) node.kill();
  // A follower that was heard a moment ago holds the log.
  await cluster.scheduler.advance(2_000);
  for (let i = 0; i < 6; i++) await cluster.execute(leader, upsert(range(i * 50, 50), i));
  for (let i = 0; i < 3; i++) {
    await cluster.execute(leader, upsert([i], 100 + i));
    await cluster.scheduler.resolve(leader.node.replica.checkpoint());
  }
  return { cluster, leader, behind, other: must(followers.at(-1)) };
}

const outgoing = (node: SimNode) => node.node.replica.snapshots.status().outgoing[0];
const bytesSent = (cluster: SimCluster): number => cluster.network.snapshotBytesDelivered;

async function expectEqual(t: Test, { cluster }: Behind): Promise<void> {
  const digests = await cluster.digests(60_000);
  t.equal(digests.length, cluster.nodes.length);
  t.equal(new Set(digests.map(({ digest }) => digest)).size, 1, 'all digests are equal');
}

t.test('a transfer takes as long as its rate says, and nobody loses the leader', async (t) => {
  const scene = await behindTheLog(1);
  const { cluster, leader, behind } = scene;
  const { term } = leader.node.replica.soft;
  const startMs = cluster.scheduler.clock.monotonicMs();
  for (const node of behind) await node.start();
  await cluster.scheduler.until(() => behind[0]?.snapshotsInstalled === 1, 60_000);
  const durationMs = cluster.scheduler.clock.monotonicMs() - startMs;
  const atRateMs = (1_000 * (bytesSent(cluster) - CHUNK_SIZE_BYTES)) / (64 * KIB);
  t.ok(bytesSent(cluster) > 300 * KIB);
  t.ok(durationMs >= atRateMs, `${durationMs} ms, at the rate ${atRateMs} ms`);
  t.ok(durationMs < atRateMs + 2_000);
  await expectEqual(t, scene);
  t.equal(leader.node.replica.soft.term, term, 'no election while it lasted');
});

t.test('two receivers share the rate', async (t) => {
  const scene = await behindTheLog(2, { nodeCount: 5, behindCount: 2 });
  const { cluster, behind } = scene;
  const startMs = cluster.scheduler.clock.monotonicMs();
  for (const node of behind) await node.start();
  await cluster.scheduler.until(() => behind.every((one) => one.snapshotsInstalled === 1), 90_000);
  const durationMs = cluster.scheduler.clock.monotonicMs() - startMs;
  const sentBytes = bytesSent(cluster);
  t.ok(sentBytes > 600 * KIB);
  t.ok(durationMs >= (1_000 * (sentBytes - CHUNK_SIZE_BYTES)) / (64 * KIB));
  await expectEqual(t, scene);
});

t.test('a budget grants at most its rate and one piece, in the order of asking', async (t) => {
  const scheduler = new SimScheduler();
  const budget = new TransferBudget(scheduler.clock, scheduler.clock, 1_000);
  const granted: [number, number][] = [];
  for (let i = 0; i < 5; i++) {
    void budget.take(500).then(() => granted.push([i, scheduler.clock.monotonicMs()]));
  }
  await scheduler.advance(10_000);
  t.strictSame(granted, [
    [0, 0],
    [1, 500],
    [2, 1_000],
    [3, 1_500],
    [4, 2_000],
  ]);
  void budget.take(500).then(() => granted.push([5, scheduler.clock.monotonicMs()]));
  await scheduler.settle();
  t.equal(granted.length, 6, 'time in which nothing was asked for saves up one piece, not more');
  void budget.take(1).then(() => granted.push([6, scheduler.clock.monotonicMs()]));
  await scheduler.settle();
  t.equal(granted.length, 6);
});

for (const end of ['kill', 'powerCut'] as const) {
  t.test(`after a ${end} of the receiver at each part only the rest is sent`, async (t) => {
    for (let cutAt = 1; cutAt <= 19; cutAt += 3) {
      const scene = await behindTheLog(10 + cutAt);
      const { cluster, leader } = scene;
      const node = must(scene.behind[0]);
      await node.start();
      const cutBytes = cutAt * CHUNK_SIZE_BYTES;
      await cluster.scheduler.until(() => bytesSent(cluster) >= cutBytes, 60_000);
      const { sizeBytes = 0, snapshotId } = must(outgoing(leader));
      if (end === 'kill') node.kill();
      else node.cutPower({ seed: cutAt, keepUnsynced: 'random' });
      await cluster.scheduler.advance(3_000);
      await node.start();
      await cluster.scheduler.until(() => outgoing(leader) !== undefined, 20_000);
      t.equal(outgoing(leader)?.snapshotId, snapshotId, 'the same checkpoint is offered');
      await expectEqual(t, scene);
      t.equal(node.snapshotsInstalled, 1);
      const extraBytes = bytesSent(cluster) - sizeBytes;
      // A whole block may be under way; of what was not synced a power cut takes what it wants.
      const extraBytesMax = end === 'kill' ? 64 * KIB + 3 * CHUNK_SIZE_BYTES : cutBytes + 64 * KIB;
      t.ok(extraBytes <= extraBytesMax, `cut at ${cutBytes}: ${extraBytes} bytes sent twice`);
    }
  });
}

t.test('a broken link is gone on with, whatever the moment', async (t) => {
  const scene = await behindTheLog(50);
  const { cluster, leader } = scene;
  const node = must(scene.behind[0]);
  await node.start();
  let sizeBytes = 0;
  for (let cutAt = 3; cutAt < 18; cutAt += 5) {
    await cluster.scheduler.until(() => bytesSent(cluster) >= cutAt * CHUNK_SIZE_BYTES, 60_000);
    sizeBytes = outgoing(leader)?.sizeBytes ?? sizeBytes;
    cluster.network.cut(leader.id, node.id);
    await cluster.scheduler.advance(400);
    cluster.network.heal();
  }
  await expectEqual(t, scene);
  t.equal(node.snapshotsInstalled, 1);
  const extraBytes = bytesSent(cluster) - sizeBytes;
  t.ok(extraBytes <= 3 * 5 * CHUNK_SIZE_BYTES, `${extraBytes} bytes were sent twice`);
});

t.test('a sender that dies and comes back goes on where it was', async (t) => {
  const scene = await behindTheLog(60);
  const { cluster, leader, other } = scene;
  const node = must(scene.behind[0]);
  await node.start();
  await cluster.scheduler.until(() => bytesSent(cluster) >= 12 * CHUNK_SIZE_BYTES, 60_000);
  const { sizeBytes, snapshotId } = must(outgoing(leader));
  cluster.network.isolate(other.id, [leader.id, node.id]);
  leader.kill();
  await leader.start();
  await cluster.scheduler.until(() => outgoing(leader) !== undefined, 60_000);
  t.equal(outgoing(leader)?.snapshotId, snapshotId);
  cluster.network.heal();
  await expectEqual(t, scene);
  const extraBytes = bytesSent(cluster) - sizeBytes;
  t.ok(extraBytes <= 64 * KIB + CHUNK_SIZE_BYTES, `${extraBytes} bytes were sent twice`);
});

t.test('newer checkpoints do not replace the one whose transfer broke off', async (t) => {
  const scene = await behindTheLog(55);
  const { cluster, leader } = scene;
  const node = must(scene.behind[0]);
  await node.start();
  await cluster.scheduler.until(() => bytesSent(cluster) >= 10 * CHUNK_SIZE_BYTES, 60_000);
  const { snapshotId, sizeBytes } = must(outgoing(leader));
  node.kill();
  for (let i = 0; i < 3; i++) {
    await cluster.execute(leader, upsert([i], 200 + i));
    await cluster.scheduler.resolve(leader.node.replica.checkpoint());
  }
  await node.start();
  await cluster.scheduler.until(() => outgoing(leader) !== undefined, 20_000);
  t.equal(outgoing(leader)?.snapshotId, snapshotId);
  await expectEqual(t, scene);
  t.ok(bytesSent(cluster) < sizeBytes + 5 * CHUNK_SIZE_BYTES, 'only the rest was sent');
});

t.test('a peer that stays away lets the offer and the log go', async (t) => {
  const scene = await behindTheLog(56);
  const { cluster, leader } = scene;
  const node = must(scene.behind[0]);
  await node.start();
  await cluster.scheduler.until(() => bytesSent(cluster) >= 10 * CHUNK_SIZE_BYTES, 60_000);
  const { index } = must(outgoing(leader));
  node.kill();
  await cluster.scheduler.advance(RESUME_HOLD_MS + 2_000);
  t.equal(leader.node.replica.snapshots.status().pinnedIndex, null);
  for (let i = 0; i < 2; i++) {
    await cluster.execute(leader, upsert([i], 200 + i));
    await cluster.scheduler.resolve(leader.node.replica.checkpoint());
  }
  t.ok(leader.node.replica.raftStatus().firstIndex > index);
  await node.start();
  await expectEqual(t, scene);
});

/** Writes and checkpoints without a pause: the log grows faster than the transfer. */
async function writeUntil(scene: Behind, isDone: () => boolean): Promise<number> {
  const { cluster, leader } = scene;
  let writtenBytes = 0;
  for (let round = 0; !isDone() && round < 2_000; round++) {
    await cluster.execute(leader, upsert(range(1_000 + (round % 10) * 10, 10), round));
    writtenBytes += 10 * DIMENSION * 4;
    await cluster.scheduler.advance(100);
    if (round % 5 === 4) await cluster.scheduler.resolve(leader.node.replica.checkpoint());
  }
  return writtenBytes;
}

t.test('a transfer slower than the writes brings its peer up, and for good', async (t) => {
  const scene = await behindTheLog(70);
  const { cluster, leader } = scene;
  const node = must(scene.behind[0]);
  await node.start();
  await cluster.scheduler.until(() => outgoing(leader) !== undefined, 20_000);
  const { sizeBytes, index } = must(outgoing(leader));
  const startMs = cluster.scheduler.clock.monotonicMs();
  const isCaughtUp = (): boolean =>
    node.snapshotsInstalled === 1 && node.node.replica.applier.appliedIndex > index + 20;
  const writtenBytes = await writeUntil(scene, isCaughtUp);
  const writeRate = (1_000 * writtenBytes) / (cluster.scheduler.clock.monotonicMs() - startMs);
  t.ok(writeRate > 64 * KIB, `${Math.round(writeRate)} bytes/s were written meanwhile`);
  t.ok(writtenBytes > sizeBytes, 'more than the snapshot holds');
  await expectEqual(t, scene);
  t.equal(node.snapshotsInstalled, 1, 'the log was kept: one snapshot was enough');
  t.equal(bytesSent(cluster), sizeBytes);
  await cluster.scheduler.advance(10_000);
  await writeUntil(scene, () => leader.node.replica.snapshots.status().pinnedIndex === null);
  await writeUntil(scene, () => leader.node.replica.raftStatus().firstIndex > index);
  t.ok(leader.node.replica.raftStatus().firstIndex > index, 'then the log is cut again');
});

t.test('a transfer that holds too much log is given up, and starts anew', async (t) => {
  const scene = await behindTheLog(71, { limits: { snapshotLogHoldSizeBytesMax: 100 * KIB } });
  const { cluster, leader } = scene;
  const node = must(scene.behind[0]);
  await node.start();
  await cluster.scheduler.until(() => outgoing(leader) !== undefined, 20_000);
  const { snapshotId, index } = must(outgoing(leader));
  const { replica } = leader.node;
  await writeUntil(scene, () => replica.snapshots.status().counters.givenUp === 1);
  t.match(replica.snapshots.status().counters, { givenUp: 1, completed: 0 });
  await cluster.scheduler.resolve(replica.checkpoint());
  t.ok(replica.raftStatus().firstIndex > index, 'the log is free again');
  await cluster.scheduler.until(() => node.snapshotsInstalled === 1, 60_000);
  await expectEqual(t, scene);
  t.not(node.node.replica.checkpointer.root?.meta.id, snapshotId, 'a newer one brought it up');
});

t.test('a snapshot that the core would refuse is not even begun', async (t) => {
  const cluster = new SimCluster({ nodeCount: 3, seed: 80 });
  await cluster.start();
  const leader = await cluster.leader();
  await cluster.execute(leader, create);
  await cluster.digests();
  const { meta, metaFile, shards } = await cluster.scheduler.resolve(
    leader.node.replica.checkpoint(),
  );
  const [node] = cluster.nodes.filter((one) => one !== leader);
  const { replica } = must(node).node;
  const members = replica.membership.conf.members;
  const incarnationOf = (id: NodeId): Incarnation =>
    must(members.find(({ nodeId }) => nodeId === id)).incarnation;
  const good: SnapshotMessage = {
    ...{ kind: 'snapshot', meta, group: DEFAULT_GROUP_ID, from: leader.id, to: must(node).id },
    fromIncarnation: incarnationOf(leader.id),
    toIncarnation: incarnationOf(must(node).id),
    term: replica.soft.term,
    confIndex: meta.confIndex,
  };
  const begin = (message: SnapshotMessage, group = DEFAULT_GROUP_ID) =>
    replica.snapshots.installer.begin({
      ...{ group, from: leader.id, files: [] },
      meta: encodeSnapshotHeader({ metaFile, shards, message }),
    });
  const bad: Readonly<Record<string, Promise<unknown>>> = {
    'an old term': begin({ ...good, term: term(0) }),
    'another receiver': begin({ ...good, to: nodeId('n9') }),
    'an earlier life of this node': begin({ ...good, toIncarnation: good.fromIncarnation }),
    'another group': begin({ ...good, group: groupId(7) }, groupId(7)),
    'a frame of another group': begin(good, groupId(7)),
  };
  for (const [name, outcome] of Object.entries(bad)) {
    await t.rejects(outcome, { code: 'PEER_PROTOCOL' }, name);
    t.equal(replica.snapshots.status().incoming, null, name);
  }
  for (const bytes of ['', '{', 'null', '{"metaFile":1}', JSON.stringify({ metaFile, shards })]) {
    const outcome = replica.snapshots.installer.begin({
      ...{ group: DEFAULT_GROUP_ID, from: leader.id, files: [] },
      meta: new TextEncoder().encode(bytes),
    });
    await t.rejects(outcome, { code: 'PEER_PROTOCOL' }, bytes);
  }
  const sink = await cluster.scheduler.resolve(Promise.resolve(begin(good)));
  await t.rejects(begin(good), { code: 'OVERLOADED' }, 'one at a time');
  await sink.abort('the test is over');
});

t.test('a snapshot behind the own checkpoint is never put in its place', async (t) => {
  const cluster = new SimCluster({ nodeCount: 3, seed: 81, settings: { retainedEntryCount: 0 } });
  await cluster.start();
  const leader = await cluster.leader();
  await cluster.execute(leader, create);
  await cluster.digests();
  const root = await cluster.scheduler.resolve(leader.node.replica.checkpoint());
  const node = must(cluster.nodes.find((one) => one !== leader));
  const { membership, soft, snapshots, checkpointer } = node.node.replica;
  const incarnationOf = (id: NodeId): Incarnation =>
    must(membership.conf.members.find(({ nodeId }) => nodeId === id)).incarnation;
  const source = outgoingSnapshot(
    {
      ...{ fileSystem: leader.fileSystem, dataDirectory: DATA_DIRECTORY },
      budget: new TransferBudget(cluster.scheduler.clock, cluster.scheduler.clock, 64 * KIB * KIB),
      endReason: () => null,
      onProgress: () => undefined,
    },
    root,
    {
      ...{ kind: 'snapshot', meta: root.meta, group: DEFAULT_GROUP_ID },
      ...{ from: leader.id, fromIncarnation: incarnationOf(leader.id) },
      ...{ to: node.id, toIncarnation: incarnationOf(node.id) },
      ...{ term: soft.term, confIndex: root.meta.confIndex },
    },
  );
  const { group, meta, files } = source;
  const sink = await cluster.scheduler.resolve(
    snapshots.installer.begin({ group, from: leader.id, meta, files }),
  );
  for (const [index, file] of files.entries()) {
    const held = sink.heldSizesBytes?.[index] ?? 0;
    const bytes = await cluster.scheduler.resolve(
      Promise.resolve(file.read(held, file.sizeBytes - held)),
    );
    if (bytes.length > 0) {
      await cluster.scheduler.resolve(Promise.resolve(sink.write(index, held, bytes)));
    }
  }
  source.release?.();
  // While its last bytes travel, the entries themselves arrive, and a checkpoint drops them.
  await cluster.execute(leader, upsert(range(0, 50), 1));
  await cluster.digests();
  const own = await cluster.scheduler.resolve(node.node.replica.checkpoint());
  await cluster.scheduler.resolve(Promise.resolve(sink.finish()));
  t.ok(own.meta.index > root.meta.index);
  t.equal(checkpointer.root?.meta.id, own.meta.id, 'the newer one stays');
  node.kill();
  await node.start();
  await expectEqual(t, { cluster, leader, behind: [], other: node });
});
