/**
 * Goal: every kind of damage to every kind of file of a running node is found by a scrub, repaired
 * without a person and without a wrong answer.
 * Method: whole nodes on memory disks and virtual time; bytes are changed behind the node's back.
 */
import type { RowsInBlocks } from '@holdfast/shard-worker';
import { fsckDataDirectory } from '@holdfast/storage';
import t, { type Test } from 'tap';
import type { SimCluster, SimNode } from '../src/testing/sim-cluster.ts';
import {
  bytesOf,
  checkpointAll,
  clusterWithSegments,
  DATA,
  expectHealed,
  filesOf,
  overwrite,
  scrub,
  truncate,
  upsertBatch,
} from './support/healing.ts';

const SEGMENT = /segment-\d+\.seg$/;
const BLOCK_SIZE_BYTES = 65_536;

function expectEqualSegments(t: Test, cluster: SimCluster): void {
  const [first, ...others] = cluster.nodes;
  const paths = filesOf(first!, SEGMENT);
  t.not(paths.length, 0);
  for (const node of others) {
    t.same(filesOf(node, SEGMENT), paths);
    for (const path of paths) {
      t.equal(Buffer.compare(bytesOf(node, path), bytesOf(first!, path)), 0, `${node.id} ${path}`);
    }
  }
}

const damageOf = (node: SimNode) =>
  fsckDataDirectory(node.fileSystem, DATA).filter(({ severity }) => severity === 'damage');

t.test('a flipped bit of a segment is found and one block comes from a replica', async (t) => {
  const cluster = await clusterWithSegments(6, 1);
  const node = cluster.node(1);
  const [path] = filesOf(node, SEGMENT);
  node.fileSystem.flipBit(`${DATA}/${path}`, 70_000, 3);
  const events = await scrub(cluster, node);
  const found = events.filter(({ kind }) => kind === 'found');
  t.match(found, [{ key: path, facts: { what: new RegExp(`${path}.*offset 65608`) } }]);
  const facts = events.find(({ kind }) => kind === 'recovered')?.facts ?? {};
  t.match(facts, { action: 'copyBlocks', blockCount: 1, sources: [/^n[13]$/] });
  t.ok(Number(facts.bytesMoved) < 3 * BLOCK_SIZE_BYTES, 'a block was moved, not a file');
  expectEqualSegments(t, cluster);
  t.same(await scrub(cluster, node), [], 'nothing is left to find');
  await expectHealed(t, cluster, 240);
});

t.test('a block that every copy has lost is told with the points in it', async (t) => {
  const cluster = await clusterWithSegments(6, 7);
  const [path] = filesOf(cluster.node(0), SEGMENT);
  for (const node of cluster.nodes) node.fileSystem.flipBit(`${DATA}/${path}`, 70_000, 3);
  const events = await scrub(cluster, cluster.node(1));
  const { facts } = events.find(({ kind }) => kind === 'escalated')!;
  t.match(facts, { code: 'SEGMENT_LOST', reason: /with points 31, 32, .*; perhaps \d+; 1\d more/ });
  const { rows } = (facts as { details: { rows: RowsInBlocks } }).details;
  t.equal(rows.ids.length + rows.doubtfulIds.length, 16, 'at most so many are named');
  await expectHealed(t, cluster, 240);
});

type Damage = (node: SimNode, path: string) => void;

const DAMAGES: Readonly<Record<string, Damage>> = {
  'a flipped bit': (node, path) => {
    const at = Math.floor(node.fileSystem.sizeBytes(`${DATA}/${path}`) / 2);
    node.fileSystem.flipBit(`${DATA}/${path}`, at, 5);
  },
  'a flipped bit of the first byte': (node, path) => {
    node.fileSystem.flipBit(`${DATA}/${path}`, 0, 0);
  },
  truncation: (node, path) => {
    truncate(node, path, Math.floor(node.fileSystem.sizeBytes(`${DATA}/${path}`) / 2));
  },
  'a zeroed page': (node, path) => {
    const size = node.fileSystem.sizeBytes(`${DATA}/${path}`);
    overwrite(node, path, new Uint8Array(Math.min(4_096, size)));
  },
  deletion: (node, path) => node.fileSystem.remove(`${DATA}/${path}`),
  'appended bytes': (node, path) => {
    overwrite(node, path, new Uint8Array(9), node.fileSystem.sizeBytes(`${DATA}/${path}`));
  },
};

const KINDS: Readonly<Record<string, RegExp>> = {
  segment: SEGMENT,
  'growing file': /\.grow$/,
  manifest: /\.man$/,
  'meta file': /\.meta$/,
  CHECKPOINT: /^CHECKPOINT$/,
  'CHECKPOINT before': /^CHECKPOINT\.previous$/,
  'copy of the identity': /^identity-copy/,
  identity: /^identity\.json$/,
  EPOCH: /^wal\/EPOCH$/,
  'copy of term and vote': /^wal\/TERM-A$/,
};

for (const [kind, pattern] of Object.entries(KINDS)) {
  t.test(`damage of a ${kind} of a running node is found and repaired`, async (t) => {
    const cluster = await clusterWithSegments(3, 2);
    await upsertBatch(cluster, 3);
    await upsertBatch(cluster, 4);
    await cluster.digests();
    await checkpointAll(cluster);
    const leader = await cluster.leader();
    const node = cluster.nodes.find((one) => one !== leader)!;
    for (const [name, damage] of Object.entries(DAMAGES)) {
      // A slot table has no end of its own: zeros behind it are empty slots.
      if (kind === 'copy of term and vote' && name === 'appended bytes') continue;
      const path = filesOf(node, pattern).at(-1)!;
      damage(node, path);
      const events = await scrub(cluster, node);
      const found = events.filter(({ kind, key }) => kind === 'found' && key === path);
      t.equal(found.length, 1, `${name}: found once`);
      t.equal(events.at(-1)?.kind, 'recovered', `${name}: repaired`);
      t.same(await scrub(cluster, node), [], 'nothing is left to find');
      t.same(damageOf(node), [], name);
    }
    await expectHealed(t, cluster, 200);
    node.kill();
    await node.start();
    await expectHealed(t, cluster, 200);
  });
}

/** Content that is sound in itself and stands in the wrong place. */
const MISPLACED: Readonly<Record<string, Damage>> = {
  'two blocks of a segment changed places': (node) => {
    const [path] = filesOf(node, SEGMENT) as [string];
    const bytes = bytesOf(node, path);
    const size = BLOCK_SIZE_BYTES + 8;
    overwrite(node, path, bytes.subarray(64 + size, 64 + 2 * size), 64);
    overwrite(node, path, bytes.subarray(64, 64 + size), 64 + size);
  },
  'another segment stands in place of one': (node) => {
    const [first, second] = filesOf(node, SEGMENT) as [string, string];
    overwrite(node, first, bytesOf(node, second));
  },
  'an older CHECKPOINT was put back': (node) => {
    node.fileSystem.remove(`${DATA}/CHECKPOINT`);
    node.fileSystem.link(`${DATA}/CHECKPOINT.previous`, `${DATA}/CHECKPOINT`);
  },
  'an older meta file was put back': (node) => {
    const [older, newer] = filesOf(node, /\.meta$/) as [string, string];
    node.fileSystem.remove(`${DATA}/${newer}`);
    node.fileSystem.link(`${DATA}/${older}`, `${DATA}/${newer}`);
  },
};

for (const [name, damage] of Object.entries(MISPLACED)) {
  t.test(`${name}: it is found and repaired`, async (t) => {
    const cluster = await clusterWithSegments(4, 2);
    await upsertBatch(cluster, 4);
    await cluster.digests();
    await checkpointAll(cluster);
    const leader = await cluster.leader();
    const node = cluster.nodes.find((one) => one !== leader)!;
    damage(node, '');
    const events = await scrub(cluster, node);
    const found = events.filter(({ kind }) => kind === 'found');
    t.equal(new Set(found.map(({ key }) => key)).size, 1, 'one file');
    t.equal(events.at(-1)?.kind, 'recovered');
    t.same(await scrub(cluster, node), []);
    expectEqualSegments(t, cluster);
    node.kill();
    await node.start();
    await expectHealed(t, cluster, 200);
  });
}

t.test('damage that only tells is told when repairs are switched off', async (t) => {
  const settings = { heal: { isAutoRepairEnabled: false } };
  const cluster = await clusterWithSegments(3, 7, settings);
  const node = cluster.node(0);
  const [path] = filesOf(node, SEGMENT);
  node.fileSystem.flipBit(`${DATA}/${path}`, 500);
  const events = await scrub(cluster, node);
  t.same(
    events.map(({ kind }) => kind),
    ['found', 'leftAlone'],
  );
  t.equal(damageOf(node).length, 1, 'nothing was touched');
});

t.test('the source of a block is the whole copy that lags least', async (t) => {
  const cluster = await clusterWithSegments(3, 8);
  const leader = await cluster.leader();
  const [node, slow] = cluster.nodes.filter((one) => one !== leader) as [SimNode, SimNode];
  cluster.network.isolate(
    slow.id,
    cluster.nodes.filter((one) => one === leader).map(({ id }) => id),
  );
  await upsertBatch(cluster, 3);
  const [path] = filesOf(node, SEGMENT);
  node.fileSystem.flipBit(`${DATA}/${path}`, 500);
  const events = await scrub(cluster, node);
  t.same(events.at(-1)?.facts.sources, [leader.id]);
});

t.test(
  'a segment that was merged away everywhere else is outlived by new checkpoints',
  async (t) => {
    const cluster = await clusterWithSegments(4, 12);
    const leader = await cluster.leader();
    const node = cluster.nodes.find((one) => one !== leader)!;
    const [path] = filesOf(node, SEGMENT) as [string];
    // Dead rows make segments merge; the others forget what they merged, this one has not yet.
    for (let batch = 0; batch < 4; batch++) await upsertBatch(cluster, batch);
    await cluster.digests();
    for (let round = 0; round < 4; round++) {
      for (const other of cluster.nodes) {
        if (other !== node) await cluster.scheduler.resolve(other.node.replica.checkpoint());
      }
      await upsertBatch(cluster, 4 + round);
      await cluster.digests();
    }
    for (const other of cluster.nodes)
      t.equal(filesOf(other, SEGMENT).includes(path), other === node);
    node.fileSystem.remove(`${DATA}/${path}`);
    const events = await scrub(cluster, node);
    t.match(events.at(-1), { kind: 'recovered', key: path, facts: { action: 'newCheckpoint' } });
    t.same(await scrub(cluster, node), [], 'nothing is left to find');
    await expectHealed(t, cluster, 320);
  },
);
