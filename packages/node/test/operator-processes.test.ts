/**
 * Goal: what is shipped for operators to run works as it stands: the smoke test of a deployment,
 * and the processes in which a leader tries its newest backup and restores
 * collections. Method: one node in this process with
 * a folder as its store, real commands beside it.
 */
import { spawn } from 'node:child_process';
import { chmodSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { NodeFileSystem, readIdentity } from '@holdfast/storage';
import t from 'tap';
import { ChildRestoreTester } from '../src/backup/verification/restore-tester.ts';
import { openEmbedded } from '../src/embedded.ts';
import { SYSTEM_CLOCK } from '../src/system-time.ts';
import { run } from './support/run-cli.ts';

const MAIN = fileURLToPath(new URL('../src/main.js', import.meta.url));
const SMOKE_TEST = fileURLToPath(new URL('../../../../deploy/smoke-test.sh', import.meta.url));

function runShell(path: string, args: readonly string[], holdfast: string) {
  const child = spawn('sh', [path, ...args], {
    env: { ...process.env, HOLDFAST: holdfast },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  return new Promise<{ readonly code: number | null; readonly output: string }>((resolve) => {
    child.on('close', (code) => resolve({ code, output }));
  });
}

t.test('the smoke test and the try of a backup run as real commands', async (t) => {
  const place = t.testdir({ store: {}, scratch: {} });
  const dataDir = join(place, 'node');
  const store = join(place, 'store');
  const settings = {
    ...{ laneCount: '1', backupSinks: pathToFileURL(store).href, backupFullSchedule: 'off' },
    ...{ backupIncrementalSchedule: 'off', backupVerifySchedule: 'off' },
  };
  const client = await openEmbedded({ dataDir, settings });
  t.teardown(() => client.close());
  await client.createCollection({ name: 'docs', dimension: 2, metric: 'l2' });
  await client.collection('docs').upsert([{ id: 1, vector: Float32Array.from([1, 2]) }]);
  const holdfast = join(place, 'holdfast');
  writeFileSync(holdfast, `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`);
  chmodSync(holdfast, 0o755);
  const smoke = await runShell(SMOKE_TEST, [client.address], holdfast);
  t.equal(smoke.code, 0, smoke.output);
  t.match(smoke.output, /smoke test: good\n/);
  t.same(
    (await client.listCollections()).map(({ name }) => name),
    ['docs'],
    'it leaves nothing',
  );
  const made = await run('backup', 'create', '--full', '--nodes', client.address);
  t.equal(made.code, 0, made.err);
  const scratchDirectory = join(place, 'scratch');
  const tester = new ChildRestoreTester({
    ...{ urls: new Map([['here', pathToFileURL(store).href]]), keyFiles: [], scratchDirectory },
    ...{ nodeId: 'n1', clock: SYSTEM_CLOCK, prepare: () => undefined },
  });
  const { clusterId } = readIdentity(new NodeFileSystem(), dataDir);
  const { signal } = new AbortController();
  const good = await tester.test({ sink: 'here', clusterId, signal });
  t.match(good, { failure: null, by: 'node n1', collectionCount: 1, vectorCount: 1 });
  t.same(readdirSync(scratchDirectory), []);
  const none = await tester.test({ sink: 'here', clusterId: 'f'.repeat(32), signal });
  t.match(none, { failure: { code: 'BACKUP_NOT_FOUND' }, by: 'node n1' });
  const ended = tester.test({ sink: 'here', clusterId, signal: AbortSignal.abort() });
  await t.rejects(ended, { code: 'ABORTED' });
  const restore = async (collection: string) => {
    const body = JSON.stringify({ collections: [collection], target_prefix: 'old_' });
    const url = `http://${client.address}/api/v1/admin/restore?mode=sync`;
    const response = await fetch(url, { method: 'POST', body });
    return { status: response.status, body: await response.json() };
  };
  const restored = await restore('docs');
  t.match(restored, { status: 200, body: { outcome: { made: [{ pointCount: 1 }] } } });
  t.match(await client.collection('old_docs').get([1]), [{ id: 1 }]);
  const unknown = await restore('nobody');
  t.match(unknown, { status: 404, body: { error: { code: 'COLLECTION_NOT_FOUND' } } });
  t.same(readdirSync(join(dataDir, 'backup', 'collections')), [], 'the past state is gone');
});
