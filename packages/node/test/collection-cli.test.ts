/**
 * Goal: what operators type does what it says: a drop taken back, a rename, and collections of a
 * past state beside live data. Method: a whole node of this process with a store in a folder, the
 * commands, and the same over HTTP.
 */
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t, { type Test } from 'tap';
import { type EmbeddedClient, openEmbedded } from '../src/embedded.ts';
import type { Ran } from './support/run-cli.ts';
import { run } from './support/run-cli.ts';

const POINT_COUNT = 700;
/** A shard has more bytes than one stretch of a walk. */
const LARGE = 'x'.repeat(8_000);

const pointsOf = (value: number) =>
  Array.from({ length: POINT_COUNT }, (_, id) => ({
    ...{ id, vector: [id, value], payload: { value, tags: ['ä', `t${id % 7}`], LARGE } },
  }));

t.test('collections are dropped, brought back, renamed and restored by commands', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-collection-cli-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const [dataDir, store, work] = ['data', 'store', 'work'].map((name) => join(folder, name));
  if (dataDir === undefined || store === undefined || work === undefined) return;
  for (const each of [store, work]) mkdirSync(each);
  const settings = { laneCount: '1', backupSinks: pathToFileURL(store).href };
  const client = await openEmbedded({ dataDir, settings });
  t.teardown(() => client.close());
  const nodes = ['--nodes', client.address];
  const good = (ran: Ran): string => {
    t.equal(ran.code, 0, ran.err);
    return ran.out;
  };
  const collection = async (...argv: string[]) => good(await run('collections', ...argv, ...nodes));
  const docs = client.collection('docs');

  await client.createCollection({ name: 'docs', dimension: 2, metric: 'l2' });
  await docs.upsertMany(pointsOf(1), { batchSize: 100, timeoutMs: 60_000 });
  const before = await collection('digest', 'docs');
  good(await run('backup', 'create', ...nodes));
  await docs.upsert(pointsOf(2).slice(0, 100), { timeoutMs: 60_000 });
  t.not(await collection('digest', 'docs'), before);

  const restore = (...argv: string[]) =>
    run(
      ...['restore', 'collections', '--from', store, '--collections', 'docs', '--work-dir', work],
      ...[...argv, ...nodes],
    );
  const [backupId = ''] =
    /[0-9a-f-]{36}/.exec(good(await run('backup', 'list', '--from', store))) ?? [];
  const wish = ['--target', backupId, '--target-prefix', 'old_'];
  t.match(good(await restore(...wish, '--dry-run')), 'would make old_docs; dry run');
  t.notMatch(await collection('list', '--include-deleted'), 'old_docs');
  const made = good(await restore(...wish));
  t.match(made, `old_docs (uid`);
  const uid = /collections publish (\d+)/.exec(made)?.[1] ?? '';
  t.notMatch(await collection('list'), 'old_docs');
  t.match(await collection('list', '--include-deleted'), /old_docs +ready/);
  t.match(await collection('publish', uid), 'published old_docs');
  t.equal((await collection('digest', 'old_docs')).replace('old_', ''), before);
  const taken = await restore(...wish);
  t.equal(taken.code, 1);
  t.match(taken.err, 'COLLECTION_EXISTS');
  t.same(readdirSync(work), [], 'nothing of it is left on the disk');

  const dropped = await collection('drop', 'old_docs');
  t.match(dropped, `holdfast collection restore ${uid}`);
  t.match(await collection('list', '--include-deleted'), /old_docs +dropped/);
  t.match(await collection('restore', uid, '--name', 'back'), 'collection back is back');
  t.match(await collection('rename', 'back', 'again'), 'collection back is again now');
  t.equal((await collection('digest', 'again')).replace('again', 'docs'), before);

  await overHttp(t, client, Number(uid));
  const gone = await run('collections', 'purge', uid, ...nodes);
  t.equal(gone.code, 1);
  t.match(gone.err, 'COLLECTION_NOT_FOUND');
});

/** From a collection `again` with this uid to none. */
async function overHttp(t: Test, client: EmbeddedClient, uid: number): Promise<void> {
  const http = async (path: string, body?: object) => {
    const answer = await fetch(`http://${client.address}/api/v1/collections${path}`, {
      ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
    });
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };
  t.match(await http('/again/rename', { new_name: 'docs' }), { status: 409 });
  t.match(await http('/again/rename', { new_name: 'third' }), { status: 200 });
  t.match(await http('/again/rename', { new_name: 'x', more: 1 }), { status: 400 });
  await client.dropCollection('third');
  t.notMatch(await http(''), { body: { hidden: [] } });
  const hidden = [{ state: 'dropped', collection: { name: 'third', createdIndex: uid } }];
  t.match(await http('?include_deleted=true'), { status: 200, body: { hidden } });
  t.match(await http('/third/restore', {}), {
    status: 200,
    body: { collection: { name: 'third' } },
  });
  t.match(await http('/third/restore', {}), { status: 404 });
  await client.dropCollection('third');
  t.match(await http('/purge', { uid: uid }), { body: { isPurged: true } });
}
