/**
 * Goal: pages about scrubs and recoveries answer as they say, refuse what is wrong with a typed
 * error, and are closed to whoever has no key.
 * Method: the routes over a service that the test controls.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { SILENT_LOGGER } from '@holdfast/base';
import { WAL_WRITES_FINE } from '@holdfast/storage';
import { getRequestListener } from '@hono/node-server';
import t from 'tap';
import type { BreakerStatus, CareService, CareSettings, CareStatus } from '../src/heal/care-api.ts';
import type { ScrubReport } from '../src/heal/scrub-report.ts';
import { Admission } from '../src/server/admission.ts';
import { ApiKeyGuard } from '../src/server/api-key.ts';
import { createHttpRoutes } from '../src/server/http-routes.ts';
import { Metrics } from '../src/server/metrics.ts';
import { SYSTEM_CLOCK } from '../src/system-time.ts';
import { FakeService } from './support/fake-service.ts';
import { run } from './support/run-cli.ts';

const KEY = 'correct-horse-battery';
const REPORT: ScrubReport = {
  ...{ startedAtMs: 1, endedAtMs: 2, durationMs: 1, isComplete: true },
  totals: { files: 1, flaws: 1 },
  ...{ groups: [], damaged: [] },
  files: [{ path: 'CHECKPOINT', kind: 'root', state: 'damaged', expected: null, actual: null }],
};

class FakeCare implements CareService {
  settings: CareSettings = {
    ...{ scrubIntervalMs: 1_000, scrubThrottleMbps: 100, isAutoRecoveryEnabled: true },
    ...{ recoveryConcurrencyMax: 3, repairRetryCountMax: 3 },
  };
  checkCount = 0;

  status(): CareStatus {
    return {
      ...{ isScrubbing: false, settings: this.settings, newest: REPORT },
      totals: { passes: 4, bytesRead: 5_000, flawsFound: 6 },
      recoveries: {
        ...{ totalFailuresDetected: 3, successfulRecoveries: 2, escalated: 1, avgRtoSeconds: 0.5 },
        overdue: 0,
        ...{ rtoComplianceRate: 1, successRate: 0.66, waiting: 0, running: 0, parked: 1 },
        actions: [{ name: 'copyBlocks', attempts: 3, successes: 2, durationMsTotal: 9 }],
        causes: [{ type: 'corruption', found: 3, recovered: 2, escalated: 1 }],
      },
      unrecovered: ['collections/1/0/segment-00000001.seg'],
    };
  }

  events(sinceNumber: number) {
    const event = { wallMs: 1, key: 'a', type: 'corruption', priority: 0 } as const;
    const facts = { tookMs: 1_500 };
    const kinds = ['found', 'started', 'recovered'] as const;
    const all = kinds.map((kind, i) => ({ ...event, number: i + 1, kind, facts }));
    return all.filter(({ number }) => number > sinceNumber);
  }

  workers() {
    const unknown = { place: null, cpuShare: null, residentSizeBytes: null, restarts: 0 } as const;
    const one = { ...unknown, heapUsedSizeBytes: null, hasMoved: true };
    return [
      { ...one, name: 'process', kind: 'process', state: 'up', eventLoopDelayMs: 250 },
      { ...one, name: 'lane 0', kind: 'lane', state: 'down', eventLoopDelayMs: null },
    ] as const;
  }

  probeCount = 0;
  breaker: BreakerStatus = { name: 'wal', ...WAL_WRITES_FINE, state: 'open', type: 'io_error' };
  /** What a probe comes to. */
  afterProbe: BreakerStatus = this.breaker;

  breakers() {
    return [this.breaker];
  }

  probeBreaker() {
    this.probeCount += 1;
    const before = this.breaker;
    this.breaker = this.afterProbe;
    return before;
  }

  operations() {
    return { count: 3, oldest: [] };
  }

  check(): Promise<ScrubReport> {
    this.checkCount += 1;
    return Promise.resolve(REPORT);
  }

  recover(): void {}

  configure(settings: Partial<CareSettings>): void {
    this.settings = { ...this.settings, ...settings };
  }
}

function world(care: CareService | null = new FakeCare()) {
  const service = new FakeService();
  service.care = care;
  const admission = new Admission({ maxConnections: 1, inflightRequestCountMax: 1 } as never);
  const metrics = new Metrics({ service, admission, hasProcessMetrics: false });
  const guard = new ApiKeyGuard(KEY);
  const app = createHttpRoutes({
    ...{ service, guard, metrics, clock: SYSTEM_CLOCK, logger: SILENT_LOGGER },
  });
  const ask = async (method: string, path: string, body?: unknown, key = KEY) => {
    const response = await app.request(path, {
      method,
      headers: { authorization: `Bearer ${key}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, text: await response.text() };
  };
  return { app, ask };
}

t.test(
  'the page of scrubs shows settings, the newest report and what is unrecovered',
  async (t) => {
    const { status, text } = await world().ask('GET', '/api/v1/admin/scrub');
    t.equal(status, 200);
    t.match(JSON.parse(text), {
      settings: { scrubThrottleMbps: 100 },
      newest: { isComplete: true },
    });
  },
);

t.test('without the key every page is closed', async (t) => {
  const { ask } = world();
  for (const [method, path] of [
    ['GET', '/api/v1/admin/scrub'],
    ['PUT', '/api/v1/admin/scrub'],
    ['POST', '/api/v1/admin/integrity-check'],
    ['GET', '/api/v1/admin/recovery'],
    ['GET', '/api/v1/admin/workers'],
    ['GET', '/api/v1/admin/operations'],
    ['POST', '/api/v1/admin/circuit-breakers/wal/reset'],
  ] as const) {
    t.equal((await ask(method, path, undefined, 'wrong')).status, 401, `${method} ${path}`);
  }
});

t.test(
  'settings change while the node runs; nonsense is refused and changes nothing',
  async (t) => {
    const care = new FakeCare();
    const { ask } = world(care);
    const changed = await ask('PUT', '/api/v1/admin/scrub', { scrubThrottleMbps: 7 });
    t.equal(changed.status, 200);
    t.equal(care.settings.scrubThrottleMbps, 7);
    for (const body of [
      { scrubThrottleMbps: -1 },
      { scrubSpeed: 1 },
      'no',
      { repairRetryCountMax: 0.5 },
    ]) {
      const { status, text } = await ask('PUT', '/api/v1/admin/scrub', body);
      t.equal(status, 400, JSON.stringify(body));
      t.equal(JSON.parse(text).error.code, 'REQUEST_INVALID');
    }
    t.equal(care.settings.scrubThrottleMbps, 7);
  },
);

t.test('an integrity check answers with a line per file, or at once', async (t) => {
  const care = new FakeCare();
  const { ask } = world(care);
  const sync = await ask('POST', '/api/v1/admin/integrity-check?mode=sync');
  t.match(JSON.parse(sync.text).files, [{ path: 'CHECKPOINT', state: 'damaged' }]);
  t.equal((await ask('POST', '/api/v1/admin/integrity-check?mode=async')).status, 202);
  t.equal(care.checkCount, 2);
  t.equal((await ask('POST', '/api/v1/admin/integrity-check?mode=other')).status, 400);
  t.match(JSON.parse((await ask('GET', '/api/v1/admin/integrity-check')).text), {
    isRunning: false,
  });
});

t.test('a breaker is asked to probe by its name, and others are refused by theirs', async (t) => {
  const care = new FakeCare();
  const { ask } = world(care);
  const reset = await ask('POST', '/api/v1/admin/circuit-breakers/wal/reset');
  t.equal(reset.status, 202);
  t.match(JSON.parse(reset.text), { before: { name: 'wal', state: 'open' }, isProbed: true });
  t.equal(care.probeCount, 1);
  const unknown = await ask('POST', '/api/v1/admin/circuit-breakers/disk/reset');
  t.equal(unknown.status, 400);
  t.match(JSON.parse(unknown.text).error.message, /no breaker is named 'disk'; there are: wal$/);
  t.equal(care.probeCount, 1);
  const { text } = await ask('GET', '/api/v1/admin/circuit-breakers');
  t.match(JSON.parse(text).breakers, [{ name: 'wal', state: 'open', type: 'io_error' }]);
});

t.test('the command says what its probe of a breaker came to', async (t) => {
  const care = new FakeCare();
  const server = createServer(getRequestListener(world(care).app.fetch));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const keyFile = join(t.testdir({ key: KEY }), 'key');
  const reset = (name: string) => {
    const flags = ['--name', name, '--nodes', address, '--api-key-file', keyFile];
    return run('admin', 'reset-circuit-breaker', ...flags);
  };
  care.afterProbe = { ...care.breaker, retries: 1 };
  const refused = await reset('wal');
  t.match(refused, { code: 1, out: /was open \(io_error\), .* the disk refused it/ });
  care.afterProbe = { ...care.breaker, state: 'closed', type: null, retries: 2 };
  t.match(await reset('wal'), { code: 0, out: /is closed: the disk took it/ });
  t.match(await reset('wal'), { code: 0, out: /wal is closed: there is nothing to try/ });
  t.match(await reset('disk'), { code: 1, out: '', err: /no breaker .* there are: wal/ });
});

t.test('events are given from a number on', async (t) => {
  const { ask } = world();
  const { text } = await ask('GET', '/api/v1/admin/recovery?since=2');
  t.match(JSON.parse(text), { stats: { parked: 1 }, events: [{ number: 3 }] });
  t.equal((await ask('GET', '/api/v1/admin/recovery?since=x')).status, 400);
});

t.test('the metrics have the names that alerts are written for', async (t) => {
  const { text } = await world().ask('GET', '/metrics');
  for (const line of [
    'holdfast_recovery_count_total 2',
    'holdfast_corruption_detected_total 3',
    'holdfast_corruption_repaired_total 2',
    'holdfast_rto_compliance_rate 1',
    'holdfast_recovery_unrecovered 1',
    'holdfast_recovery_duration_seconds_bucket{le="2",priority="P0"} 1',
    'holdfast_recovery_duration_seconds_bucket{le="1",priority="P0"} 0',
    'holdfast_recovery_overdue_total 0',
    'holdfast_failover_count_total 12',
    'holdfast_rollback_count_total 9',
    'holdfast_worker_up{worker="lane 0"} 0',
    'holdfast_event_loop_delay_seconds 0.25',
    'holdfast_operations_open 3',
    'holdfast_checkpoint_duration_seconds 1.5',
    'holdfast_checkpoint_size_bytes 4096',
    'holdfast_checkpoint_circuit_breaker_state{state="open"} 1',
    'holdfast_checkpoint_errors_total{type="disk_full"} 2',
    'holdfast_recovery_actions_total{action="copyBlocks",result="failed"} 1',
  ]) {
    t.ok(text.includes(line), line);
  }
});

t.test('recoveries are told by what they are about', async (t) => {
  const { text } = await world().ask('GET', '/api/v1/admin/recovery');
  t.match(JSON.parse(text).groups, {
    recovery: { totalFailuresDetected: 3, avgRtoSeconds: 0.5, rtoComplianceRate: 1 },
    ...{ crash: [], rollback: { tailsReplaced: 9 }, snapshot: { failed: 2 } },
    corruption: [{ type: 'corruption', recovered: 2 }],
    repair: [{ name: 'copyBlocks' }],
    healing: [],
  });
  const workers = JSON.parse((await world().ask('GET', '/api/v1/admin/workers')).text);
  t.match(workers, { workers: [{ name: 'process' }, { name: 'lane 0', state: 'down' }] });
  const operations = JSON.parse((await world().ask('GET', '/api/v1/admin/operations')).text);
  t.same(operations, { count: 3, oldest: [] });
});

t.test('a node without a replica says so', async (t) => {
  const { status, text } = await world(null).ask('GET', '/api/v1/admin/scrub');
  t.equal(status, 503);
  t.equal(JSON.parse(text).error.code, 'REPAIRING');
});
