// A snapshot between real processes: receiver and sender are killed in the middle of it.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { HoldfastClient } from '@holdfast/client';
import t from 'tap';
import { expectEqualDigests } from '../src/cluster/agreement.ts';
import { ProcessCluster } from '../src/cluster/process-cluster.ts';
import { waitFor } from '../src/wait.ts';

// Real processes take as long as the machine lets them: no time limit of the test runner.
t.setTimeout(0);

const DIMENSION = 256;
const POINT_COUNT = 4_000;
const BATCH_COUNT = 200;
const MIB = 1024 * 1024;
const TIMEOUT_MS = 120_000;
/** Several checkpoints while the points are written, and a transfer of some seconds. */
const SETTINGS = {
  ...{ walFileSizeBytes: MIB, checkpointLogSizeBytes: MIB, logRetentionEntryCount: 0 },
  ...{ followerLogHoldSizeBytesMax: 0, snapshotTransferBytesPerSecMax: MIB },
};

/** What is staged for the node, seen from outside. */
function stagedSizeBytes(cluster: ProcessCluster, nodeName: string): number {
  const staging = join(cluster.dataDirectoryOf(nodeName), 'staging');
  if (!existsSync(staging)) return 0;
  return readdirSync(staging).reduce((sum, name) => sum + statSync(join(staging, name)).size, 0);
}

const until = (what: string, isMet: () => boolean | Promise<boolean>): Promise<true> =>
  waitFor({ what, timeoutMs: TIMEOUT_MS, pollIntervalMs: 20 }, async () =>
    (await isMet()) ? true : null,
  );

t.test('a snapshot is gone on with when its receiver, then its sender is killed', async (t) => {
  const cluster = await ProcessCluster.launch({ name: 'test-snapshot', settings: SETTINGS });
  t.teardown(() => cluster.stop());
  const client = await HoldfastClient.connect({ nodes: [...cluster.addresses] });
  t.teardown(() => client.close());
  await client.createCollection({ name: 'docs', dimension: DIMENSION, metric: 'l2' });
  const { nodeName: leader } = await cluster.waitUntilReady();
  const follower = cluster.nodeNames.find((name) => name !== leader) ?? '';
  await cluster.signal(follower, 'SIGKILL');
  for (let first = 0; first < POINT_COUNT; first += BATCH_COUNT) {
    const ids = Array.from({ length: BATCH_COUNT }, (_, i) => first + i);
    await client
      .collection('docs')
      .upsert(ids.map((id) => ({ id, vector: new Float32Array(DIMENSION).fill(id) })));
  }

  await cluster.start(follower);
  await until('a part to be staged', () => stagedSizeBytes(cluster, follower) > MIB);
  await cluster.signal(follower, 'SIGKILL');
  const keptSizeBytes = stagedSizeBytes(cluster, follower);
  await cluster.start(follower);
  let heldSizeBytes = 0;
  await until('the transfer to go on', async () => {
    const held = await cluster.metric(follower, 'holdfast_snapshot_held_bytes');
    heldSizeBytes = held ?? 0;
    return heldSizeBytes > 0;
  });
  // Of the block that was under way the checksum had not arrived yet.
  t.ok(heldSizeBytes >= keptSizeBytes - 128 * 1024, `${heldSizeBytes} of ${keptSizeBytes} held`);

  const sender = (await cluster.waitUntilReady()).nodeName;
  if (stagedSizeBytes(cluster, follower) > 0) await cluster.signal(sender, 'SIGKILL');
  await until('the state to be there', async () => {
    const health = await cluster.health(follower);
    return (
      health !== null && health.leader !== null && health.appliedIndex > POINT_COUNT / BATCH_COUNT
    );
  });
  if (!cluster.isRunning(sender)) await cluster.start(sender);
  await cluster.waitUntilReady();
  await expectEqualDigests(cluster, TIMEOUT_MS);
  const points = await client.collection('docs').get([0, 1, POINT_COUNT - 1]);
  t.equal(points.length, 3);
});
