/** Behaviour of the whole client on virtual time, against the model cluster. */
import { HoldfastError, SeededRandom } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import { BATCH_POINT_COUNT_MAX, decodeUp, encodeDown } from '@holdfast/protocol';
import t from 'tap';
import { HoldfastClient } from '../src/client.ts';
import type { ConnectOptions } from '../src/options.ts';
import type { FakeServerEnd } from '../src/testing/fake-transport.ts';
import { FakeTransport } from '../src/testing/fake-transport.ts';
import type { ModelFault } from '../src/testing/model-cluster.ts';
import { ModelCluster } from '../src/testing/model-cluster.ts';
import { pass, passUntil } from '../src/testing/pass.ts';

function world(faults: ModelFault[] = []) {
  const clock = new VirtualClock();
  const random = new SeededRandom(11);
  const transport = new FakeTransport({ timers: clock, random, delayMsMax: 1 });
  const cluster = new ModelCluster({
    timers: clock,
    random,
    transport,
    faults: () => faults.shift() ?? 'none',
  });
  const connect = (options: Partial<ConnectOptions> = {}) =>
    passUntil(
      clock,
      HoldfastClient.connect({
        nodes: cluster.addresses,
        transport,
        clock,
        timers: clock,
        random,
        ...options,
      }),
      20_000,
    );
  const close = (client: HoldfastClient) => passUntil(clock, client.close(), 1_000);
  return { clock, random, transport, cluster, connect, close };
}

t.test('writes resume within 20 ms of a new leader after the leader was killed', async (t) => {
  const { clock, cluster, connect, close } = world();
  const client = await connect();
  const docs = client.collection('docs');
  await passUntil(clock, docs.upsert({ id: 0, vector: [0] }), 100);
  cluster.elect(null);
  cluster.kill(0);
  const writes = [1, 2, 3, 4].map((id) => docs.upsert({ id, vector: [id] }));
  await pass(clock, 400);
  cluster.elect(1);
  const electedAtMs = clock.monotonicMs();
  await passUntil(clock, Promise.all(writes), 5_000);
  const gapMs = clock.monotonicMs() - electedAtMs;
  t.ok(gapMs < 20, `resumed ${gapMs} ms after the election`);
  t.equal(client.leader?.nodeId, 'n2');
  for (const id of [0, 1, 2, 3, 4]) t.equal(cluster.executionCounts.get(id), 1);
  await close(client);
});

t.test('a request that waits at a cut-off leader is asked again at the new one', async (t) => {
  const { clock, cluster, connect, close } = world(['none', 'none', 'silentDrops']);
  const client = await connect();
  const docs = client.collection('docs');
  await passUntil(clock, docs.upsert({ id: 0, vector: [0] }), 100);
  const waiting = docs.upsert({ id: 1, vector: [1] });
  await pass(clock, 50);
  cluster.elect(null);
  await pass(clock, 50);
  cluster.elect(2);
  const { index } = await passUntil(clock, waiting, 100);
  t.ok(index > 0);
  t.equal(cluster.executionCounts.get(1), 1);
  await close(client);
});

t.test('a client that knows one follower finds the leader by its redirect', async (t) => {
  const { clock, cluster, connect, close } = world();
  const client = await connect({ nodes: [cluster.addresses[2] ?? ''] });
  t.equal(client.leader?.nodeId, 'n1', 'named in the welcome');
  const leaders: (string | undefined)[] = [];
  client.on('leader', ({ leader }) => leaders.push(leader?.nodeId));
  await passUntil(clock, client.collection('docs').upsert({ id: 5, vector: [1] }), 500);
  cluster.elect(1);
  await pass(clock, 10);
  t.same(leaders, ['n2']);
  await passUntil(clock, client.collection('docs').upsert({ id: 6, vector: [1] }), 500);
  await close(client);
});

t.test('bad arguments are refused before anything is sent', async (t) => {
  const { cluster, connect, close } = world();
  const client = await connect();
  const before = cluster.receivedCount;
  const docs = client.collection('docs');
  const point = { id: 1, vector: [1, 2] };
  await t.rejects(docs.upsert({ ...point, id: -1 }), { code: 'POINT_ID_INVALID' });
  await t.rejects(docs.upsert({ ...point, id: 'no-uuid' }), { code: 'POINT_ID_INVALID' });
  await t.rejects(docs.upsert({ ...point, vector: [1, Number.NaN] }), {
    code: 'VECTOR_INVALID',
    details: { position: 1 },
  });
  await t.rejects(docs.upsert({ ...point, payload: { at: new Date() as never } }), {
    code: 'PAYLOAD_INVALID',
  });
  const many = Array.from({ length: BATCH_POINT_COUNT_MAX + 1 }, (_, id) => ({ id, vector: [1] }));
  await t.rejects(docs.upsert(many), { code: 'BATCH_TOO_LARGE' });
  await t.rejects(docs.search([1], { k: 0 }), { code: 'REQUEST_INVALID' });
  await t.rejects(docs.search([1], { k: 1, maxStalenessMs: 5 }), { code: 'REQUEST_INVALID' });
  await t.rejects(docs.count({ timeoutMs: 0 }), { code: 'ARGUMENT_INVALID' });
  await t.rejects(docs.delete([{ id: 1.5 }]), { code: 'POINT_ID_INVALID' });
  await t.rejects(client.status('nobody'), { code: 'ARGUMENT_INVALID' });
  t.throws(() => client.collection('no spaces'), { code: 'ARGUMENT_INVALID' });
  await t.rejects(HoldfastClient.connect({ nodes: [] }), { code: 'ARGUMENT_INVALID' });
  await t.rejects(HoldfastClient.connect({ nodes: ['localhost'] }), { code: 'ARGUMENT_INVALID' });
  t.equal(cluster.receivedCount, before, 'nothing was sent');
  await close(client);
});

t.test('a caller may reuse its arrays at once', async (t) => {
  const { clock, cluster, connect, close } = world(['none', 'none', 'replyLost']);
  const client = await connect();
  const docs = client.collection('docs');
  await passUntil(clock, docs.upsert({ id: 0, vector: [0] }), 100);
  const vector = new Float32Array([1, 2, 3]);
  const payload = { tags: ['a'] };
  const write = docs.upsert({ id: 1, vector, payload });
  vector.fill(9);
  payload.tags.push('b');
  await passUntil(clock, write, 1_000);
  t.equal(cluster.executionCounts.get(1), 1, 'the repeat had the body of the first');
  const stored = await passUntil(clock, docs.get(1, { withVector: true }), 100);
  t.same(stored?.vector, new Float32Array([1, 2, 3]));
  t.same(stored?.payload, { tags: ['a'] });
  await close(client);
});

t.test('timeout, abort and close end a request and say what is known', async (t) => {
  const { clock, connect, close } = world(['none', 'none', 'silentDrops', 'silentDrops']);
  const client = await connect();
  const docs = client.collection('docs');
  await passUntil(clock, docs.upsert({ id: 0, vector: [0] }), 100);
  const late = t.rejects(docs.upsert({ id: 1, vector: [1] }, { timeoutMs: 50 }), {
    code: 'REQUEST_TIMEOUT',
    definite: false,
  });
  await pass(clock, 60);
  await late;
  const controller = new AbortController();
  const aborted = t.rejects(docs.upsert({ id: 2, vector: [1] }, { signal: controller.signal }), {
    code: 'ABORTED',
    definite: false,
  });
  await pass(clock, 10);
  controller.abort(new Error('enough'));
  await aborted;
  await t.rejects(docs.count({ signal: controller.signal }), { code: 'ABORTED' });
  const closed = t.rejects(docs.upsert({ id: 3, vector: [1] }), { code: 'CLIENT_CLOSED' });
  await close(client);
  await closed;
  await t.rejects(docs.count(), { code: 'CLIENT_CLOSED', definite: true });
});

t.test('without a leader a write ends definitely and names the reason', async (t) => {
  const { clock, cluster, connect, close } = world();
  const client = await connect();
  cluster.elect(null);
  const ended = t.rejects(
    client.collection('docs').upsert({ id: 1, vector: [1] }, { timeoutMs: 300 }),
    {
      code: 'NO_LEADER',
      definite: true,
    },
  );
  await pass(clock, 400);
  await ended;
  await close(client);
});

t.test('while nobody leads, many waiting requests ask no more often than a few', async (t) => {
  const { clock, cluster, connect, close } = world();
  const client = await connect();
  const docs = client.collection('docs');
  cluster.elect(null);
  await pass(clock, 100);
  const before = cluster.receivedCount;
  const counts = Array.from({ length: 500 }, () => docs.count());
  await pass(clock, 1_000);
  const asked = cluster.receivedCount - before;
  t.ok(asked > 10 && asked <= 110, `500 requests asked ${asked} times in a second`);
  cluster.elect(2);
  const electedAtMs = clock.monotonicMs();
  await passUntil(clock, Promise.all(counts), 5_000);
  t.ok(clock.monotonicMs() - electedAtMs < 50, 'and all go on with the new leader');
  await close(client);
});

t.test('nobody there: connect says which nodes were tried', async (t) => {
  const { cluster, connect } = world();
  for (const nodeAt of [0, 1, 2]) cluster.kill(nodeAt);
  await t.rejects(connect({ timeoutMs: 500 }), {
    code: 'NO_NODE_REACHABLE',
    definite: true,
    message: /127\.0\.0\.1:7101.*nobody listens/,
  });
});

t.test('a refused key ends connect at once', async (t) => {
  const { transport, connect } = world();
  const ends = new Set<FakeServerEnd>();
  transport.listen('127.0.0.1:9', {
    onConnect: (end) => {
      ends.add(end);
      return {
        onFrame: (bytes) => {
          t.match(decodeUp(bytes), { kind: 'hello', apiKey: 'wrong' });
          const error = new HoldfastError('UNAUTHENTICATED', 'the key is wrong');
          end.send(encodeDown({ kind: 'refused', error: error.toBody() }));
        },
        onClose: () => ends.delete(end),
      };
    },
  });
  await t.rejects(connect({ nodes: ['127.0.0.1:9'], apiKey: 'wrong' }), {
    code: 'UNAUTHENTICATED',
  });
  t.equal(ends.size, 0, 'and leaves no connection behind');
});

t.test('nodes of two clusters are never mixed', async (t) => {
  const { clock, random, transport, cluster, connect, close } = world();
  const other = new ModelCluster({
    timers: clock,
    random,
    transport,
    clusterId: 'd'.repeat(32),
    addresses: ['127.0.0.1:8101'],
  });
  const client = await connect({ nodes: [cluster.addresses[0] ?? '', other.addresses[0] ?? ''] });
  const failures: string[] = [];
  client.on('disconnected', ({ error }) => failures.push(error.code));
  await pass(clock, 500);
  t.ok(failures.includes('ARGUMENT_INVALID'), 'the second cluster is hung up on');
  await close(client);
});

t.test('more requests than the server allows wait for their turn', async (t) => {
  const { clock, cluster, connect, close } = world();
  const client = await connect();
  const docs = client.collection('docs');
  const writes = Array.from({ length: 3_000 }, (_, id) => docs.upsert({ id, vector: [id] }));
  await passUntil(clock, Promise.all(writes), 20_000);
  t.equal(cluster.executionCounts.size, 3_000);
  t.equal(cluster.sessionCount, 1, 'all of them shared one session');
  await close(client);
  t.equal(cluster.sessionCount, 0, 'which close() closed');
});

t.test('upsertMany batches, reports progress and stops at the first failure', async (t) => {
  const { clock, cluster, connect, close } = world();
  const client = await connect();
  const docs = client.collection('docs');
  const progress: number[] = [];
  async function* points(count: number) {
    for (let id = 0; id < count; id++) yield { id, vector: [id] };
  }
  const result = await passUntil(
    clock,
    docs.upsertMany(points(1_000), {
      batchSize: 300,
      onProgress: ({ pointCount }) => progress.push(pointCount),
    }),
    5_000,
  );
  t.match(result, { pointCount: 1_000, batchCount: 4 });
  t.equal(progress.at(-1), 1_000);
  t.equal(cluster.executionCounts.size, 1_000);
  const bad = [
    { id: 5_000, vector: [1] },
    { id: 5_001, vector: [Number.NaN] },
  ];
  const failed = docs.upsertMany(bad, { batchSize: 1, concurrency: 1 });
  await t.rejects(passUntil(clock, failed, 1_000), {
    code: 'VECTOR_INVALID',
    details: { pointCount: 1 },
  });
  await close(client);
});

t.test('status asks the node that is named', async (t) => {
  const { clock, cluster, connect, close } = world();
  const client = await connect();
  await pass(clock, 10);
  const status = await passUntil(clock, client.status('n3'), 100);
  t.match(status, { nodeId: 'n3', role: 'follower' });
  t.match(await passUntil(clock, client.status('n1'), 100), { role: 'leader' });
  cluster.kill(2);
  await pass(clock, 50);
  const dead = passUntil(clock, client.status('n3', { timeoutMs: 300 }), 1_000);
  await t.rejects(dead, { code: 'NO_NODE_REACHABLE', message: /7103 cannot be reached/ });
  cluster.restart(2);
  t.match(await passUntil(clock, client.status('n3'), 5_000), { nodeId: 'n3' });
  await close(client);
});

t.test('a client that saw a recovered cluster never believes given-up members again', async (t) => {
  const { clock, cluster, connect, close } = world();
  const client = await connect();
  const docs = client.collection('docs');
  await passUntil(clock, docs.upsert({ id: 0, vector: [0] }), 100);
  t.equal(client.epoch, 1);
  // n1 is cut off and declared dead, but leads its old cluster on; n2 is what was recovered.
  cluster.kill(1);
  cluster.setEpoch(1, 2);
  const refusals: string[] = [];
  client.on('disconnected', ({ error }) => refusals.push(error.code));
  cluster.restart(1);
  await pass(clock, 2_000);
  t.equal(client.epoch, 2);
  t.ok(refusals.includes('CLUSTER_EPOCH_OLD'));
  const before = cluster.receivedCount;
  const lost = docs.upsert({ id: 1, vector: [1] }, { timeoutMs: 1_000 });
  await t.rejects(passUntil(clock, lost, 5_000));
  t.equal(cluster.executionCounts.get(1), undefined, 'the old leader was not asked');
  cluster.elect(1);
  await passUntil(clock, docs.upsert({ id: 2, vector: [2] }), 5_000);
  t.ok(cluster.receivedCount > before);
  await close(client);
  // An application that kept the epoch refuses the old members from the first moment on.
  cluster.kill(1);
  const late = connect({ epochMin: 2, timeoutMs: 2_000 });
  await t.rejects(late, { code: 'NO_NODE_REACHABLE' });
});
