// Goal: the steps that docs/OPERATING.md gives for the loss of a site work as written, with real
// processes, the command line and an S3 server as the store between the clusters; with a folder
// where no such server is installed.
import { cephMissing } from '@holdfast/node/testing';
import t from 'tap';
import { readJson } from '../src/cluster/node-http.ts';
import { ProcessCluster } from '../src/cluster/process-cluster.ts';
import { clusterIdOf, untilArchived } from '../src/drill/archived.ts';
import { holdfast } from '../src/drill/holdfast-command.ts';
import { openProofStore } from '../src/drill/proof-store.ts';
import { keepSecret, rebuild, removeDataDirectories } from '../src/drill/rebuild.ts';
import { withClient } from '../src/drill/with-client.ts';
import { waitFor } from '../src/wait.ts';

// Real processes take as long as the machine lets them: no time limit of the test runner.
t.setTimeout(0);

const TIMEOUT_MS = 120_000;
/** What is written right before the loss is not archived any more. */
const SETTINGS = {
  ...{ backupFullSchedule: 'off', backupIncrementalSchedule: 'off' },
  ...{ archiveIntervalMs: 5_000, fenceLookIntervalMs: 500 },
};

async function write(cluster: ProcessCluster, from: number, to: number): Promise<number> {
  return withClient(cluster, async (client) => {
    let index = 0;
    for (let id = from; id <= to; id++) {
      ({ index } = await client.collection('docs').upsert({ id, vector: [id, 1] }));
    }
    return index;
  });
}

const count = (cluster: ProcessCluster): Promise<number> =>
  withClient(cluster, async (client) => (await client.collection('docs').count()).count);

interface StandbyView {
  readonly site: { readonly kind: string; readonly source?: { readonly index: number } };
}

async function siteOf(cluster: ProcessCluster): Promise<StandbyView['site'] | null> {
  const answer = await readJson(cluster.addressOf('n1'), '/api/v1/admin/standby');
  return (answer?.body as Partial<StandbyView> | undefined)?.site ?? null;
}

t.test('a site is lost: the standby takes over, and the old primary is fenced', async (t) => {
  const { close, url: store } = await openProofStore(cephMissing() === false ? 's3' : 'file');
  t.teardown(close);
  const settings = { ...SETTINGS, backupSinks: store };
  const options = { nodeCount: 1, settings };
  const primary = await ProcessCluster.launch({ ...options, name: 'test-standby-primary' });
  t.teardown(() => primary.stop());
  const oldId = clusterIdOf(primary);
  await withClient(primary, (client) =>
    client.createCollection({ name: 'docs', dimension: 2, metric: 'l2' }),
  );
  await write(primary, 1, 20);
  await holdfast('backup', 'create', '--nodes', primary.addressOf('n1'));

  const standby = await ProcessCluster.form({ ...options, name: 'test-standby' });
  t.teardown(() => standby.stop());
  const secretPath = keepSecret(standby);
  removeDataDirectories(standby);
  const target = ['--standby', '--cluster', oldId];
  const { said } = await rebuild({ cluster: standby, store, secretPath, target });
  t.match(said, new RegExp(`a standby of ${oldId}`));
  const archived = await write(primary, 21, 40);
  await untilArchived(primary, archived);
  await waitFor({ what: 'the standby to follow', timeoutMs: TIMEOUT_MS }, async () => {
    const site = await siteOf(standby);
    return (site?.source?.index ?? 0) >= archived ? true : null;
  });
  t.equal(await count(standby), 40);
  await t.rejects(write(standby, 41, 41), { code: 'READ_ONLY' });
  const standbyAddress = standby.addressOf('n1');
  t.match(
    await holdfast('standby', 'status', '--nodes', standbyAddress),
    /standby of .*following/s,
  );

  const last = await write(primary, 41, 43);
  await primary.killAll();
  const promoted = await holdfast('standby', 'promote', '--nodes', standbyAddress);
  t.match(promoted, new RegExp(`took over from cluster ${oldId} behind index`));
  await write(standby, 100, 101);
  t.equal(await count(standby), 42);

  await primary.startAll();
  await waitFor({ what: 'the old primary to be fenced', timeoutMs: TIMEOUT_MS }, async () =>
    (await siteOf(primary))?.kind === 'fenced' ? true : null,
  );
  await t.rejects(write(primary, 44, 44), { code: 'FENCED' });
  t.equal(await count(primary), 43, 'reads go on');
  const listed = await holdfast('standby', 'diff', '--nodes', primary.addressOf('n1'));
  t.match(listed, /^3 requests of clients are in the old cluster only$/m);
  for (const id of [41, 42, 43]) t.match(listed, new RegExp(`upsert docs 1 points: ${id}$`, 'm'));
  await primary.stopNodes();
  const dataDirectory = primary.dataDirectoryOf('n1');
  const fromDisk = await holdfast(
    ...['standby', 'diff', '--from', store, '--data-dir', dataDirectory, '--json'],
  );
  const { differences } = JSON.parse(fromDisk) as {
    readonly differences: readonly { readonly index: number; readonly ids: readonly number[] }[];
  };
  // Each is a session of its own client too, and the last one is the last write.
  t.ok(differences.some(({ ids, index }) => ids[0] === 43 && index === last));
});
