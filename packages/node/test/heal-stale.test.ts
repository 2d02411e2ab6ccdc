/**
 * Goal: what was taken away from a running node or put back as it once was is found and made good,
 * though all that is left is sound in itself.
 * Method: as heal-files.test.ts.
 */
import { writeAtomicJson, writeChecksummedFile, writeEpoch } from '@holdfast/storage';
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

async function follower(cluster: SimCluster): Promise<SimNode> {
  const leader = await cluster.leader();
  const node = cluster.nodes.find((one) => one !== leader);
  if (node === undefined) throw new Error('a cluster has followers');
  return node;
}

function putBack(node: SimNode, path: string, bytes: Uint8Array): void {
  truncate(node, path, 0);
  overwrite(node, path, bytes);
}

/** Found at least once, all of it recovered, and nothing is found any more. */
async function expectRepaired(
  t: Test,
  cluster: SimCluster,
  node: SimNode,
  paths: readonly string[],
): Promise<void> {
  const events = await scrub(cluster, node);
  const found = new Set(events.flatMap(({ key, kind }) => (kind === 'found' ? [key] : [])));
  t.same([...found].sort(), paths, 'what is wrong is named');
  const recovered = events.flatMap(({ key, kind }) => (kind === 'recovered' ? [key] : []));
  t.same(recovered.sort(), paths, JSON.stringify(events.map(({ facts, kind }) => [kind, facts])));
  t.same(await scrub(cluster, node), [], 'nothing is left to find');
}

type Injure = (node: SimNode, path: string, half: Uint8Array) => void;

const LOG_INJURIES: Readonly<Record<string, Injure>> = {
  'is deleted': (node, path) => node.fileSystem.remove(`${DATA}/${path}`),
  'is emptied': (node, path) => truncate(node, path, 0),
  'is cut': (node, path) => truncate(node, path, 100_000),
  'has lost batches to zeros': (node, path) =>
    overwrite(node, path, new Uint8Array(60_000), 90_000),
  'has lost its last batches to zeros': (node, path) => {
    const size = bytesOf(node, path).byteLength;
    overwrite(node, path, new Uint8Array(size - 100_000), 100_000);
  },
  'is put back as it once was': putBack,
};

for (const [what, injure] of Object.entries(LOG_INJURIES)) {
  t.test(`an old log file that ${what} costs nothing, then or at the next start`, async (t) => {
    const cluster = await clusterWithSegments(2, 5);
    const node = await follower(cluster);
    const active = filesOf(node, /\.wal$/).findLast((path) => bytesOf(node, path).some(Boolean))!;
    await upsertBatch(cluster, 2);
    const half = bytesOf(node, active);
    for (let batch = 3; batch < 9; batch++) await upsertBatch(cluster, batch);
    await cluster.digests();
    injure(node, active, half);
    await expectRepaired(t, cluster, node, [active]);
    await upsertBatch(cluster, 9);
    node.kill();
    await node.start();
    await expectHealed(t, cluster, 400);
    t.same(node.log?.damage(), []);
  });
}

t.test('every log file of two of three nodes is cut, and nothing is lost', async (t) => {
  const cluster = await clusterWithSegments(2, 6);
  for (let batch = 2; batch < 9; batch++) await upsertBatch(cluster, batch);
  await cluster.digests();
  const leader = await cluster.leader();
  for (const node of cluster.nodes.filter((one) => one !== leader)) {
    const closed = node.wal.files().filter(({ isClosed }) => isClosed);
    t.ok(closed.length >= 2, 'several files are not written to any more');
    const paths = closed.map(({ fileId }) => `wal/${String(fileId).padStart(16, '0')}.wal`);
    for (const path of paths) truncate(node, path, 90_000);
    await expectRepaired(t, cluster, node, paths);
  }
  for (const node of cluster.nodes) node.kill();
  for (const node of cluster.nodes) await node.start();
  await expectHealed(t, cluster, 360);
});

t.test('entries that every log has lost are let go of with the log before them', async (t) => {
  const settings = { retainedEntryCount: 10_000 };
  const cluster = await clusterWithSegments(2, 8, settings, { cacheSizeBytesMax: 1_024 });
  for (let batch = 2; batch < 9; batch++) await upsertBatch(cluster, batch);
  await cluster.digests();
  await checkpointAll(cluster);
  const path = 'wal/0000000000000001.wal';
  for (const node of cluster.nodes) truncate(node, path, 90_000);
  for (const node of cluster.nodes) {
    // A node that was asked for them meanwhile has found that out by itself.
    await scrub(cluster, node);
    const recovered = node.node.care.recoveries.events().filter(({ kind }) => kind === 'recovered');
    t.same(
      recovered.map(({ facts, key }) => [key, facts.action]),
      [[path, 'shortenLog']],
      'nobody has the entries, so they are retained for nobody',
    );
    t.ok((node.log?.base().index ?? 0) > 0, 'the log begins later');
    t.same(await scrub(cluster, node), []);
  }
  for (const node of cluster.nodes) node.kill();
  for (const node of cluster.nodes) await node.start();
  await expectHealed(t, cluster, 360);
});

t.test('an EPOCH that was put back as it once was is written again', async (t) => {
  const cluster = await clusterWithSegments(2, 3);
  const node = await follower(cluster);
  node.kill();
  await node.start();
  const before = bytesOf(node, 'wal/EPOCH');
  writeEpoch(node.fileSystem, `${DATA}/wal`, { epoch: 1, hasBatches: true, durableBatch: 0 });
  await expectRepaired(t, cluster, node, ['wal/EPOCH']);
  t.equal(Buffer.compare(bytesOf(node, 'wal/EPOCH'), before), 0);
});

for (const names of [['TERM-A'], ['TERM-B'], ['TERM-A', 'TERM-B']]) {
  t.test(`${names.join(' and ')} put back as of an earlier term: written again`, async (t) => {
    const cluster = await clusterWithSegments(2, 4);
    const node = await follower(cluster);
    const paths = names.map((name) => `wal/${name}`);
    const old = paths.map((path) => bytesOf(node, path));
    (await cluster.leader()).kill();
    await cluster.leader();
    await upsertBatch(cluster, 2);
    const promised = paths.map((path) => bytesOf(node, path));
    t.not(Buffer.compare(old[0]!, promised[0]!), 0, 'there was another term');
    for (const [i, path] of paths.entries()) putBack(node, path, old[i]!);
    // Both are written anew at once.
    await expectRepaired(t, cluster, node, paths.slice(0, 1));
    const slots = (bytes: Buffer): Buffer => bytes.subarray(512, 1_024);
    for (const [i, path] of paths.entries()) {
      t.equal(Buffer.compare(slots(bytesOf(node, path)), slots(promised[i]!)), 0, path);
    }
  });
}

t.test('an older CHECKPOINT.previous that was put back is replaced', async (t) => {
  const cluster = await clusterWithSegments(2, 7);
  const node = await follower(cluster);
  await upsertBatch(cluster, 2);
  await checkpointAll(cluster);
  const old = bytesOf(node, 'CHECKPOINT.previous');
  await upsertBatch(cluster, 3);
  await checkpointAll(cluster);
  putBack(node, 'CHECKPOINT.previous', old);
  await expectRepaired(t, cluster, node, ['CHECKPOINT.previous']);
  await expectHealed(t, cluster, 160);
});

t.test('the twin of the first checkpoint is written again when it is deleted', async (t) => {
  const cluster = await clusterWithSegments(2, 8);
  const node = await follower(cluster);
  const twin = bytesOf(node, 'CHECKPOINT.previous');
  t.equal(Buffer.compare(twin, bytesOf(node, 'CHECKPOINT')), 0, 'the first one stands twice');
  node.fileSystem.remove(`${DATA}/CHECKPOINT.previous`);
  await expectRepaired(t, cluster, node, ['CHECKPOINT.previous']);
  t.ok(node.fileSystem.exists(`${DATA}/CHECKPOINT.previous`));
  await expectHealed(t, cluster, 80);
});

const GRAPH_FOLDER = 'collections/2/0';

/** As a lane leaves it; the scrubber looks at bytes only. */
function saveGraph(node: SimNode, generation: number): readonly [string, string] {
  const name = `${GRAPH_FOLDER}/graph-${String(generation).padStart(8, '0')}`;
  const [graph, sidecar] = [`${name}.graph`, `${name}.json`] as const;
  const payload = new Uint8Array(200_000).fill(generation);
  const { checksum, sizeBytes } = writeChecksummedFile(
    node.fileSystem,
    `${DATA}/${graph}`,
    { kind: 'graph', algorithm: 'xxhash3' },
    [payload],
  );
  writeAtomicJson(
    node.fileSystem,
    `${DATA}/${sidecar}`,
    { format: 'holdfast-graph', version: 1 },
    {
      ...{ checksum, sizeBytes, timestampMs: 1, uid: 2, shard: 0, logIndex: 1, engine: 'none' },
      ...{ engineVersion: '1', precision: 'f32', dimension: 8, metric: 'l2', m: 8 },
      ...{ efConstruction: 8, vectorCount: 1, labelCount: 1, rowOrderDigest: '0'.repeat(16) },
    },
  );
  return [graph, sidecar];
}

const GRAPH_INJURIES: Readonly<Record<string, (node: SimNode, path: string) => void>> = {
  'a flipped bit': (node, path) => node.fileSystem.flipBit(`${DATA}/${path}`, 100),
  deletion: (node, path) => node.fileSystem.remove(`${DATA}/${path}`),
  truncation: (node, path) => truncate(node, path, 90),
};

t.test('damage of a saved graph is found, and the graph is taken out of use', async (t) => {
  const cluster = await clusterWithSegments(3, 9);
  const node = await follower(cluster);
  let generation = 0;
  for (const [what, injure] of Object.entries(GRAPH_INJURIES)) {
    for (const which of [0, 1] as const) {
      generation += 1;
      const files = saveGraph(node, generation);
      t.same(await scrub(cluster, node), [], 'sound as it was saved');
      injure(node, files[which]);
      await expectRepaired(t, cluster, node, [files[which]]);
      t.same(filesOf(node, /graph-\d+\.(graph|json)$/), [], `${what}: nothing is left to load`);
    }
  }
  await expectHealed(t, cluster, 120);
});

t.test('a graph that is not the one of its sidecar is taken out of use', async (t) => {
  const cluster = await clusterWithSegments(2, 10);
  const node = await follower(cluster);
  const [first] = saveGraph(node, 1);
  const [second] = saveGraph(node, 2);
  putBack(node, second, bytesOf(node, first));
  await expectRepaired(t, cluster, node, [second]);
});

t.test('each damaged block of a file is a finding of its own, told once', async (t) => {
  const cluster = await clusterWithSegments(6, 11);
  const node = await follower(cluster);
  const [path] = filesOf(node, /segment-\d+\.seg$/) as [string];
  const offsets = [64, 64 + 65_544, 64 + 2 * 65_544];
  for (const offset of offsets) node.fileSystem.flipBit(`${DATA}/${path}`, offset + 9);
  const events = await scrub(cluster, node);
  const found = events.filter(({ kind }) => kind === 'found');
  t.same(
    found.map(({ facts, key }) => ({ key, offset: facts.offset })),
    offsets.map((offset) => ({ key: path, offset })),
  );
  t.match(events.at(-1), { kind: 'recovered', facts: { blockCount: 3 } });
});
