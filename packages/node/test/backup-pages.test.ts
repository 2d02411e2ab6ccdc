/**
 * Goal: retention and schedules can be asked for and seen over HTTP and at the command line.
 * Method: routes over a node with stores in memory; commands over a folder and the same routes.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pathToFileURL } from 'node:url';
import { SeededRandom, SILENT_LOGGER } from '@holdfast/base';
import { NO_KEYS } from '@holdfast/storage';
import { getRequestListener } from '@hono/node-server';
import t from 'tap';
import { SETTLE_MS } from '../src/backup/backup-scheduler.ts';
import type { NodeBackup } from '../src/backup/node-backup.ts';
import { openSink } from '../src/backup/sinks/open-sink.ts';
import { RETRY_POLICY_DEFAULT } from '../src/backup/sinks/sink-retry.ts';
import { Admission } from '../src/server/admission.ts';
import { ApiKeyGuard } from '../src/server/api-key.ts';
import { createHttpRoutes } from '../src/server/http-routes.ts';
import { Metrics } from '../src/server/metrics.ts';
import { SYSTEM_CLOCK, SYSTEM_TIMERS } from '../src/system-time.ts';
import { CLUSTER } from './support/backup.ts';
import { openSite, pass } from './support/backup-node.ts';
import { FakeService } from './support/fake-service.ts';
import { run } from './support/run-cli.ts';

const DAY_MS = 86_400_000;

function routesOf(backup: NodeBackup) {
  const service = new FakeService();
  service.backup = backup;
  const admission = new Admission({ maxConnections: 1, inflightRequestCountMax: 1 } as never);
  const metrics = new Metrics({ service, admission, hasProcessMetrics: false });
  const guard = new ApiKeyGuard(null);
  return createHttpRoutes({
    ...{ service, guard, metrics, logger: SILENT_LOGGER, nowMs: Date.now },
  });
}

async function makeDaily(
  site: Awaited<ReturnType<typeof openSite>>,
  backup: NodeBackup,
  days: number,
) {
  for (let day = 0; day < days; day++) {
    await site.maker.write(5);
    await backup.create({ type: 'full' });
    site.maker.clock.advance(DAY_MS);
  }
}

t.test('old backups are removed over HTTP, and the answer says which', async (t) => {
  const site = await openSite();
  const backup = site.node('n1');
  await makeDaily(site, backup, 6);
  const app = routesOf(backup);
  const ask = async (body: unknown) => {
    const text = JSON.stringify(body);
    const path = '/api/v1/admin/backups/prune';
    const response = await app.request(path, { method: 'POST', body: text });
    return { status: response.status, body: JSON.parse(await response.text()) };
  };
  const dry = await ask({ retentionDays: 4, isDryRun: true });
  t.equal(dry.status, 200);
  t.equal(dry.body.sinks[0].removedBackups.length, 2);
  t.equal((await backup.list())[0]?.backups.length, 6, 'a question removes nothing');
  const done = await ask({ retentionDays: 4 });
  t.match(done.body.sinks, [{ kind: 'success', sink: 'memory', blockedBy: [] }]);
  t.equal((await backup.list())[0]?.backups.length, 4);
  for (const body of [{ retentionDays: 0 }, { retentionDays: 1.5 }, { days: 3 }, 'x']) {
    const refused = await ask(body);
    t.equal(refused.status, 400, JSON.stringify(body));
    t.equal(refused.body.error.code, 'REQUEST_INVALID');
  }
  await backup.stop();
});

t.test('the command shows what runs next', async (t) => {
  const site = await openSite();
  const backup = site.node('n1');
  const server = createServer(getRequestListener(routesOf(backup).fetch));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const nodes = ['--nodes', `127.0.0.1:${port}`];
  const before = await run('backup', 'status', ...nodes);
  t.equal(before.code, 0, before.err);
  t.match(before.out, /full \(0 2 \* \* \*\) to memory: next by the leader/);
  const heal = site.sinks[0]?.fail({ operation: 'list', times: Number.POSITIVE_INFINITY });
  backup.setLeading(true);
  await pass(site, SETTLE_MS);
  t.match((await run('backup', 'status', ...nodes)).out, /FAILED 1 times: list of/);
  heal?.();
  await pass(site, 60_000);
  const after = (await run('backup', 'status', ...nodes)).out;
  t.match(after, /full .* next 2023-11-15T02:00:00.000Z, last 2023-11-14T22:14:50.000Z\n/);
  t.match(after, /verification .* next 2023-11-19T04:00:00.000Z/);
  await backup.stop();
});

t.test(
  'the command removes old backups of a folder, after it was asked what would go',
  async (t) => {
    const folder = t.testdir();
    const url = pathToFileURL(folder).href;
    const seams = { clock: SYSTEM_CLOCK, timers: SYSTEM_TIMERS, random: new SeededRandom(1) };
    const sink = await openSink(url, {}, { ...seams, retryPolicy: RETRY_POLICY_DEFAULT });
    const site = await openSite();
    // Long ago, so that the clock of the machine finds all of them old.
    const backup = site.node('n1', { sinks: [sink], keys: NO_KEYS });
    await makeDaily(site, backup, 5);
    const prune = (...flags: string[]) => run('backup', 'prune', '--from', folder, ...flags);
    const dry = await prune('--dry-run', '--retention-days', '7');
    t.equal(dry.code, 0, dry.err);
    t.match(dry.out, /would go: 2 backups, /);
    t.equal((await backup.list())[0]?.backups.length, 5);
    const done = await prune('--retention-days', '7', '--cluster', CLUSTER);
    t.match(done.out, /removed: 2 backups, 0 files, 0 chunks of the log\n/, 'files stay for a day');
    t.equal((await backup.list())[0]?.backups.length, 3);
    for (const days of ['0', '-1', 'x', '1.5']) {
      const refused = await prune(`--retention-days=${days}`);
      t.equal(refused.code, 2, refused.err);
      t.match(refused.err, /--retention-days: must be an integer from 1/);
    }
    t.equal((await run('backup', 'prune')).code, 2, 'no store was named');
    await backup.stop();
    await sink.close();
  },
);
