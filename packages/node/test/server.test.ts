/**
 * The public port over a real loopback socket, with a service that answers as the test wants.
 * Every kind of bad input gets a typed error, and afterwards another connection is served.
 */
import { connect } from 'node:net';
import { type HoldfastError, SILENT_LOGGER } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import { writeMsgpack } from '@holdfast/protocol';
import t, { type Test } from 'tap';
import { loadConfig } from '../src/config/load.ts';
import { FrameTurns } from '../src/server/frame-turns.ts';
import { PublicServer } from '../src/server/public-server.ts';
import { SYSTEM_CLOCK, SYSTEM_TIMERS } from '../src/system-time.ts';
import { FakeService, HeldRequests } from './support/fake-service.ts';
import { RawClient } from './support/raw-client.ts';
import { nextTurn, until } from './support/until.ts';

const API_KEY = 'correct-horse-battery';

interface Started {
  readonly server: PublicServer;
  readonly service: FakeService;
  readonly address: string;
}

type Flags = Record<string, string>;

async function start(t: Test, flags: Flags = {}, apiKey: string | null = null): Promise<Started> {
  const service = new FakeService();
  const server = createServer(service, flags, apiKey);
  await server.start();
  let isStopped = false;
  const stop = server.stop.bind(server);
  server.stop = async () => {
    isStopped = true;
    await stop();
  };
  t.teardown(async () => {
    if (!isStopped) await stop();
  });
  return { server, service, address: server.address };
}

function createServer(service: FakeService, flags: Flags, apiKey: string | null): PublicServer {
  const config = loadConfig({
    flags: {
      data: 'unused',
      nodeId: 'n1',
      listen: '127.0.0.1:0',
      shutdownTimeoutMs: '2000',
      ...flags,
    },
  });
  const seams = { clock: SYSTEM_CLOCK, timers: SYSTEM_TIMERS, logger: SILENT_LOGGER };
  return new PublicServer({ config, apiKey, service, hasProcessMetrics: false, ...seams });
}

const request = (id: number, more: object = {}): object => ({ id, kind: 'openSession', ...more });

async function servesOthers(t: Test, address: string, apiKey?: string): Promise<void> {
  const other = await RawClient.welcomed(address, apiKey);
  other.sendMap(request(1));
  t.match(await other.next(), { id: 1, ok: true }, 'another connection is served');
  other.close();
}

t.test('a hello is welcomed with the leader, its address and the limits', async (t) => {
  const { address } = await start(t);
  const client = await RawClient.open(address);
  client.hello();
  t.match(await client.next(), {
    kind: 'welcome',
    protocolVersion: 1,
    nodeId: 'n1',
    leader: { nodeId: 'n1', address: '127.0.0.1:7101' },
    term: 2,
    limits: { frameSizeBytesMax: 16 * 1024 * 1024, inflightRequestCountMax: 256 },
  });
  client.close();
});

t.test('requests of one connection are answered under their ids, in any order', async (t) => {
  const { address, service } = await start(t);
  const held = new HeldRequests();
  const client = await RawClient.welcomed(address);
  service.execute_ = held.execute;
  client.sendMap(request(1));
  await until(() => held.count === 1);
  service.execute_ = async () => ({ sessionId: 5 });
  client.sendMap(request(2));
  t.same(await client.next(), { id: 2, ok: true, result: { sessionId: 5 } });
  held.rejectAll();
  t.match(await client.next(), { id: 1, ok: false, error: { code: 'LEADERSHIP_LOST' } });
  client.close();
});

t.test('the service is told the deadline of the request', async (t) => {
  const { address, service } = await start(t);
  const budgets: number[] = [];
  service.execute_ = async (_request, { deadlineMs }) => {
    budgets.push(deadlineMs - SYSTEM_CLOCK.monotonicMs());
    return { sessionId: 1 };
  };
  const client = await RawClient.welcomed(address);
  client.sendMap(request(1, { timeoutMs: 60_000 }));
  client.sendMap(request(2));
  await client.next();
  await client.next();
  t.ok(budgets[0]! > 50_000 && budgets[0]! <= 60_000, 'its own');
  t.ok(budgets[1]! > 5_000 && budgets[1]! <= 10_000, 'the default');
  client.close();
});

t.test('a request that the service forgets is answered REQUEST_TIMEOUT', async (t) => {
  const { address, service } = await start(t);
  const held = new HeldRequests();
  service.execute_ = held.execute;
  const client = await RawClient.welcomed(address);
  client.sendMap(request(1, { timeoutMs: 1 }));
  t.match(await client.next(), { id: 1, error: { code: 'REQUEST_TIMEOUT', definite: false } });
  let answer: (result: { sessionId: number }) => void = () => {};
  service.execute_ = () =>
    new Promise((resolve) => {
      answer = resolve;
    });
  client.sendMap(request(1));
  await until(() => service.executed.length === 2);
  held.releaseAll();
  await nextTurn();
  answer({ sessionId: 9 });
  t.same(
    await client.next(),
    { id: 1, ok: true, result: { sessionId: 9 } },
    'the id is free again and the late answer is not taken for the new one',
  );
  client.close();
});

t.test('bad input gets a typed error and other clients are unaffected', async (t) => {
  const { address } = await start(t, { frameSizeBytesMax: '65536' });
  const frames: readonly (readonly [string, string, (client: RawClient) => void])[] = [
    ['a JSON text', 'FRAME_MALFORMED', (client) => client.socket.send('{"kind":"hello"}')],
    [
      'bytes that are not msgpack',
      'FRAME_MALFORMED',
      (client) => client.socket.send(Buffer.from([0xc1, 1, 2])),
    ],
    [
      'a truncated frame',
      'FRAME_MALFORMED',
      (client) => client.socket.send(writeMsgpack(request(1)).subarray(0, 9)),
    ],
    [
      '200,000 nested arrays',
      'FRAME_MALFORMED',
      (client) => client.socket.send(Buffer.alloc(60_000, 0x91)),
    ],
    [
      'a list instead of a map',
      'FRAME_MALFORMED',
      (client) => client.socket.send(writeMsgpack([1])),
    ],
    [
      'a frame over the limit',
      'FRAME_TOO_LARGE',
      (client) => client.socket.send(Buffer.alloc(70_000)),
    ],
    [
      'an unknown kind without id',
      'REQUEST_INVALID',
      (client) => client.sendMap({ kind: 'explode' }),
    ],
    ['a second hello', 'REQUEST_INVALID', (client) => client.hello()],
  ];
  for (const [name, code, send] of frames) {
    const client = await RawClient.welcomed(address);
    send(client);
    const answer = (await client.next()) as { kind?: string; error?: { code: string } };
    t.equal(answer.kind, 'goodbye', `${name}: goodbye`);
    t.equal(answer.error?.code, code, `${name}: ${code}`);
    await client.closed();
  }
  await servesOthers(t, address);
});

t.test('a bad request with a readable id is answered and the connection goes on', async (t) => {
  const { address } = await start(t);
  const client = await RawClient.welcomed(address);
  client.sendMap({ id: 3, kind: 'openSession', surprise: 1 });
  t.match(await client.next(), { id: 3, ok: false, error: { code: 'REQUEST_INVALID' } });
  client.sendMap({ id: 4, kind: 'explode' });
  t.match(await client.next(), { id: 4, ok: false, error: { code: 'REQUEST_INVALID' } });
  client.sendMap(request(5));
  t.match(await client.next(), { id: 5, ok: true });
  client.close();
});

t.test('an id used twice at one time ends the connection without a false answer', async (t) => {
  const { address, service } = await start(t);
  const held = new HeldRequests();
  service.execute_ = held.execute;
  const client = await RawClient.welcomed(address);
  client.sendMap(request(1));
  client.sendMap(request(1));
  await until(() => held.count > 1 || client.receivedCount > 0);
  t.equal(held.count, 1, 'the second is not executed');
  t.match(await client.next(), { kind: 'goodbye', error: { code: 'REQUEST_INVALID' } });
  await client.closed();
  t.equal(held.count, 1, 'the second was not executed');
  held.releaseAll();
  service.execute_ = async () => ({ sessionId: 1 });
  await servesOthers(t, address);
});

t.test('a handshake that is not a good hello is refused', async (t) => {
  const { address } = await start(t, { handshakeTimeoutMs: '2000' }, API_KEY);
  const cases: readonly (readonly [string, string, (client: RawClient) => void])[] = [
    ['no key', 'UNAUTHENTICATED', (client) => client.hello()],
    ['a wrong key', 'UNAUTHENTICATED', (client) => client.hello('wrong-key-of-some-length')],
    ['no common version', 'PROTOCOL_UNSUPPORTED', (client) => client.hello(API_KEY, [99])],
    ['a request first', 'REQUEST_INVALID', (client) => client.sendMap(request(1))],
    ['a text first', 'FRAME_MALFORMED', (client) => client.socket.send('hello')],
    [
      'a large first frame',
      'FRAME_TOO_LARGE',
      (client) => client.socket.send(Buffer.alloc(200_000)),
    ],
  ];
  for (const [name, code, send] of cases) {
    const client = await RawClient.open(address);
    send(client);
    const answer = (await client.next()) as { kind?: string; error?: { code: string } };
    t.same([answer.kind, answer.error?.code], ['refused', code], name);
    await client.closed();
  }
  await servesOthers(t, address, API_KEY);
});

t.test('a connection that says nothing is refused after the handshake time', async (t) => {
  const { address } = await start(t, { handshakeTimeoutMs: '10' });
  const client = await RawClient.open(address);
  t.equal(await client.nextErrorCode(), 'REQUEST_TIMEOUT');
  await client.closed();
});

t.test('connections over the limit are refused and a closed one makes room', async (t) => {
  const { address } = await start(t, { maxConnections: '1' });
  const first = await RawClient.welcomed(address);
  const second = await RawClient.open(address);
  t.equal(await second.nextErrorCode(), 'TOO_MANY_CONNECTIONS');
  await second.closed();
  first.socket.close();
  await first.closed();
  await servesOthers(t, address);
});

t.test(
  'requests over the limits are refused OVERLOADED with a delay, and room comes back',
  async (t) => {
    const { address, service } = await start(t, {
      inflightRequestCountMaxPerConnection: '2',
      inflightRequestCountMax: '3',
    });
    const held = new HeldRequests();
    service.execute_ = held.execute;
    const first = await RawClient.welcomed(address);
    const second = await RawClient.welcomed(address);
    for (const id of [1, 2, 3]) first.sendMap(request(id));
    const perConnection = (await first.next()) as { id: number; error: { details: object } };
    t.match(perConnection, { id: 3, error: { code: 'OVERLOADED', definite: true } });
    t.match(perConnection.error.details, { retryAfterMs: 50 });
    for (const id of [1, 2]) second.sendMap(request(id));
    t.match(await second.next(), { id: 2, error: { code: 'OVERLOADED' } }, 'the total counts too');
    t.equal(held.count, 3);
    held.releaseAll();
    for (let i = 0; i < 2; i++) t.match(await first.next(), { ok: true });
    t.match(await second.next(), { ok: true });
    service.execute_ = async () => ({ sessionId: 1 });
    second.sendMap(request(3));
    t.match(await second.next(), { id: 3, ok: true });
    first.close();
    second.close();
  },
);

t.test(
  'frames that came at once are handled in turns, in their order, and each once',
  async (t) => {
    const clock = new VirtualClock();
    const handled: number[] = [];
    const holds: boolean[] = [];
    let costMs = 0;
    const turns = new FrameTurns({
      clock,
      timers: clock,
      handle: (bytes) => {
        handled.push(bytes.readUInt32LE());
        if (costMs > 0) clock.advance(costMs);
      },
      onHold: () => void holds.push(turns.isHolding),
    });
    const send = (first: number, count: number): void => {
      for (let i = first; i < first + count; i++) {
        const bytes = Buffer.alloc(4);
        bytes.writeUInt32LE(i);
        turns.take(bytes, true);
      }
    };
    send(0, 256);
    t.equal(turns.isHolding, false, 'as many as may be under way never wait');
    await Promise.resolve();
    send(256, 600);
    t.equal(handled.length, 512);
    t.same(holds, [true], 'nothing more is to be read');
    await Promise.resolve();
    send(856, 1);
    t.equal(handled.length, 512, 'what comes all the same waits behind the others');
    clock.advance(5);
    t.equal(handled.length, 768);
    clock.advance(5);
    t.equal(handled.length, 857);
    t.same(
      handled,
      Array.from({ length: 857 }, (_unused, i) => i),
    );
    t.same(holds, [true, false]);
    costMs = 3;
    send(857, 10);
    t.equal(handled.length, 860, 'those that take long wait sooner: 8 ms is a turn');
    costMs = 0;
    clock.advance(5);
    t.equal(handled.length, 867);
    await Promise.resolve();
    send(867, 300);
    turns.stop();
    clock.advance(50);
    t.equal(handled.length, 867 + 256, 'of a connection that is gone nothing more is handled');
  },
);

t.test('five thousand requests sent at once are all answered, and others in between', async (t) => {
  const { address } = await start(t);
  const COUNT = 5_000;
  const client = await RawClient.welcomed(address);
  const other = await RawClient.welcomed(address);
  for (let id = 0; id < COUNT; id++) client.sendMap(request(id));
  other.sendMap(request(1));
  t.match(await other.next(), { id: 1, ok: true });
  const answered = new Set<number>();
  for (let i = 0; i < COUNT; i++) answered.add(((await client.next()) as { id: number }).id);
  t.equal(answered.size, COUNT);
  client.close();
  other.close();
});

t.test('a client that never reads is closed SLOW_READER and others are served', async (t) => {
  const { address, service } = await start(t, {
    sendBufferSizeBytesMax: '65536',
    slowReaderTimeoutMs: '50',
  });
  const text = 'x'.repeat(300_000);
  service.execute_ = async () => ({ text }) as never;
  const client = await RawClient.welcomed(address);
  client.socket.pause();
  for (let id = 0; id < 64; id++) client.sendMap(request(id));
  const pages = await metricsUntil(address, 'code="SLOW_READER"');
  t.match(pages, /holdfast_connections_closed_total\{code="SLOW_READER"\} 1/);
  service.execute_ = async () => ({ sessionId: 1 });
  await servesOthers(t, address);
  client.socket.resume();
  for (;;) {
    const message = (await client.next()) as { kind?: string; error?: { code: string } };
    if (message.kind !== 'goodbye') continue;
    t.equal(message.error?.code, 'SLOW_READER', 'whoever reads after all finds the reason');
    break;
  }
  client.close();
});

async function metricsUntil(address: string, text: string): Promise<string> {
  for (;;) {
    const page = await (await fetch(`http://${address}/metrics`)).text();
    if (page.includes(text)) return page;
  }
}

t.test('an unexpected error is answered INTERNAL and the process goes on', async (t) => {
  const { address, service } = await start(t);
  service.execute_ = async () => {
    throw new TypeError('a bug');
  };
  const client = await RawClient.welcomed(address);
  client.sendMap(request(1));
  t.match(await client.next(), { id: 1, error: { code: 'INTERNAL', definite: false } });
  service.execute_ = async () => ({ sessionId: 1 });
  client.sendMap(request(2));
  t.match(await client.next(), { id: 2, ok: true });
  client.close();
});

t.test(
  'an answer over the frame limit becomes FRAME_TOO_LARGE for that request only',
  async (t) => {
    const { address, service } = await start(t);
    service.execute_ = async () => ({ text: 'x'.repeat(17 * 1024 * 1024) }) as never;
    const client = await RawClient.welcomed(address);
    client.sendMap(request(1));
    t.match(await client.next(), { id: 1, error: { code: 'FRAME_TOO_LARGE' } });
    service.execute_ = async () => ({ sessionId: 1 });
    client.sendMap(request(2));
    t.match(await client.next(), { id: 2, ok: true });
    client.close();
  },
);

t.test('a change of leader is pushed to every connection', async (t) => {
  const { address, service } = await start(t);
  const clients = await Promise.all([RawClient.welcomed(address), RawClient.welcomed(address)]);
  const [listener] = service.listeners;
  listener?.({ leader: 'n2' as never, term: 3, role: 'follower' });
  for (const client of clients) {
    const leader = { nodeId: 'n2', address: '127.0.0.1:7102' };
    t.same(await client.next(), { kind: 'leaderChanged', leader, term: 3 });
  }
  listener?.({ leader: null, term: 4, role: 'follower' });
  t.same(await clients[0].next(), { kind: 'leaderChanged', leader: null, term: 4 });
  for (const client of clients) client.close();
});

t.test(
  'stop answers what is under way, refuses what is new, says goodbye and frees the port',
  async (t) => {
    const { address, service, server } = await start(t);
    const held = new HeldRequests();
    service.execute_ = held.execute;
    const client = await RawClient.welcomed(address);
    client.sendMap(request(1));
    await until(() => held.count === 1);
    const stopped = server.stop();
    client.sendMap(request(2));
    t.match(await client.next(), { id: 2, error: { code: 'SHUTTING_DOWN', definite: true } });
    held.releaseAll();
    t.match(await client.next(), { id: 1, ok: true });
    t.match(await client.next(), { kind: 'goodbye', error: { code: 'SHUTTING_DOWN' } });
    await client.closed();
    await stopped;
    const again = connect({ port: Number(address.split(':')[1]), host: '127.0.0.1' });
    const code = await new Promise((resolve) => {
      again.on('error', (error: NodeJS.ErrnoException) => resolve(error.code));
      again.on('connect', () => resolve('connected'));
    });
    t.equal(code, 'ECONNREFUSED');
  },
);

t.test('a stuck request holds the shutdown no longer than its bound', async (t) => {
  const { address, service, server } = await start(t, { shutdownTimeoutMs: '20' });
  service.execute_ = new HeldRequests().execute;
  const client = await RawClient.welcomed(address);
  client.sendMap(request(1));
  await until(() => service.executed.length === 1);
  await server.stop();
  t.match(await client.next(), { kind: 'goodbye', error: { code: 'SHUTTING_DOWN' } });
});

t.test('the HTTP pages: health is open, the others ask for the key', async (t) => {
  const { address, service } = await start(t, {}, API_KEY);
  const health = await fetch(`http://${address}/health`);
  t.equal(health.status, 200);
  const ok = { status: 'ok', role: 'leader', term: 2, lagEntries: 2, durability: 'synced' };
  t.match(await health.json(), ok);
  service.statusPatch = { leader: null };
  const unhealthy = await fetch(`http://${address}/health`);
  t.equal(unhealthy.status, 503);
  t.match(await unhealthy.json(), { status: 'unavailable', reason: 'no leader is known' });
  for (const path of ['/metrics', '/api/v1/cluster/status', '/nothing']) {
    const refused = await fetch(`http://${address}${path}`);
    t.equal(refused.status, 401, path);
    t.match(await refused.json(), { error: { code: 'UNAUTHENTICATED' } });
  }
  const headers = { authorization: `Bearer ${API_KEY}` };
  const status = await fetch(`http://${address}/api/v1/cluster/status`, { headers });
  t.match(await status.json(), {
    nodeId: 'n1',
    role: 'leader',
    commitIndex: 12,
    appliedIndex: 10,
    stateDigest: { digest: 'ab12', appliedIndex: 10 },
    rows: { live: 6, tail: 1, graph: 4, deleted: 2 },
    members: [{ nodeId: 'n1' }, { nodeId: 'n2', publicAddress: '127.0.0.1:7102' }],
  });
  const metrics = await (await fetch(`http://${address}/metrics`, { headers })).text();
  t.match(metrics, /^holdfast_commit_index 12$/m);
  t.match(metrics, /^holdfast_role\{role="leader"\} 1$/m);
  t.match(metrics, /^holdfast_peer_lag_entries\{peer="n2"\} 2$/m);
  t.match(metrics, /^holdfast_raft_elections_total 1$/m);
  t.match(metrics, /^holdfast_raft_messages_refused_total 11$/m);
  t.match(metrics, /^holdfast_log_held_by\{holder="follower"\} 1$/m);
  t.match(metrics, /^holdfast_checkpoint_failures_in_row 1$/m);
  t.match(metrics, /^holdfast_hnsw_corruption_detected_total 31$/m);
  t.match(metrics, /^holdfast_hnsw_recovery_attempts_total\{result="loaded"\} 29$/m);
  t.match(metrics, /^holdfast_hnsw_snapshot_age_seconds\{generation="newest"\} 26$/m);
  t.match(metrics, /^holdfast_graph_rebuilt_total\{reason="deadRows"\} 24$/m);
  t.match(metrics, /^holdfast_graph_recall_lowest\{k="10"\} 0.97$/m);
  t.match(metrics, /^holdfast_snapshot_held_bytes\{direction="send",peer="n2"\} 500$/m);
  t.match(metrics, /^holdfast_snapshot_size_bytes\{direction="send",peer="n2"\} 2000$/m);
  t.equal((await fetch(`http://${address}/nothing`, { headers })).status, 404);
});

t.test('requests are counted by kind and code', async (t) => {
  const { address } = await start(t);
  const client = await RawClient.welcomed(address);
  client.sendMap(request(1));
  await client.next();
  client.sendMap({ id: 2, kind: 'openSession', surprise: 1 });
  await client.next();
  const page = await (await fetch(`http://${address}/metrics`)).text();
  t.match(page, /holdfast_requests_total\{kind="openSession",code="OK"\} 1/);
  t.match(page, /holdfast_requests_total\{kind="invalid",code="REQUEST_INVALID"\} 1/);
  t.match(page, /holdfast_client_connections 1/);
  client.close();
});

t.test(
  'listening is refused with a code: port in use, beyond loopback without a key',
  async (t) => {
    const { address } = await start(t);
    const rejectCode = async (flags: Flags, apiKey: string | null): Promise<string> => {
      const server = createServer(new FakeService(), flags, apiKey);
      try {
        await server.start();
      } catch (error) {
        return (error as HoldfastError).code;
      }
      await server.stop();
      return 'started';
    };
    t.equal(await rejectCode({ listen: address }, null), 'ADDRESS_IN_USE');
    t.equal(await rejectCode({ listen: '0.0.0.0:0' }, null), 'BIND_REFUSED');
    t.equal(await rejectCode({ listen: '0.0.0.0:0' }, API_KEY), 'started');
    t.equal(await rejectCode({ listen: '0.0.0.0:0', allowRemote: 'true' }, null), 'started');
  },
);

t.test('an upgrade to another path is answered 404', async (t) => {
  const { address } = await start(t);
  const { WebSocket } = await import('ws');
  const socket = new WebSocket(`ws://${address}/elsewhere`);
  const message = await new Promise((resolve) => {
    socket.on('error', (error) => resolve(error.message));
  });
  t.match(message, /404/);
  await servesOthers(t, address);
});
