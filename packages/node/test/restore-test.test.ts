/**
 * Goal: a backup is called good only after it was restored and served, what came of that is kept,
 * and the try never costs what it is there to guard. Method: histories in memory with every
 * operation of the store failing in turn; a node in this process with a folder as its store, and
 * the shipped commands on that.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { DEFAULT_GROUP_ID, must, SILENT_LOGGER } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import { HoldfastClient } from '@holdfast/client';
import type { RestoreTestResult } from '@holdfast/storage';
import { createEntryHasher, NO_KEYS, restoreTestKey } from '@holdfast/storage';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import t, { type Test } from 'tap';
import { SETTLE_MS } from '../src/backup/backup-scheduler.ts';
import { RESTORE_PLAN_FILE_NAME } from '../src/backup/restore/lay-directory.ts';
import { parseSchedule } from '../src/backup/schedule.ts';
import { estimateRestoreMs } from '../src/backup/verification/estimate-restore.ts';
import type { RestoreTestOptions } from '../src/backup/verification/restore-test.ts';
import { refuseOthers, testRestore } from '../src/backup/verification/restore-test.ts';
import {
  listRestoreTests,
  NOTHING_KNOWN,
  RESTORE_TEST_COUNT_MAX,
  storeRestoreTest,
} from '../src/backup/verification/restore-test-store.ts';
import type { RestoreTester } from '../src/backup/verification/restore-tester.ts';
import { startNode } from '../src/compose.ts';
import { loadConfig } from '../src/config/load.ts';
import { openEmbedded } from '../src/embedded.ts';
import { Admission } from '../src/server/admission.ts';
import { Metrics } from '../src/server/metrics.ts';
import { CLUSTER, countingRandom, KEYS, pause } from './support/backup.ts';
import { openSite, pass } from './support/backup-node.ts';
import { FakeService } from './support/fake-service.ts';
import type { History } from './support/restored.ts';
import { makeHistory } from './support/restored.ts';
import { run } from './support/run-cli.ts';
import { nextTurn } from './support/until.ts';

const SEED = Number(process.env.HOLDFAST_TEST_SEED ?? 41);
const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
const SCRATCH = '/scratch';
const sealing = { keys: NO_KEYS, compression: 'none' as const, random: countingRandom() };

/** The node says what a test wants; the rest is what ships. */
function optionsFor(history: History, changes: Partial<RestoreTestOptions> = {}) {
  const fileSystem = new MemoryFileSystem();
  fileSystem.makeDirectory(SCRATCH);
  const clock = new VirtualClock();
  let count = 0;
  const vectorCount = must(history.rowsAt.get(history.lastIndex)).size;
  const served = { name: 'docs', uid: 2, dimension: 8, metric: 'l2', shardCount: 2, vectorCount };
  const options: RestoreTestOptions = {
    store: { sink: history.sink, sealing, hasher: createEntryHasher() },
    ...{ clusterId: history.manifest.clusterId, backupId: null, group: DEFAULT_GROUP_ID },
    ...{ fileSystem, scratchDirectory: SCRATCH, clock, pause, by: 'a test' },
    mintHexId: () => String(++count).padStart(32, '0'),
    openNode: async () => ({
      collections: async () => ({
        appliedIndex: history.lastIndex + 1,
        collections: [{ ...served, digest: 'ab' }],
      }),
      stateDigest: async () => ({ digest: 'cd', appliedIndex: history.lastIndex + 1 }),
      close: async () => undefined,
    }),
    ...changes,
  };
  return { options, fileSystem };
}

t.test('a backup that can be restored is good, and nothing is left of the try', async (t) => {
  const history = await makeHistory(SEED, 12);
  const { fileSystem, options } = optionsFor(history);
  const keys = history.sink.keys;
  const steps: string[] = [];
  const onStep = ({ kind }: { readonly kind: string }): void => void steps.push(kind);
  const result = await testRestore({ ...options, onStep });
  const { backupId } = history.manifest;
  t.match(result, { failure: null, backupId, lastIndex: history.lastIndex, digest: 'cd' });
  t.ok((result.entryCount ?? 0) > 0, 'the archive behind the backup was replayed');
  t.same([...new Set(steps)], ['room', 'files', 'entries', 'done', 'compare', 'open']);
  t.same(fileSystem.list(SCRATCH), []);
  t.same(history.sink.keys, keys, 'nothing was written to the store');
});

t.test('whatever goes wrong is the result, and the place is clean again', async (t) => {
  const history = await makeHistory(SEED + 1, 8);
  for (let number = 1; ; number++) {
    const { fileSystem, options } = optionsFor(history);
    const heal = history.sink.failOperation(number);
    const { failure } = await testRestore(options);
    heal();
    t.same(fileSystem.list(SCRATCH), [], `operation ${number}`);
    if (failure === null) break;
    t.equal(failure.code, 'SINK_UNAVAILABLE');
  }
  const { backupId, clusterId } = history.manifest;
  const cramped = optionsFor(history);
  cramped.fileSystem.capacityBytes = 100 * 1024 * 1024;
  const noRoom = await testRestore(cramped.options);
  t.match(noRoom.failure, { code: 'DISK_FULL', message: /needs \d+ bytes in \/scratch, and may/ });
  t.same(cramped.fileSystem.list(SCRATCH), []);
  const behind = optionsFor(history, {
    openNode: async () => ({
      collections: async () => ({ appliedIndex: 3, collections: [] }),
      stateDigest: async () => ({ digest: '', appliedIndex: 3 }),
      close: async () => undefined,
    }),
  });
  const short = await testRestore(behind.options);
  t.match(short, { backupId, failure: { message: /stands at index 3, its log ends at/ } });
  const dead = optionsFor(history, { openNode: () => Promise.reject(new Error('no ports')) });
  t.match(await testRestore(dead.options), { failure: { code: 'INTERNAL', message: 'no ports' } });
  t.same(dead.fileSystem.list(SCRATCH), []);
  const none = optionsFor(history, { backupId: '00000000-dead-4000-8000-000000000000' });
  t.match(await testRestore(none.options), { clusterId, failure: { code: 'BACKUP_NOT_FOUND' } });
});

t.test('counts and digests that are not those of the manifest are refused by name', async (t) => {
  const docs = { name: 'docs', uid: 2, vectorCount: 5, digest: 'ab' };
  const more = { name: 'more', uid: 9, vectorCount: 1, digest: 'cd' };
  refuseOthers('b', 'index 4', [docs, more], [more, docs]);
  const wrong = [
    [[docs], [{ ...docs, vectorCount: 4 }], /collection docs should be 5 .* is 4 vectors/],
    [[docs], [{ ...docs, digest: 'ac' }], /collection docs should be .* digest ab, .* digest ac/],
    [[docs, more], [docs], /collection more should be .*, and is not there/],
    [[docs], [docs, more], /collection more should be not there/],
  ] as const;
  for (const [expected, actual, message] of wrong) {
    const compare = () => refuseOthers('b', 'index 4', expected, actual);
    t.throws(compare, { code: 'BACKUP_CORRUPT', message });
  }
});

t.test('results are kept in the store, the oldest go, and a bad one says so', async (t) => {
  const { sinks } = await openSite();
  const sink = must(sinks[0]);
  const place = { sink, clusterId: CLUSTER, sealing: { ...sealing, keys: KEYS } };
  const good: RestoreTestResult = {
    ...{ ...NOTHING_KNOWN, clusterId: CLUSTER, startedMs: 0, failure: null },
    ...{ backupId: '0b1c2d3e-0000', timeline: 'main', vectorCount: 7, by: 'node n1' },
  };
  for (let i = 0; i < RESTORE_TEST_COUNT_MAX + 3; i++) {
    await storeRestoreTest(place, { ...good, startedMs: 1_000 * i });
  }
  const kept = await listRestoreTests(place);
  t.equal(kept.length, RESTORE_TEST_COUNT_MAX);
  t.strictSame(kept.at(-1), { ...good, startedMs: 3_000 });
  await storeRestoreTest(place, { ...good, startedMs: 402_000, by: 'node n2' });
  const [twin] = await listRestoreTests(place, 1);
  t.equal(twin?.by, 'node n2', 'two of one moment are both kept');
  sink.tamper(restoreTestKey(CLUSTER, 402_001), new Uint8Array(200));
  t.match(await listRestoreTests(place, 2), [
    { startedMs: 402_001, failure: { code: 'BACKUP_CORRUPT' } },
    { startedMs: 402_000, failure: null },
  ]);
});

t.test(
  'the leader tries the newest backup on its schedule and keeps what came of it',
  async (t) => {
    const site = await openSite();
    const outcomes: RestoreTestResult['failure'][] = [
      null,
      { code: 'DISK_FULL', message: 'no room for it' },
      { code: 'A_CODE_OF_LATER', message: 'something new' },
    ];
    let count = 0;
    const restoreTester: RestoreTester = {
      async test({ clusterId, sink }) {
        t.equal(sink, 'memory');
        const failure = outcomes[count] ?? null;
        count += 1;
        const startedMs = site.maker.clock.wallMs();
        return { ...NOTHING_KNOWN, clusterId, startedMs, failure, by: 'node n1' };
      },
    };
    const verification = parseSchedule('0 4 * * *');
    const schedules = { full: null, incremental: null, verification };
    const first = site.node('n1', { schedules, restoreTester });
    await first.create({ type: 'full' });
    first.setLeading(true);
    await pass(site, SETTLE_MS);
    t.equal(count, 0, 'not before its time');
    await pass(site, 8 * 3_600_000);
    t.equal(count, 1);
    const taskOf = (backup: typeof first) => must(backup.status().schedule[0]);
    const last = taskOf(first).lastMs;
    t.match(taskOf(first), { failuresInARow: 0, lastError: null });
    first.setLeading(false);
    const second = site.node('n2', { schedules, restoreTester });
    second.setLeading(true);
    await pass(site, SETTLE_MS);
    t.equal(count, 1, 'another leader knows of it');
    t.equal(taskOf(second).lastMs, last);
    await pass(site, DAY_MS - 2 * 60 * MINUTE_MS - 14 * MINUTE_MS);
    t.equal(count, 2, 'a day later');
    t.match(taskOf(second), { failuresInARow: 1, lastError: { code: 'DISK_FULL' } });
    await pass(site, MINUTE_MS);
    t.equal(count, 3, 'a failed one is repeated');
    t.match(taskOf(second), { failuresInARow: 2, lastError: { code: 'INTERNAL' } });
    const service = new FakeService();
    service.backup = second;
    const admission = new Admission({ maxConnections: 1, inflightRequestCountMax: 1 } as never);
    const metrics = new Metrics({ service, admission, hasProcessMetrics: false });
    t.match(await metrics.text(), /^holdfast_restore_test_failed\{sink="memory"\} 1$/m);
    await pass(site, 5 * MINUTE_MS);
    t.equal(count, 4);
    t.match(await metrics.text(), /^holdfast_restore_test_failed\{sink="memory"\} 0$/m);
    const results = await second.restoreTests();
    t.same(
      results.map(({ failure }) => failure?.code ?? 'good'),
      ['good', 'A_CODE_OF_LATER', 'DISK_FULL', 'good'],
    );
    await Promise.all([first.stop(), second.stop()]);
  },
);

t.test('the command restores a backup into a node that nobody sees, and tells', async (t) => {
  const place = t.testdir({ store: {}, scratch: {} });
  const [store, scratch] = [join(place, 'store'), join(place, 'scratch')];
  mkdirSync(join(place, 'data'), { recursive: true });
  const settings = {
    ...{ laneCount: '1', backupSinks: pathToFileURL(store).href, backupFullSchedule: 'off' },
    ...{ backupIncrementalSchedule: 'off', backupVerifySchedule: 'off' },
  };
  const client = await openEmbedded({
    ...{ dataDir: join(place, 'data', 'node'), settings, logger: SILENT_LOGGER },
  });
  t.teardown(() => client.close());
  await client.createCollection({ name: 'docs', dimension: 4, metric: 'l2' });
  const docs = client.collection('docs');
  const point = (id: number) => ({ id, vector: Float32Array.from([id, 1, 2, 3]) });
  await docs.upsert(Array.from({ length: 50 }, (_row, id) => point(id)));
  const made = await run('backup', 'create', '--full', '--nodes', client.address);
  t.equal(made.code, 0, made.err);
  await docs.upsert(Array.from({ length: 20 }, (_row, id) => point(100 + id)));
  await archived(client.address);
  const verify = (...flags: string[]) =>
    run('backup', 'verify', '--from', store, '--scratch', scratch, ...flags);
  const good = await verify('--restore', '--json');
  t.equal(good.code, 0, good.err + good.out);
  const result = JSON.parse(good.out) as RestoreTestResult;
  t.match(result, { failure: null, vectorCount: 70, collectionCount: 1 });
  t.ok((result.entryCount ?? 0) > 0);
  t.same(readdirSync(scratch), [], 'it cleans up');
  const own = await page(client.address, '/api/v1/collections/docs');
  t.match(own, { name: 'docs', vectorCount: 70 });
  await t.test('an empty node that is told of the store begins with what is there', (t) =>
    beginsWithStore(t, place, store),
  );
  const chain = await run('backup', 'verify-log', '--from', store);
  t.match(chain, { code: 0, out: /the chain is whole/ });
  const name = readdirSync(store).find((entry) => !entry.startsWith('.'));
  const files = join(store, must(name), 'files');
  const [file] = readdirSync(files);
  const path = join(files, must(file));
  const bytes = readFileSync(path);
  writeFileSync(
    path,
    Buffer.from(bytes.map((byte, i) => (i === bytes.length - 60 ? ~byte : byte))),
  );
  const bad = await verify('--restore');
  t.match(bad, { code: 1, out: /FAILED BACKUP_CORRUPT: / });
  t.same(readdirSync(scratch), []);
  writeFileSync(path, bytes);
  const results = await verify('--results');
  t.equal(results.code, 1, 'the newest was bad');
  t.match(
    results.out,
    /FAILED BACKUP_CORRUPT: .*\n.* good: \d+ entries replayed to index \d+, 70 v/,
  );
  const tests = await page(client.address, '/api/v1/admin/backups/restore-tests');
  t.equal((tests as { tests: unknown[] }).tests.length, 2);
});

/** 70 rows, 50 of them in the backup. */
async function beginsWithStore(t: Test, place: string, store: string): Promise<void> {
  const dataDir = join(place, 'solo');
  const settings = {
    ...{ data: dataDir, nodeId: 'solo', restoreFrom: pathToFileURL(store).href, laneCount: '1' },
    ...{ listen: '127.0.0.1:0', peerListen: '127.0.0.1:0', electionTimeoutMs: '100' },
    heartbeatIntervalMs: '20',
  };
  const config = loadConfig({ environment: {}, flags: settings });
  const options = { logger: SILENT_LOGGER, hasProcessMetrics: false };
  for (const what of ['restored', 'started again']) {
    const node = await startNode(config, options);
    const { public: address } = node.addresses;
    while (((await page(address, '/health')) as { status: string }).status !== 'ok')
      await nextTurn();
    t.match(await page(address, '/api/v1/collections/docs'), { vectorCount: 70 }, what);
    const plan = join(dataDir, RESTORE_PLAN_FILE_NAME);
    const flags = ['--plan', plan, '--from', store, '--nodes', address];
    const verified = await run('restore', 'verify', ...flags);
    t.equal(verified.code, 0, verified.out + verified.err);
    t.match(verified.out, /collection docs: 50 in the backup, 70 now: different/);
    const replayed = await run('restore', 'verify', ...flags, '--replay', '--scratch', place);
    t.equal(replayed.code, 0, replayed.out + replayed.err);
    t.match(replayed.out, /collection docs: 70 replayed, 70 now: equal, digests too/);
    t.same(
      readdirSync(place).filter((name) => name.startsWith('holdfast-verify')),
      [],
    );
    if (what === 'started again') {
      const client = await HoldfastClient.connect({ nodes: [address] });
      await client.collection('docs').upsert([{ id: 7_000, vector: new Float32Array(4) }]);
      await client.close();
      const changed = await run('restore', 'verify', ...flags, '--replay', '--scratch', place);
      t.match(changed, { code: 1, out: /WRONG: collection docs: 70 replayed, 71 now/ });
    }
    t.match((await run('restore', 'status', '--nodes', address)).out, /: restored .*from backup/);
    await node.stop();
  }
  t.match(await run('restore', 'status', '--data-dir', dataDir), { code: 0, out: /70|restored/ });
}

async function page(address: string, path: string): Promise<unknown> {
  const response = await fetch(`http://${address}${path}`, { headers: { connection: 'close' } });
  return response.json();
}

/** Everything that is committed is in the store. */
async function archived(address: string): Promise<void> {
  for (;;) {
    const status = (await page(address, '/api/v1/admin/log')) as {
      readonly committedIndex: number;
      readonly archive: readonly { readonly archivedIndex: number | null }[];
    };
    const { archivedIndex } = must(status.archive[0]);
    if (archivedIndex !== null && archivedIndex >= status.committedIndex) return;
    await nextTurn();
  }
}

t.test('how long a restore will take is told from the last one that was tried', async (t) => {
  const size = { sizeBytes: 100_000_000, entryCount: 0 };
  const tried = { durationMs: 11_000, sizeBytes: 50_000_000, entryCount: 0 };
  t.equal(estimateRestoreMs(size, tried), 21_000);
  t.equal(estimateRestoreMs(size, null), 3_000);
  t.equal(estimateRestoreMs({ sizeBytes: 0, entryCount: 20_000 }, null), 2_000);
  t.equal(estimateRestoreMs(size, { ...tried, sizeBytes: 0 }) > 1e6, true, 'and never endless');
});
