/**
 * Goal: what operators and their tools ask of a node has one honest answer each. Method: routes
 * over a service that a test decides, and over backups in memory; a tar file unpacked by tar.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { nodeId, SILENT_LOGGER } from '@holdfast/base';
import { NO_KEYS } from '@holdfast/storage';
import t, { type Test } from 'tap';
import type { NodeBackup } from '../src/backup/node-backup.ts';
import { Admission } from '../src/server/admission.ts';
import { ApiKeyGuard } from '../src/server/api-key.ts';
import { createHttpRoutes } from '../src/server/http-routes.ts';
import { Metrics } from '../src/server/metrics.ts';
import { type SloFacts, sloReport } from '../src/server/slo.ts';
import type { NodeService } from '../src/service-api.ts';
import { SimCluster } from '../src/testing/sim-cluster.ts';
import { openSite } from './support/backup-node.ts';
import { FakeService } from './support/fake-service.ts';
import { run } from './support/run-cli.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

function pagesOf(backup: NodeBackup | null, nowMs: () => number = () => 0) {
  const service = new FakeService();
  service.backup = backup;
  return { ...pagesOver(service, nowMs), service };
}

function pagesOver(service: NodeService, nowMs: () => number = () => 0) {
  const admission = new Admission({ maxConnections: 1, inflightRequestCountMax: 1 } as never);
  const metrics = new Metrics({ service, admission, hasProcessMetrics: false });
  const guard = new ApiKeyGuard(null);
  const clock = { monotonicMs: nowMs, wallMs: nowMs };
  const app = createHttpRoutes({ service, guard, metrics, logger: SILENT_LOGGER, clock });
  const ask = async (method: string, path: string, body?: unknown) => {
    const text = body === undefined ? {} : { body: JSON.stringify(body) };
    const response = await app.request(path, { method, ...text });
    return { status: response.status, body: JSON.parse(await response.text()) };
  };
  return { app, ask };
}

t.test('a tier of recovery is met when nothing speaks against it, and not by hope', async (t) => {
  const best: SloFacts = {
    ...{ activePeerCount: 2, peerCount: 2, archiveLagMs: 400, backupAgeMs: 3 * HOUR_MS },
    restoreMs: 2 * MINUTE_MS,
  };
  t.match(sloReport(best), { metTier: 'T1', rpoMs: 400, rtoMs: 2 * MINUTE_MS });
  const cases: readonly (readonly [Partial<SloFacts>, string | null, RegExp])[] = [
    [{ activePeerCount: 1 }, 'T2', /1 of 2 other replicas/],
    [{ peerCount: 0, activePeerCount: 0 }, 'T2', /three nodes/],
    [{ archiveLagMs: 2 * MINUTE_MS }, 'T2', /is 120 s old/],
    [{ archiveLagMs: null, backupAgeMs: 50 * MINUTE_MS }, 'T3', /is 3000 s old/],
    [{ archiveLagMs: null }, 'T4', /is 10800 s old/],
    [{ archiveLagMs: null, backupAgeMs: 25 * HOUR_MS }, null, /is 90000 s old/],
    [{ backupAgeMs: null }, null, /no backup is known/],
    [{ restoreMs: null }, null, /backup verify --restore/],
    [{ restoreMs: 40 * MINUTE_MS }, 'T3', /took 2400 s/],
    [{ restoreMs: 9 * HOUR_MS }, null, /took 32400 s/],
  ];
  for (const [change, metTier, reason] of cases) {
    const report = sloReport({ ...best, ...change });
    t.equal(report.metTier, metTier, JSON.stringify(change));
    t.match(report.tiers[0]?.missing.join('; '), reason);
    const isMet = report.tiers.map((tier) => tier.isMet);
    t.same(isMet, [...isMet].sort(), 'who meets a tier meets those after it');
  }
});

t.test('the leader says which tiers are met, and nobody else guesses', async (t) => {
  const site = await openSite();
  const backup = site.node('n1');
  const { ask, service } = pagesOf(backup, () => site.maker.clock.wallMs());
  t.match(await ask('GET', '/api/v1/admin/slo'), { status: 200, body: { metTier: null } });
  await backup.create({ type: 'full' });
  backup.setLeading(true);
  site.maker.clock.advance(10_000);
  const { body } = await ask('GET', '/api/v1/admin/slo');
  t.match(body, { backupAgeMs: 10_000, archiveLagMs: null, restoreMs: null, peerCount: 1 });
  service.statusPatch = { role: 'follower', leader: nodeId('n7') };
  const other = await ask('GET', '/api/v1/admin/slo');
  t.match(other, { status: 503, body: { error: { code: 'NOT_LEADER', message: /ask n7/ } } });
  await backup.stop();
});

t.test('health and failovers have pages under the names of the interface', async (t) => {
  const { app, ask, service } = pagesOf(null);
  t.match(await ask('GET', '/api/v1/health'), { status: 200, body: { status: 'ok' } });
  service.statusPatch = { leader: null };
  t.equal((await app.request('/api/v1/health')).status, 503);
  t.same((await ask('GET', '/api/v1/admin/failover/events')).body, { events: [] });
  const event = { step: 'elected', term: 3, leader: nodeId('n2'), sinceDetectedMs: 210, atMs: 5 };
  service.failovers_ = [event as never];
  t.match((await ask('GET', '/api/v1/admin/failover/events')).body, { events: [event] });
});

t.test('collections have the counts that a backup is compared with', async (t) => {
  const { ask, service } = pagesOf(null);
  const docs = {
    ...{ name: 'docs', uid: 4, dimension: 8, metric: 'l2', shardCount: 2, vectorCount: 77 },
    digest: 'ab',
  };
  service.collectionStates_ = { appliedIndex: 9, collections: [docs] };
  t.match(await ask('GET', '/api/v1/collections'), {
    body: { appliedIndex: 9, collections: [docs] },
  });
  t.match(await ask('GET', '/api/v1/collections/docs'), { body: { ...docs, appliedIndex: 9 } });
  for (const base of ['', '/qdrant']) {
    const one = await ask('GET', `${base}/collections/docs`);
    t.match(one.body, { status: 'ok', result: { points_count: 77, vectors_count: 77 } });
    const all = await ask('GET', `${base}/collections`);
    t.match(all.body, { result: { collections: [{ name: 'docs' }] } });
    t.match(await ask('GET', `${base}/collections/none`), {
      status: 404,
      body: { error: { code: 'COLLECTION_NOT_FOUND' } },
    });
  }
});

/** `dataDir` holds a node, and is replaced only on demand, once per plan, and kept. */
async function replacesInPlace(t: Test, flags: readonly string[], dataDir: string): Promise<void> {
  const secretPath = join(dataDir, 'cluster.secret');
  writeFileSync(secretPath, 'a secret of some length'.replaceAll(' ', '-'));
  const again = (...more: readonly string[]) =>
    run('restore', 'run', ...flags, '--data-dir', dataDir, ...more);
  t.match(await again(), { code: 1, err: /DATA_DIR_FOREIGN|restore into an empty directory/ });
  const replaced = await again('--replace');
  t.match(replaced, { code: 0, out: /before is in .*data\.before-[0-9a-f]{16}; nothing/ });
  const aside = /is in (\S+);/.exec(replaced.out)?.[1] ?? '';
  const identityOf = (path: string): string => readFileSync(join(path, 'identity.json'), 'utf8');
  t.equal(identityOf(aside), identityOf(dataDir), 'it was the same node');
  t.match(readFileSync(secretPath, 'utf8'), /^a-secret-of-some-length$/m);
  const third = await again('--replace');
  t.match(third, { code: 0, out: /laid by an earlier call\n.*nothing of it was removed/ });
  t.match(await run('restore', 'status', '--data-dir', dataDir), { code: 0, out: /: restored / });
}

t.test('a snapshot is a backup, and its name a tar file that can be restored from', async (t) => {
  const site = await openSite();
  // As a store without keys: the command is to read it without them.
  const backup = site.node('n1', { keys: NO_KEYS });
  const { app, ask, service } = pagesOf(backup);
  const made = await ask('POST', '/qdrant/snapshots');
  t.match(made, { status: 200, body: { status: 'ok', result: { store: 'memory' } } });
  const { name } = made.body.result as { name: string };
  t.match(name, /^[0-9a-f-]{36}\.tar$/);
  const download = await app.request(`/qdrant/snapshots/${name}`);
  t.equal(download.headers.get('content-type'), 'application/x-tar');
  const directory = t.testdir({ store: {} });
  const tarFile = join(directory, name);
  writeFileSync(tarFile, Buffer.from(await download.arrayBuffer()));
  execFileSync('tar', ['-xf', tarFile, '-C', join(directory, 'store')]);
  const verified = await run('backup', 'verify', '--from', join(directory, 'store'));
  t.equal(verified.code, 0, verified.err);
  t.match(verified.out, /objects, good\n/);
  const plan = await run(
    ...['restore', 'plan', '--from', join(directory, 'store'), '--dry-run'],
    ...['--member', 'n1=127.0.0.1:7201'],
  );
  t.match(plan, { code: 0, out: /from backup .*20 vectors\), and 0 entries/ });
  t.match(plan.out, /estimated time: \d+ s \(assumed\)\n/);
  const planPath = join(directory, 'plan.json');
  const from = ['--from', join(directory, 'store'), '--plan', planPath];
  t.equal((await run('restore', 'plan', ...from, '--member', 'n1=127.0.0.1:7201')).code, 0);
  const dataDir = join(directory, 'data');
  const laid = await run('restore', 'run', ...from, '--node-id', 'n1', '--data-dir', dataDir);
  t.match(laid, {
    code: 0,
    out: /node n1 at index \d+, 0 entries/,
    err: /100 % {2}\d+ of \d+ files/,
  });
  await replacesInPlace(t, [...from, '--node-id', 'n1'], dataDir);
  const backups = await ask('GET', '/api/v1/admin/backups');
  const shown = { backupId: name.replace('.tar', ''), vectorCount: 20 };
  t.match(backups.body.sinks, [{ sink: 'memory', backups: [shown] }]);
  t.ok(
    backups.body.sinks[0].backups[0].createdMs > 0 &&
      backups.body.sinks[0].backups[0].sizeBytes > 0,
  );
  const listed = await run('backup', 'list', '--from', join(directory, 'store'));
  t.match(listed.out, new RegExp(`${shown.backupId} .* 20 vectors  \\d+ bytes`));
  const list = await ask('GET', '/qdrant/snapshots');
  t.match(list.body.result, [{ name, store: 'memory', vectors_count: 20 }]);
  t.equal((await app.request('/qdrant/snapshots/none.tar')).status, 404);
  t.equal((await app.request(`/qdrant/snapshots/${'0'.repeat(36)}.tar`)).status, 404);
  t.equal((await ask('POST', '/qdrant/collections/docs/snapshots')).status, 404, 'no such one');
  service.collectionStates_ = { appliedIndex: 1, collections: [{ name: 'docs' } as never] };
  t.equal((await ask('POST', '/qdrant/collections/docs/snapshots')).status, 200);
  await backup.stop();
});

t.test('the status counts the points of its digest, also right after a write', async (t) => {
  const cluster = new SimCluster({ nodeCount: 1, seed: 5 });
  await cluster.start();
  const leader = await cluster.leader();
  const shape = { dimension: 2, metric: 'l2', shardCount: 2 } as const;
  await cluster.execute(leader, { id: 1, kind: 'createCollection', name: 'docs', ...shape });
  const { ask } = pagesOver(leader.node.service);
  const page = () => cluster.scheduler.resolve(ask('GET', '/api/v1/cluster/status'));
  t.match(await page(), { body: { rows: { live: 0 } } });
  const points = [1, 2, 3].map((id) => ({ id, vector: Float32Array.from([id, 0]) }));
  await cluster.execute(leader, { id: 2, kind: 'upsert', collection: 'docs', points });
  const { appliedIndex } = leader.node.replica.applier;
  t.match(await page(), { body: { rows: { live: 3 }, stateDigest: { appliedIndex } } });
});
