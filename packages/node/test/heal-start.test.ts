/**
 * Goal: a node whose files were damaged while it was down starts all the same: it repairs them from
 * its peers, falls back, or joins anew; it never serves damaged bytes and never gives up in a loop.
 * Method: as heal-files.test.ts, with the node down when the damage is done.
 */
import t from 'tap';
import type { SimCluster, SimNode } from '../src/testing/sim-cluster.ts';
import {
  bytesOf,
  checkpointAll,
  clusterWithSegments,
  DATA,
  expectHealed,
  filesOf,
  overwrite,
  truncate,
  upsertBatch,
} from './support/healing.ts';

const SEGMENT = /segment-\d+\.seg$/;

/** The log is cut at every checkpoint. */
const FORGETFUL = { retainedEntryCount: 0, limits: { followerLogHoldSizeBytesMax: 0 } };

/** As an operator or a supervisor would: started again when it stopped by itself. */
async function startUntilUp(cluster: SimCluster, node: SimNode, bootCountMax = 3): Promise<number> {
  for (let boot = 1; boot <= bootCountMax; boot++) {
    const begun = node.begin().catch(() => undefined);
    await cluster.scheduler.until(
      () => node.state === 'running' || node.state === 'failed',
      60_000,
    );
    await begun;
    if (node.state === 'running') return boot;
    node.kill();
  }
  throw new Error(`${node.id} did not come up`);
}

async function grownCluster(seed: number, settings = {}): Promise<SimCluster> {
  const cluster = await clusterWithSegments(3, seed, settings);
  await upsertBatch(cluster, 3);
  await upsertBatch(cluster, 4);
  await cluster.digests();
  await checkpointAll(cluster);
  return cluster;
}

async function follower(cluster: SimCluster): Promise<SimNode> {
  const leader = await cluster.leader();
  return cluster.nodes.find((one) => one !== leader)!;
}

type Damage = (node: SimNode, path: string) => void;

const DAMAGES: Readonly<Record<string, Damage>> = {
  'a flipped bit': (node, path) => {
    const at = Math.floor(node.fileSystem.sizeBytes(`${DATA}/${path}`) / 2);
    node.fileSystem.flipBit(`${DATA}/${path}`, at, 5);
  },
  truncation: (node, path) => {
    truncate(node, path, Math.floor(node.fileSystem.sizeBytes(`${DATA}/${path}`) / 2));
  },
  'a zeroed page': (node, path) => {
    const size = node.fileSystem.sizeBytes(`${DATA}/${path}`);
    overwrite(node, path, new Uint8Array(Math.min(4_096, size)));
  },
  deletion: (node, path) => node.fileSystem.remove(`${DATA}/${path}`),
};

const KINDS: Readonly<Record<string, RegExp>> = {
  segment: SEGMENT,
  'growing file': /\.grow$/,
  manifest: /\.man$/,
  'meta file': /\.meta$/,
  CHECKPOINT: /^CHECKPOINT$/,
  identity: /^identity\.json$/,
  'copy of the identity': /^identity-copy/,
  EPOCH: /^wal\/EPOCH$/,
  'copy of term and vote': /^wal\/TERM-B$/,
};

for (const [kind, pattern] of Object.entries(KINDS)) {
  t.test(`a node starts after damage of every ${kind}`, async (t) => {
    for (const [name, damage] of Object.entries(DAMAGES)) {
      const cluster = await grownCluster(3);
      const node = await follower(cluster);
      node.kill();
      for (const path of filesOf(node, pattern)) damage(node, path);
      await upsertBatch(cluster, 5);
      const bootCount = await startUntilUp(cluster, node);
      t.ok(bootCount <= 2, `${name}: up after ${bootCount} starts`);
      await cluster.scheduler.advance(5_000);
      await expectHealed(t, cluster, 240);
    }
  });
}

t.test(
  'segments that are damaged in different places on all three nodes heal each other',
  async (t) => {
    const cluster = await grownCluster(4);
    const whole = filesOf(cluster.node(0), SEGMENT).map((path) => bytesOf(cluster.node(0), path));
    for (const node of cluster.nodes) node.kill();
    cluster.nodes.forEach((node, i) => {
      for (const path of filesOf(node, SEGMENT)) {
        node.fileSystem.flipBit(`${DATA}/${path}`, 100 + i * 65_544, 1);
      }
    });
    const boots = cluster.nodes.map((node) => node.begin());
    await cluster.scheduler.until(() => cluster.nodes.every(({ isRunning }) => isRunning), 60_000);
    await Promise.all(boots);
    await expectHealed(t, cluster, 200);
    for (const node of cluster.nodes) {
      t.same(
        filesOf(node, SEGMENT).map((path) => bytesOf(node, path)),
        whole,
        node.id,
      );
    }
  },
);

t.test('a block that is damaged everywhere is named, and nobody serves it', async (t) => {
  const cluster = await grownCluster(5);
  for (const node of cluster.nodes) node.kill();
  for (const node of cluster.nodes) {
    node.fileSystem.flipBit(`${DATA}/${filesOf(node, SEGMENT)[0]}`, 200, 1);
  }
  const boots = cluster.nodes.map((node) => node.begin().catch(() => undefined));
  await cluster.scheduler.advance(30_000);
  for (const node of cluster.nodes) {
    t.equal(node.state, 'booting', 'it waits, and does not stop');
    const { failure } = node.recovering ?? {};
    t.match(failure, /SEGMENT_LOST: .*segment-00000001.seg: blocks 0 are damaged in every copy/);
    t.match(failure, /with points 2, 3, .*16; perhaps 1; 15 more that cannot be named/);
  }
  for (const node of cluster.nodes) node.kill();
  await Promise.race([Promise.all(boots), cluster.scheduler.advance(1)]);
});

t.test(
  'a node without a checkpoint keeps its log until the others have gone on without it',
  async (t) => {
    const cluster = await grownCluster(6, FORGETFUL);
    await upsertBatch(cluster, 5);
    await cluster.digests();
    await checkpointAll(cluster);
    const node = await follower(cluster);
    // The log is cut behind the oldest checkpoint, and no peer has a newer entry.
    const leader = await cluster.leader();
    const odd = cluster.nodes.find((one) => one !== leader && one !== node)!;
    for (const one of [node, odd]) {
      one.kill();
      for (const path of filesOf(one, /\.meta$/)) overwrite(one, path, new Uint8Array(64));
    }
    const boots = [node, odd].map((one) => one.begin().catch(() => undefined));
    await cluster.scheduler.advance(30_000);
    for (const one of [node, odd]) {
      t.equal(one.state, 'booting', 'neither gives up what only they two may hold');
      t.match(one.recovering?.recovery, /waiting until the others have gone on/);
      one.kill();
    }
    await Promise.race([Promise.all(boots), cluster.scheduler.advance(1)]);
  },
);

t.test('a node that joined by a snapshot starts although its CHECKPOINT is damaged', async (t) => {
  const cluster = await grownCluster(7, FORGETFUL);
  const node = await follower(cluster);
  node.kill();
  cluster.wipe(node);
  await node.start();
  await cluster.scheduler.advance(5_000);
  const leader = await cluster.leader();
  await cluster.execute(leader, { id: 1, kind: 'addMember', nodeId: node.id }, 20_000);
  await cluster.scheduler.until(() => node.snapshotsInstalled > 0, 20_000);
  await cluster.digests();
  node.kill();
  overwrite(node, 'CHECKPOINT', new Uint8Array(16));
  t.equal(await startUntilUp(cluster, node), 1, 'its first and only checkpoint stands twice');
  await expectHealed(t, cluster, 200);
});

t.test('one silent member does not keep a node waiting for what nobody else has', async (t) => {
  const cluster = await clusterWithSegments(4, 12, {}, {}, 5);
  const leader = await cluster.leader();
  const [node, silent] = cluster.nodes.filter((one) => one !== leader) as [SimNode, SimNode];
  const paths = filesOf(node, SEGMENT);
  node.kill();
  // Dead rows make segments merge; the others forget what they merged.
  for (let batch = 0; batch < 4; batch++) await upsertBatch(cluster, batch);
  for (let round = 0; round < 4; round++) {
    await cluster.digests();
    await checkpointAll(cluster);
    await upsertBatch(cluster, 4 + round);
  }
  silent.kill();
  for (const path of paths) {
    node.fileSystem.remove(`${DATA}/${path}`);
    t.notOk(filesOf(leader, SEGMENT).includes(path));
  }
  await startUntilUp(cluster, node);
  await silent.start();
  await expectHealed(t, cluster, 320);
});

t.test('a node asks the members of its log, where the checkpoint is older', async (t) => {
  const cluster = await grownCluster(8);
  const leader = await cluster.leader();
  const [node, odd] = cluster.nodes.filter((one) => one !== leader) as [SimNode, SimNode];
  odd.kill();
  cluster.wipe(odd);
  await odd.start();
  await cluster.scheduler.advance(5_000);
  await cluster.execute(leader, { id: 1, kind: 'addMember', nodeId: odd.id }, 20_000);
  await upsertBatch(cluster, 5);
  await cluster.digests();
  node.kill();
  for (const path of filesOf(node, SEGMENT)) node.fileSystem.flipBit(`${DATA}/${path}`, 500);
  leader.kill();
  t.equal(await startUntilUp(cluster, node), 1, 'the new life of the third member helps');
  await leader.start();
  await expectHealed(t, cluster, 240);
});
