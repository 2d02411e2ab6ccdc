// Goal: logs that rotted while their processes were down are repaired from peers, on real processes
// and a real disk; what everybody has lost stops everybody, by name.
import { readFileSync } from 'node:fs';
import { HoldfastClient } from '@holdfast/client';
import t from 'tap';
import { expectEqualDigests } from '../src/cluster/agreement.ts';
import { ProcessCluster } from '../src/cluster/process-cluster.ts';
import { rotLog } from '../src/nemesis/rot.ts';
import { waitFor } from '../src/wait.ts';

// Real processes take as long as the machine lets them: no time limit of the test runner.
t.setTimeout(0);

const POINT_COUNT = 40;
const COLLECTION = 'docs';
/** A vector whose bytes are in no other entry. */
const vectorOf = (id: number): readonly number[] => [id + 0.625, 12_345.5];
const bytesOf = (id: number): Uint8Array => new Uint8Array(new Float32Array(vectorOf(id)).buffer);

async function clusterWithPoints(name: string): Promise<ProcessCluster> {
  const cluster = await ProcessCluster.launch({ name });
  const client = await HoldfastClient.connect({ nodes: cluster.addresses });
  await client.createCollection({ name: COLLECTION, dimension: 2, metric: 'l2' });
  const docs = client.collection(COLLECTION);
  for (let id = 1; id <= POINT_COUNT; id++) await docs.upsert({ id, vector: vectorOf(id) });
  await client.close();
  await expectEqualDigests(cluster);
  return cluster;
}

async function missingIds(cluster: ProcessCluster): Promise<readonly number[]> {
  const client = await HoldfastClient.connect({ nodes: cluster.addresses });
  const ids = Array.from({ length: POINT_COUNT }, (_, i) => i + 1);
  const points = await client.collection(COLLECTION).get(ids);
  await client.close();
  const found = new Set(points.flatMap((point) => (point === null ? [] : [point.id])));
  return ids.filter((id) => !found.has(id));
}

const rot = (cluster: ProcessCluster, nodeName: string, id: number): number =>
  rotLog(cluster.dataDirectoryOf(nodeName), bytesOf(id)).length;

t.test('a flipped byte in the middle of a follower is repaired when it starts', async (t) => {
  const cluster = await clusterWithPoints('test-rot-one');
  t.teardown(() => cluster.stop());
  const leader = (await cluster.leader())?.nodeName;
  const follower = cluster.nodeNames.find((nodeName) => nodeName !== leader)!;
  await cluster.signal(follower, 'SIGKILL');
  t.equal(rot(cluster, follower, 17), 1);
  await cluster.start(follower);
  await cluster.waitUntilReady();
  await expectEqualDigests(cluster);
  t.match(readFileSync(cluster.logPathOf(follower), 'utf8'), 'damaged log entries are repaired');
  t.same(await missingIds(cluster), []);
  // What it repaired is on its disk: it starts again without anybody's help.
  await cluster.killAll();
  await cluster.startAll();
  await cluster.waitUntilReady();
  t.same(await missingIds(cluster), []);
});

t.test('different entries damaged on two of three nodes are repaired', async (t) => {
  const cluster = await clusterWithPoints('test-rot-two');
  t.teardown(() => cluster.stop());
  await cluster.killAll();
  t.equal(rot(cluster, 'n1', 9), 1);
  t.equal(rot(cluster, 'n2', 23), 1);
  await cluster.startAll();
  await cluster.waitUntilReady();
  await expectEqualDigests(cluster);
  t.same(await missingIds(cluster), []);
});

t.test('one entry damaged on all three stops all three, and each says which is lost', async (t) => {
  const cluster = await clusterWithPoints('test-rot-all');
  t.teardown(() => cluster.stop());
  await cluster.killAll();
  for (const nodeName of cluster.nodeNames) t.equal(rot(cluster, nodeName, 31), 1);
  await cluster.startAll();
  await waitFor({ what: 'all nodes to stop', timeoutMs: 60_000 }, () =>
    cluster.nodeNames.some((nodeName) => cluster.isRunning(nodeName)) ? null : true,
  );
  // Behind it a node may still log that another one has gone.
  const last = cluster.nodeNames.map((nodeName) => {
    const lines = readFileSync(cluster.logPathOf(nodeName), 'utf8').split('\n');
    return lines.findLast((line) => line.startsWith('holdfast: ')) ?? '';
  });
  for (const line of last) t.match(line, /^holdfast: ENTRY_LOST: group 1: log entries \d+ to \d+ /);
  t.equal(new Set(last.map((line) => /entries (\d+ to \d+)/.exec(line)?.[1])).size, 1);
  t.equal(cluster.describeLogs().match(/exited with code 1/g)?.length, 3);
  t.comment(last[0] ?? '');
});
