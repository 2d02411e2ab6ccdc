/**
 * Goal: a node that is asked over HTTP restores collections of a past state beside live data, one
 * at a time, while it leads, and says at every moment how that stands. Method: the routes of the
 * leader of a simulated cluster; the worker is the code that the command runs, in this process.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  clusterId as asClusterId,
  DEFAULT_GROUP_ID,
  HoldfastError,
  must,
  SeededRandom,
  SILENT_LOGGER,
} from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import { createEntryHasher, NO_KEYS } from '@holdfast/storage';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import t, { type Test } from 'tap';
import {
  planCollections,
  restoreCollections,
} from '../src/backup/restore/collections-from-store.ts';
import { parseCollectionsTarget } from '../src/backup/restore/collections-target.ts';
import { NodeRestores } from '../src/backup/restore/node-restores.ts';
import type { CarryOutOptions, RestoreOrder } from '../src/backup/restore/restores-api.ts';
import { formatStepLine, parseStepLine } from '../src/backup/restore/step-lines.ts';
import { Admission } from '../src/server/admission.ts';
import { ApiKeyGuard } from '../src/server/api-key.ts';
import { createHttpRoutes } from '../src/server/http-routes.ts';
import { Metrics } from '../src/server/metrics.ts';
import { snapshotAt } from '../src/server/recover-routes.ts';
import { SYSTEM_CLOCK } from '../src/system-time.ts';
import type { SimNode } from '../src/testing/sim-cluster.ts';
import { COLLECTION, Live } from './support/live-cluster.ts';
import type { History } from './support/restored.ts';
import { makeHistory } from './support/restored.ts';
import { run } from './support/run-cli.ts';

const SEED = Number(process.env.HOLDFAST_TEST_SEED ?? 71);
const ROUTE = '/api/v1/admin/restore';
const KEY = 'a-key-of-16-letters';
const SOURCE = { name: 'memory', url: 'memory://here' };

/** It is only read. */
const HISTORY = makeHistory(SEED);

class Site {
  readonly history: History;
  readonly live: Live;
  /** Lines of every step, as they would come from another process. */
  readonly lines: string[] = [];
  #restoreCount = 0;

  private constructor(history: History, live: Live) {
    this.history = history;
    this.live = live;
  }

  static async open(seed: number): Promise<Site> {
    return new Site(await HISTORY, await Live.start(seed));
  }

  /** What a body must say: the store holds the history of another cluster than the live one. */
  get wishes() {
    const { clusterId } = this.history.manifest;
    return { collections: [COLLECTION], target_prefix: 'old_', cluster_id: clusterId };
  }

  /** `clusterId`: whom the node takes itself for a node of. */
  nodeRestores(node: SimNode, clusterId = node.node.service.status().clusterId): NodeRestores {
    const { live } = this;
    const { service } = node.node;
    return new NodeRestores({
      service: {
        status: () => ({ ...service.status(), clusterId }),
        members: () => service.members(),
        onLeaderChange: (listener) => service.onLeaderChange(listener),
        execute: (request) => live.inTurn(() => live.cluster.execute(node, request)),
      },
      worker: { carryOut: (order, options) => this.#carryOut(order, options) },
      ...{ sources: [SOURCE], clock: new VirtualClock(), logger: SILENT_LOGGER },
      mintRestoreId: () => `restore-${++this.#restoreCount}`,
    });
  }

  async #carryOut(order: RestoreOrder, { onStep, signal }: CarryOutOptions): Promise<void> {
    const { history, lines, live } = this;
    const random = new SeededRandom(SEED);
    const store = {
      ...{ sink: history.sink, hasher: createEntryHasher() },
      sealing: {
        ...({ compression: 'gzip', keys: NO_KEYS } as const),
        random: (sizeBytes: number) => new Uint8Array(sizeBytes),
      },
    };
    const { clusterId, collections: names, isPublished, prefix, timeline } = order;
    const found = await planCollections(store, {
      ...{ clusterId, timeline, target: must(parseCollectionsTarget(order.target)) },
      ...{ group: DEFAULT_GROUP_ID, createdMs: 1 },
      mintHexId: () =>
        Array.from({ length: 4 }, () => random.nextU32().toString(16).padStart(8, '0')).join(''),
    });
    await restoreCollections({
      ...{ store, found, names, prefix, isPublished, cluster: live, signal },
      ...{ fileSystem: new MemoryFileSystem(), directory: 'throwaway' },
      ...{ wal: { fileSizeBytes: 64 * 1024 }, clock: new VirtualClock() },
      pause: async () => undefined,
      onStep: (step) => {
        lines.push(formatStepLine({ kind: 'step', step }));
        onStep(step);
      },
    });
  }
}

function pagesOf(node: SimNode, restores: NodeRestores | null) {
  const { service } = node.node;
  const admission = new Admission({ maxConnections: 1, inflightRequestCountMax: 1 } as never);
  const app = createHttpRoutes({
    ...{ service, restores, guard: new ApiKeyGuard(KEY), logger: SILENT_LOGGER },
    metrics: new Metrics({ service, admission, hasProcessMetrics: false }),
    clock: SYSTEM_CLOCK,
  });
  return async (method: string, path: string, body?: unknown, key = KEY) => {
    const text = body === undefined ? {} : { body: JSON.stringify(body) };
    const headers = { authorization: `Bearer ${key}` };
    const response = await app.request(path, { method, headers, ...text });
    return { status: response.status, body: JSON.parse(await response.text()) };
  };
}

async function checkUntouched(t: Test, live: Live, names: readonly string[]): Promise<void> {
  t.same([...(await live.names())], names);
  t.match(await live.ask({ kind: 'count', collection: COLLECTION }), { count: 1 });
  t.same(await live.hidden(), []);
}

t.test('a leader restores collections beside live data and shows how far it is', async (t) => {
  const site = await Site.open(SEED + 1);
  const { history, live } = site;
  const leader = await live.cluster.leader();
  const ask = pagesOf(leader, site.nodeRestores(leader));
  const during: Awaited<ReturnType<typeof ask>>[] = [];
  live.onWrite = async () => {
    if (during.length > 0) return;
    during.push(await ask('GET', `${ROUTE}/status`), await ask('POST', ROUTE, site.wishes));
  };
  const before = await ask('GET', `${ROUTE}/status`);
  t.same(before.body, { phase: 'none', collections: { underWay: null, newest: [] } });
  const index = history.manifest.root.meta.index;
  const begun = await ask('POST', ROUTE, { ...site.wishes, source: 'memory', target: `${index}` });
  t.match(begun, { status: 202, body: { restoreId: 'restore-1', underWay: { source: 'memory' } } });
  const waiting = { ...site.wishes, target_prefix: 'new_' };
  t.match(await ask('POST', ROUTE, waiting), {
    status: 503,
    body: { error: { code: 'OVERLOADED' } },
  });
  while ((await ask('GET', `${ROUTE}/status`)).body.collections.underWay !== null) {
    await new Promise(setImmediate);
  }
  const [seen, second] = during;
  t.match(seen?.body, {
    phase: 'none',
    collections: { underWay: { restoreId: 'restore-1', phase: 'rows', isEnding: false } },
  });
  t.match(second, { status: 503, body: { error: { details: { restoreId: 'restore-1' } } } });
  const wanted = must([...history.rowsAt].findLast(([at]) => at <= index))[1];
  const { body } = await ask('GET', `${ROUTE}/status`);
  t.match(body.collections.newest, [
    {
      ...{ restoreId: 'restore-1', source: 'memory', prefix: 'old_', target: `${index}` },
      outcome: { kind: 'success', made: [{ name: 'old_docs', pointCount: wanted.size }] },
    },
  ]);
  const shown = await shownBy(t, async () => body);
  t.match(shown, / {2}docs of \d+ as old_\.\.\. \(restore restore-1\): done, \d+ points\n/);
  t.match(await shownBy(t, async () => seen?.body), /\(restore restore-1\): rows \d+ %, /);
  t.same([...(await live.rows('old_docs'))].sort(byId), [...wanted].sort(byId));
  await checkUntouched(t, live, [COLLECTION, 'old_docs']);
  const kinds = new Set(site.lines.map((line) => JSON.parse(line).kind));
  t.ok(kinds.has('opened') && kinds.has('published'), [...kinds].join(' '));
  for (const line of site.lines) {
    t.equal(formatStepLine(must(parseStepLine(line))), line, 'another process says the same');
  }
});

/** What the command prints of such a page. */
async function shownBy(t: Test, page: () => Promise<unknown>): Promise<string> {
  const server = createServer((_, response) => {
    page().then((body) => response.end(JSON.stringify(body)), t.fail);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { code, err, out } = await run('restore', 'status', '--nodes', address);
  t.equal(code, 0, err);
  return out;
}

const byId = (left: readonly number[], right: readonly number[]) =>
  Number(left[0]) - Number(right[0]);

t.test('who waits for the end is told it, also of a failure', async (t) => {
  const site = await Site.open(SEED + 2);
  const { live } = site;
  const leader = await live.cluster.leader();
  const ask = pagesOf(leader, site.nodeRestores(leader));
  const sync = `${ROUTE}?mode=sync`;
  live.lostWrite = 1;
  const failed = await ask('POST', sync, site.wishes);
  t.match(failed, { status: 409, body: { error: { code: 'COLLECTION_NOT_READY' } } });
  await checkUntouched(t, live, [COLLECTION]);
  const hidden = await ask('POST', sync, { ...site.wishes, source: SOURCE.url, publish: false });
  t.match(hidden, { status: 200, body: { outcome: { kind: 'success' } } });
  const [{ uid }] = hidden.body.outcome.made;
  t.match(await live.hidden(), [{ state: 'ready', collection: { createdIndex: uid } }]);
  const { newest } = (await ask('GET', `${ROUTE}/status`)).body.collections;
  t.match(newest, [
    { outcome: { kind: 'success' } },
    { outcome: { kind: 'failure', error: { code: 'COLLECTION_NOT_READY' }, left: [] } },
  ]);
});

t.test('a restore ends with the leadership, on request and with its node', async (t) => {
  const site = await Site.open(SEED + 3);
  const { live } = site;
  const ends = [
    {
      code: 'LEADERSHIP_LOST',
      end: async (_: NodeRestores, leader: SimNode) => {
        const { cluster } = live;
        await cluster.scheduler.resolve(leader.node.replica.handOver());
        await cluster.leader();
      },
    },
    { code: 'ABORTED', end: async () => undefined },
    {
      code: 'SHUTTING_DOWN',
      end: async (restores: NodeRestores) => {
        restores.stop().catch((thrown: unknown) => t.fail(String(thrown)));
      },
    },
  ];
  for (const { code, end } of ends) {
    const leader = await live.cluster.leader();
    const restores = site.nodeRestores(leader);
    const ask = pagesOf(leader, restores);
    live.onWrite = async () => {
      live.onWrite = async () => undefined;
      if (code === 'ABORTED') {
        const ended = await ask('DELETE', ROUTE);
        t.match(ended, { status: 202, body: { underWay: { isEnding: true } } });
      }
      await live.inTurn(() => end(restores, leader));
    };
    const failed = await ask('POST', `${ROUTE}?mode=sync`, site.wishes);
    t.match(failed.body, { error: { code } });
    const { newest, underWay } = restores.status();
    t.equal(underWay, null);
    t.match(newest, [{ outcome: { kind: 'failure', error: { code }, left: [] } }]);
    await checkUntouched(t, live, [COLLECTION]);
    if (code !== 'SHUTTING_DOWN') continue;
    const late = await ask('POST', ROUTE, site.wishes);
    t.match(late.body, { error: { code: 'SHUTTING_DOWN' } });
  }
});

t.test('what a node cannot restore it refuses by name, before anything is read', async (t) => {
  const site = await Site.open(SEED + 4);
  const { live, wishes } = site;
  const leader = await live.cluster.leader();
  const follower = must(live.cluster.nodes.find((node) => node !== leader));
  const ask = pagesOf(leader, site.nodeRestores(leader));
  const bad = [
    { ...wishes, source: 's3://elsewhere/prefix' },
    { ...wishes, source: 'file:///etc' },
    { ...wishes, target: 'yesterday' },
    { ...wishes, collections: [] },
    { ...wishes, prefix: 'old_' },
    { collections: [COLLECTION] },
    'x',
  ];
  for (const body of bad) {
    const refused = await ask('POST', ROUTE, body);
    t.match(refused, { status: 400, body: { error: { code: 'REQUEST_INVALID' } } });
  }
  const elsewhere = await ask('POST', ROUTE, bad[0]);
  t.match(elsewhere.body.error.message, /which has memory$/);
  t.equal((await ask('POST', `${ROUTE}?mode=later`, wishes)).status, 400);
  const taken = await ask('POST', ROUTE, { ...wishes, target_prefix: '' });
  t.match(taken, { status: 409, body: { error: { code: 'COLLECTION_EXISTS' } } });
  const unknown = await ask('POST', ROUTE, wishes, 'another-key-of-16');
  t.match(unknown, { status: 401, body: { error: { code: 'UNAUTHENTICATED' } } });
  const other = await pagesOf(follower, site.nodeRestores(follower))('POST', ROUTE, wishes);
  t.match(other, {
    status: 503,
    body: { error: { code: 'NOT_LEADER', details: { leader: { address: `${leader.id}:1` } } } },
  });
  const none = await pagesOf(leader, null)('POST', ROUTE, wishes);
  t.match(none, { status: 400, body: { error: { message: /set backupSinks/ } } });
  t.same(site.lines, []);
  t.same((await ask('GET', `${ROUTE}/status`)).body.collections, { underWay: null, newest: [] });
  await checkUntouched(t, live, [COLLECTION]);
});

t.test('a snapshot recovers a collection that is gone, and never one that is there', async (t) => {
  const site = await Site.open(SEED + 5);
  const { history, live } = site;
  const { backupId, clusterId, root } = history.manifest;
  const leader = await live.cluster.leader();
  const ask = pagesOf(leader, site.nodeRestores(leader, asClusterId(clusterId)));
  const path = `/qdrant/collections/${COLLECTION}/snapshots/recover`;
  const location = `${SOURCE.url}/${backupId}.tar`;
  for (const method of ['POST', 'PUT']) {
    const taken = await ask(method, path, { location });
    t.match(taken, { status: 409, body: { error: { code: 'COLLECTION_EXISTS' } } });
    const whole = await ask(method, '/qdrant/snapshots/recover', { location });
    t.match(whole, { status: 409, body: { error: { message: /plan --from 'memory:\/\/here/ } } });
  }
  await checkUntouched(t, live, [COLLECTION]);
  const bad = [{ location: 7 }, { location: 'docs' }, { location, checksum: 'aa' }, 'x', {}];
  for (const body of bad) t.equal((await ask('PUT', path, body)).status, 400, JSON.stringify(body));
  t.equal((await ask('PUT', `${path}?wait=soon`, { location })).status, 400);
  const elsewhere = await ask('PUT', path, { location: 'https://elsewhere/docs.snapshot' });
  t.match(elsewhere, { status: 400, body: { error: { message: /which has memory$/ } } });
  await live.change({ kind: 'dropCollection', name: COLLECTION });
  const missing = await ask('PUT', path, {
    location: `${SOURCE.url}/0b1c2d3e-0000-4000-8000-00000000000f`,
  });
  t.match(missing, { status: 404, body: { error: { code: 'BACKUP_NOT_FOUND' } } });
  t.same([...(await live.names())], []);
  const recovered = await ask('PUT', path, { location, priority: 'snapshot' });
  t.match(recovered, { status: 200, body: { result: true, status: 'ok' } });
  const rowsAt = (index: number) =>
    must([...history.rowsAt].findLast(([at]) => at <= index))[1] as ReadonlyMap<number, number>;
  t.same([...(await live.rows(COLLECTION))].sort(byId), [...rowsAt(root.meta.index)].sort(byId));
  await live.change({ kind: 'dropCollection', name: COLLECTION });
  const begun = await ask('POST', `${path}?wait=false`, { location: `${SOURCE.url}/` });
  t.match(begun, { status: 202, body: { result: true, status: 'accepted' } });
  while ((await ask('GET', `${ROUTE}/status`)).body.collections.underWay !== null) {
    await new Promise(setImmediate);
  }
  const newest = must([...history.rowsAt].at(-1))[1];
  t.same([...(await live.rows(COLLECTION))].sort(byId), [...newest].sort(byId));
});

t.test('the place of a snapshot is a store, and perhaps a name in it', async (t) => {
  const id = '0b1c2d3e-0000-4000-8000-000000000001';
  const cases = [
    ['s3://bucket/prefix', 's3://bucket/prefix', 'latest'],
    ['s3://bucket/prefix/', 's3://bucket/prefix', 'latest'],
    [`s3://bucket/prefix/${id}`, 's3://bucket/prefix', id],
    [`s3://bucket/${id}.tar?region=x`, 's3://bucket?region=x', id],
    ['s3://bucket?endpoint=http://host/', 's3://bucket?endpoint=http://host/', 'latest'],
    [`file:///folder/${id}.tar`, 'file:///folder', id],
    ['file:///', 'file:///', 'latest'],
  ] as const;
  for (const [location, source, target] of cases) {
    t.same(snapshotAt(location), { source, target }, location);
  }
});

t.test('what another process says that is no step is no step', async (t) => {
  const error = new HoldfastError('BACKUP_NOT_FOUND', 'there is none', { details: { a: 1 } });
  const line = formatStepLine({ kind: 'failed', error });
  const parsed = parseStepLine(line);
  t.match(parsed, { kind: 'failed', error: { code: 'BACKUP_NOT_FOUND', details: { a: 1 } } });
  const bad = ['', 'files: 1 of 2', '{}', '{"kind":"rows","pointCount":-1}', '[1]', '{"kind":"x"}'];
  for (const text of bad) t.equal(parseStepLine(text), null, text);
});
