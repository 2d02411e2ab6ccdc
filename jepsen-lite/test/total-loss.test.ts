// Goal: a cluster whose nodes and disks are all gone is rebuilt from the store of its backups, as
// it was last or at a moment before a mistake, and the old history goes on in the new cluster.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { cephMissing } from '@holdfast/node/testing';
import t from 'tap';
import { expectEqualDigests } from '../src/cluster/agreement.ts';
import { ProcessCluster } from '../src/cluster/process-cluster.ts';
import { untilArchived } from '../src/drill/archived.ts';
import { holdfast } from '../src/drill/holdfast-command.ts';
import { openProofStore } from '../src/drill/proof-store.ts';
import { keepSecret, loseEverything, type RebuildOptions, rebuild } from '../src/drill/rebuild.ts';
import { withClient } from '../src/drill/with-client.ts';
import { waitFor } from '../src/wait.ts';

// Real processes take as long as the machine lets them: no time limit of the test runner.
t.setTimeout(0);

const POINT_COUNT = 60;
/** The one backup is made by the test. */
const BY_HAND = { backupFullSchedule: 'off', backupIncrementalSchedule: 'off' };

/** First components of the vectors that are there, by id. */
async function contents(cluster: ProcessCluster): Promise<ReadonlyMap<number, number>> {
  return withClient(cluster, async (client) => {
    const ids = Array.from({ length: POINT_COUNT }, (_, i) => i + 1);
    const points = await client.collection('docs').get(ids, { withVector: true });
    return new Map(points.map(({ id, vector }) => [Number(id), vector?.[0] ?? Number.NaN]));
  });
}

async function write(cluster: ProcessCluster, from: number, to: number, value: number) {
  return withClient(cluster, async (client) => {
    let index = 0;
    for (let id = from; id <= to; id++) {
      const written = await client.collection('docs').upsert({ id, vector: [value, 1] });
      index = written.index;
    }
    return index;
  });
}

/** Deletes what every node has, and lays it anew from the store. */
async function rebuilt(
  cluster: ProcessCluster,
  store: string,
  options: Pick<RebuildOptions, 'storeFlags' | 'target'> = {},
): Promise<string> {
  const secretPath = keepSecret(cluster);
  await loseEverything(cluster);
  const { said } = await rebuild({ cluster, store, secretPath, ...options });
  await expectEqualDigests(cluster);
  return said;
}

t.test('all nodes and disks are lost, and everything archived comes back', async (t) => {
  const store = t.testdir();
  const cluster = await ProcessCluster.launch({
    name: 'test-total-loss',
    settings: { ...BY_HAND, backupSinks: pathToFileURL(store).href },
  });
  t.teardown(() => cluster.stop());
  await withClient(cluster, (client) =>
    client.createCollection({ name: 'docs', dimension: 2, metric: 'l2' }),
  );
  await write(cluster, 1, 40, 1);
  const backup = await holdfast('backup', 'create', '--nodes', cluster.addressOf('n2'));
  t.match(backup, /40 vectors/, backup);
  // Behind the backup: these come from the archive of the log, also over a change of the leader.
  await cluster.signal((await cluster.leader())?.nodeName ?? 'n1', 'SIGKILL');
  await waitFor({ what: 'another leader', timeoutMs: 60_000 }, () => cluster.leader());
  const good = await write(cluster, 41, POINT_COUNT, 2);
  const bad = await write(cluster, 1, POINT_COUNT, 666);
  await untilArchived(cluster, bad);

  const latest = await (async () => {
    await rebuilt(cluster, store);
    return contents(cluster);
  })();
  t.equal(latest.size, POINT_COUNT);
  t.ok(
    [...latest.values()].every((value) => value === 666),
    'the newest state',
  );

  const listed = JSON.parse(
    await holdfast('backup', 'list', '--from', store, '--json'),
  ) as readonly {
    readonly clusterId: string;
    readonly backups: readonly unknown[];
  }[];
  const old = listed.find(({ backups }) => backups.length > 0)?.clusterId ?? '';
  const target = ['--cluster', old, '--index', String(good)];
  t.match(await rebuilt(cluster, store, { target }), new RegExp(`after index ${good}`));
  const before = await contents(cluster);
  t.equal(before.size, POINT_COUNT);
  t.same([before.get(1), before.get(40), before.get(41)], [1, 1, 2], 'before the mistake');
  const more = await write(cluster, 1, 5, 7);
  await untilArchived(cluster, more);
  t.equal((await contents(cluster)).get(5), 7, 'and it goes on from there');
  t.match(await holdfast('backup', 'verify', '--from', store, '--cluster', old), /good/);
});

t.test('the same from an S3 server, encrypted', { skip: cephMissing() }, async (t) => {
  const opened = await openProofStore('s3');
  t.teardown(() => opened.close());
  const store = opened.url;
  const key = join(t.testdir({ key: '5'.repeat(64) }), 'key');
  const cluster = await ProcessCluster.launch({
    name: 'test-total-loss-s3',
    settings: { ...BY_HAND, backupSinks: store, backupKeyFile: key },
  });
  t.teardown(() => cluster.stop());
  await withClient(cluster, (client) =>
    client.createCollection({ name: 'docs', dimension: 2, metric: 'l2' }),
  );
  await write(cluster, 1, 20, 1);
  const backup = await holdfast('backup', 'create', '--nodes', cluster.addressOf('n3'));
  t.match(backup, /20 vectors/);
  await untilArchived(cluster, await write(cluster, 21, POINT_COUNT, 2));
  await t.rejects(holdfast('backup', 'verify', '--from', store), /BACKUP_KEY_WRONG/);
  await rebuilt(cluster, store, { storeFlags: ['--key-file', key] });
  const found = await contents(cluster);
  t.same([found.size, found.get(20), found.get(21)], [POINT_COUNT, 1, 2]);
});
