/**
 * Goal: every error code that a server may send is really sent over the wire by real nodes, and
 * afterwards another connection is served as if nothing had happened.
 * Method: one way to provoke each code, in a table that does not compile with a code missing.
 * Three nodes of this process form the cluster; codes that only a broken part of a node gives come
 * from a public server whose service is broken on purpose.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type ERROR_CODES,
  type ErrorCode,
  HoldfastError,
  nodeId,
  SILENT_LOGGER,
} from '@holdfast/base';
import { type ListMembersResult, PAYLOAD_INDEX_COUNT_MAX, writeMsgpack } from '@holdfast/protocol';
import { NodeFileSystem } from '@holdfast/storage';
import t from 'tap';
import { initCluster } from '../src/cluster/init.ts';
import { startNode } from '../src/compose.ts';
import { loadConfig } from '../src/config/load.ts';
import { PublicServer } from '../src/server/public-server.ts';
import type { RunningNode } from '../src/service-api.ts';
import { COLLECTION_COUNT_MAX } from '../src/state/catalogue.ts';
import { SESSION_COUNT_MAX, SESSION_WINDOW_MAX } from '../src/state/sessions.ts';
import { SYSTEM_CLOCK, SYSTEM_TIMERS } from '../src/system-time.ts';
import { FakeService } from './support/fake-service.ts';
import { RawClient } from './support/raw-client.ts';

type WireCode = {
  [Code in ErrorCode]: (typeof ERROR_CODES)[Code]['surface'] extends 'wire' ? Code : never;
}[ErrorCode];

const API_KEY = 'correct-horse-battery';
const vector = [1, 2];

class Nodes {
  readonly #directory = mkdtempSync(join(tmpdir(), 'holdfast-codes-'));
  readonly #keyFile: string;
  readonly running = new Map<string, RunningNode>();

  private constructor(keyFile: string) {
    this.#keyFile = keyFile;
  }

  static async start(): Promise<Nodes> {
    const nodes = new Nodes('');
    const ports = await freePorts(3);
    initCluster(
      new NodeFileSystem(),
      ['n1', 'n2', 'n3'].map((id, i) => ({
        nodeId: nodeId(id),
        dataDirectory: join(nodes.#directory, id),
        publicAddress: `127.0.0.1:${60_001 + i}`,
        peerAddress: `127.0.0.1:${ports[i]}`,
      })),
    );
    for (const [i, id] of ['n1', 'n2', 'n3'].entries()) await nodes.startOne(id, ports[i] ?? 0);
    return nodes;
  }

  async startOne(id: string, peerPort: number): Promise<void> {
    const config = loadConfig({
      flags: {
        data: join(this.#directory, id),
        nodeId: id,
        listen: '127.0.0.1:0',
        peerListen: `127.0.0.1:${peerPort}`,
        laneCount: '1',
        inflightRequestCountMaxPerConnection: '2000',
        ...(this.#keyFile === '' ? {} : { apiKeyFile: this.#keyFile }),
      },
    });
    const overrides = { logger: SILENT_LOGGER, hasProcessMetrics: false };
    this.running.set(id, await startNode(config, overrides));
  }

  address(id: string): string {
    const node = this.running.get(id);
    if (node === undefined) throw new Error(`${id} is stopped`);
    return node.addresses.public;
  }

  async stop(id: string): Promise<void> {
    const node = this.running.get(id);
    this.running.delete(id);
    await node?.stop();
  }

  /** Id of the leader, once every running node knows the same one. */
  async leader(): Promise<string> {
    for (;;) {
      const ids = new Set<string>();
      for (const { addresses } of this.running.values()) {
        const answer = await ask(addresses.public, { kind: 'status' });
        ids.add(String((answer.result as { leader?: { nodeId?: string } })?.leader?.nodeId));
      }
      const [only] = ids;
      if (ids.size === 1 && only !== undefined && only !== 'undefined') return only;
    }
  }

  async close(): Promise<void> {
    for (const id of [...this.running.keys()]) await this.stop(id);
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports: number[] = [];
  for (const server of servers) {
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    ports.push((server.address() as { port: number }).port);
  }
  for (const server of servers) server.close();
  return ports;
}

interface Answer {
  readonly ok?: boolean;
  readonly result?: unknown;
  readonly error?: { readonly code: string; readonly message: string; readonly definite: boolean };
}

/** One request on a fresh connection. */
async function ask(address: string, request: object): Promise<Answer> {
  const client = await RawClient.welcomed(address);
  try {
    client.sendMap({ id: 1, ...request });
    for (;;) {
      const message = (await client.next()) as Answer & { kind?: string };
      if (message.kind !== 'leaderChanged' && message.kind !== 'membersChanged') return message;
    }
  } finally {
    client.close();
  }
}

/** Many requests on one connection; the answers in the order they came. */
async function askAll(address: string, requests: readonly object[]): Promise<readonly Answer[]> {
  const client = await RawClient.welcomed(address);
  const answers: Answer[] = [];
  const WINDOW = 1_500;
  let sent = 0;
  while (answers.length < requests.length) {
    while (sent < requests.length && sent - answers.length < WINDOW) {
      client.sendMap({ id: sent, ...requests[sent] });
      sent += 1;
    }
    answers.push((await client.next()) as Answer);
  }
  client.close();
  return answers;
}

const repeat = (count: number, make: (i: number) => object): readonly object[] =>
  Array.from({ length: count }, (_, i) => make(i));
const create = (name: string, more: object = {}): object => ({
  kind: 'createCollection',
  name,
  dimension: 2,
  metric: 'l2',
  shardCount: 1,
  ...more,
});
const upsert = (points: readonly object[], more: object = {}): object => ({
  kind: 'upsert',
  collection: 'docs',
  points,
  ...more,
});
const lastOf = (answers: readonly Answer[]): Answer => answers[answers.length - 1] ?? {};

async function openSession(address: string): Promise<number> {
  const { result } = await ask(address, { kind: 'openSession' });
  return (result as { sessionId: number }).sessionId;
}

interface World {
  readonly nodes: Nodes;
  /** Address of the leader. */
  readonly leader: string;
  readonly follower: string;
}

/** Provokes a code and gives the answer, or the notice, that carried it. */
type Provoke = (world: World) => Promise<Answer>;

const payloadIndex = (key: string, type: string) => ({
  kind: 'createPayloadIndex',
  collection: 'docs',
  key,
  type,
});

/** A request on the leader that is refused. */
const refused =
  (request: object): Provoke =>
  ({ leader }) =>
    ask(leader, request);

/** What a client that says something else than a good hello is told. */
const atHandshake =
  (misbehave: (client: RawClient) => void): Provoke =>
  async ({ leader }) => {
    const client = await RawClient.open(leader);
    misbehave(client);
    return (await client.next()) as Answer;
  };

/** A server of its own whose service, limits or key make it refuse. */
const atServer =
  (
    flags: Record<string, string>,
    apiKey: string | null,
    provoke: (server: PublicServer, service: FakeService) => Promise<Answer>,
  ): Provoke =>
  async () => {
    const config = loadConfig({
      flags: { data: 'unused', nodeId: 'n1', listen: '127.0.0.1:0', ...flags },
    });
    const service = new FakeService();
    const seams = { clock: SYSTEM_CLOCK, timers: SYSTEM_TIMERS, logger: SILENT_LOGGER };
    const server = new PublicServer({
      config,
      apiKey,
      service,
      hasProcessMetrics: false,
      ...seams,
    });
    await server.start();
    try {
      return await provoke(server, service);
    } finally {
      await server.stop();
    }
  };

const brokenService = (code: ErrorCode): Provoke =>
  atServer({}, null, async (server, service) => {
    service.execute_ = async () => {
      throw code === 'INTERNAL'
        ? new TypeError('a bug')
        : new HoldfastError(code, 'broken on purpose');
    };
    return ask(server.address, { kind: 'openSession' });
  });

/** Provoked at the end, because they cost the cluster its quorum. */
type Last = 'LEADERSHIP_LOST' | 'NO_LEADER' | 'QUORUM_AT_RISK';

const PROVOKE: Readonly<Record<Exclude<WireCode, Last>, Provoke>> = {
  NOT_LEADER: ({ follower }) => ask(follower, { kind: 'openSession' }),
  REQUEST_TIMEOUT: brokenService('REQUEST_TIMEOUT'),
  SHUTTING_DOWN: atServer({}, null, async (server, service) => {
    let finish = (): void => {};
    service.execute_ = () =>
      new Promise((resolve) => {
        finish = () => resolve({ sessionId: 1 });
      });
    const client = await RawClient.welcomed(server.address);
    client.sendMap({ id: 1, kind: 'openSession' });
    while (service.executed.length === 0) await ask(server.address, { id: 9 }).catch(() => {});
    const stopped = server.stop();
    client.sendMap({ id: 2, kind: 'openSession' });
    const answer = (await client.next()) as Answer;
    finish();
    await stopped;
    return answer;
  }),
  REPAIRING: brokenService('REPAIRING'),
  WRITES_BLOCKED: brokenService('WRITES_BLOCKED'),
  OVERLOADED: atServer(
    { inflightRequestCountMaxPerConnection: '1' },
    null,
    async (server, service) => {
      service.execute_ = () => new Promise(() => {});
      const client = await RawClient.welcomed(server.address);
      client.sendMap({ id: 1, kind: 'openSession', timeoutMs: 1_000 });
      client.sendMap({ id: 2, kind: 'openSession' });
      const answer = (await client.next()) as Answer;
      client.close();
      return answer;
    },
  ),
  TOO_MANY_CONNECTIONS: atServer({ maxConnections: '1' }, null, async (server) => {
    const first = await RawClient.welcomed(server.address);
    const second = await RawClient.open(server.address);
    second.hello();
    const answer = (await second.next()) as Answer;
    first.close();
    return answer;
  }),
  SLOW_READER: atServer(
    { sendBufferSizeBytesMax: '65536', slowReaderTimeoutMs: '10' },
    null,
    async (server, service) => {
      service.execute_ = async () => ({ text: 'x'.repeat(300_000) }) as never;
      const client = await RawClient.welcomed(server.address);
      client.socket.pause();
      for (let id = 0; id < 64; id++) client.sendMap({ id, kind: 'openSession' });
      const page = async (): Promise<string> =>
        (await fetch(`http://${server.address}/metrics`)).text();
      while (!(await page()).includes('code="SLOW_READER"')) await page();
      client.socket.resume();
      for (;;) {
        const message = (await client.next()) as Answer & { kind?: string };
        if (message.kind === 'goodbye') return message;
      }
    },
  ),
  INTERNAL: brokenService('INTERNAL'),
  SHARD_UNAVAILABLE: brokenService('SHARD_UNAVAILABLE'),
  UNAUTHENTICATED: atServer({}, API_KEY, async (server) => {
    const client = await RawClient.open(server.address);
    client.hello('a-wrong-key-of-some-length');
    return (await client.next()) as Answer;
  }),
  PROTOCOL_UNSUPPORTED: atHandshake((client) => client.hello(undefined, [999])),
  FRAME_MALFORMED: atHandshake((client) => client.socket.send('{"kind":"hello"}')),
  FRAME_TOO_LARGE: atHandshake((client) => client.socket.send(new Uint8Array(64 * 1024))),
  REQUEST_INVALID: refused({ kind: 'openSession', surprise: 1 }),
  COLLECTION_NOT_FOUND: refused({ kind: 'count', collection: 'nobody' }),
  COLLECTION_EXISTS: refused(create('docs')),
  COLLECTION_NOT_READY: async ({ leader }) => {
    const { result } = await ask(leader, create('restored', { isHidden: true }));
    const uid = (result as { collection: { createdIndex: number } }).collection.createdIndex;
    return ask(leader, { kind: 'publishCollections', uids: [uid] });
  },
  FILTER_INVALID: refused({ kind: 'count', collection: 'docs', filter: {} }),
  PAYLOAD_INDEX_EXISTS: async ({ leader }) =>
    lastOf(await askAll(leader, [payloadIndex('k', 'keyword'), payloadIndex('k', 'bool')])),
  PAYLOAD_INDEX_LIMIT: async ({ leader }) => {
    const many = repeat(PAYLOAD_INDEX_COUNT_MAX + 1, (i) => payloadIndex(`key${i}`, 'integer'));
    return lastOf(await askAll(leader, many));
  },
  COLLECTION_LIMIT: async ({ leader }) => {
    const names = repeat(COLLECTION_COUNT_MAX, (i) => create(`limit-${i}`));
    const answer = lastOf(await askAll(leader, names));
    await askAll(
      leader,
      repeat(COLLECTION_COUNT_MAX, (i) => ({
        ...{ kind: 'dropCollection', name: `limit-${i}`, retentionMs: 0 },
      })),
    );
    return answer;
  },
  DIMENSION_MISMATCH: refused(upsert([{ id: 1, vector: [1, 2, 3] }])),
  VECTOR_INVALID: refused(upsert([{ id: 1, vector: [1, Number.NaN] }])),
  POINT_ID_INVALID: refused(upsert([{ id: 'not-a-uuid', vector }])),
  PAYLOAD_INVALID: refused(upsert([{ id: 1, vector, payload: { huge: 'x'.repeat(70_000) } }])),
  BATCH_TOO_LARGE: refused(upsert(repeat(1_001, (id) => ({ id, vector })))),
  VERSION_CONFLICT: refused(upsert([{ id: 77, vector, ifVersion: 1 }])),
  SESSION_EXPIRED: refused(
    upsert([{ id: 1, vector }], { session: { id: 999_999, sequence: 1, ackedThrough: 0 } }),
  ),
  SESSION_WINDOW_FULL: async ({ leader }) => {
    const id = await openSession(leader);
    const requests = repeat(SESSION_WINDOW_MAX + 1, (i) =>
      upsert([{ id: 1, vector }], { session: { id, sequence: i + 1, ackedThrough: 0 } }),
    );
    return lastOf(await askAll(leader, requests));
  },
  SESSION_LIMIT: async ({ leader }) => {
    const answers = await askAll(
      leader,
      repeat(SESSION_COUNT_MAX, () => ({ kind: 'openSession' })),
    );
    const closes = answers
      .filter((answer) => answer.ok === true)
      .map(({ result }) => ({ kind: 'closeSession', ...(result as { sessionId: number }) }));
    await askAll(leader, closes);
    return lastOf(answers);
  },
  SEQUENCE_REUSED: async ({ leader }) => {
    const session = { id: await openSession(leader), sequence: 1, ackedThrough: 0 };
    await ask(leader, upsert([{ id: 1, vector }], { session }));
    return ask(leader, upsert([{ id: 2, vector }], { session }));
  },
  TOO_STALE: ({ follower }) =>
    ask(follower, { kind: 'count', collection: 'docs', consistency: 'stale', maxStalenessMs: 0 }),
  LEASE_DISABLED: refused({ kind: 'count', collection: 'docs', consistency: 'lease' }),
  MEMBER_UNKNOWN: refused({ kind: 'removeMember', nodeId: 'nobody' }),
  MEMBER_EXISTS: refused({ kind: 'addMember', nodeId: 'n1', isLearner: true }),
  MEMBER_UNREACHABLE: refused({ kind: 'addMember', nodeId: 'n9', address: '127.0.0.1:1' }),
  MEMBERSHIP_INVALID: refused({ kind: 'replaceMember', nodeId: 'n1', by: 'n1' }),
  // By real members in membership.test.ts.
  NOT_MEMBER: brokenService('NOT_MEMBER'),
  MEMBER_BEHIND: brokenService('MEMBER_BEHIND'),
  MEMBERSHIP_PENDING: brokenService('MEMBERSHIP_PENDING'),
  TRANSFER_FAILED: brokenService('TRANSFER_FAILED'),
  // By real clusters in standby.test.ts.
  READ_ONLY: brokenService('READ_ONLY'),
  FENCED: brokenService('FENCED'),
  FENCE_UNKNOWN: brokenService('FENCE_UNKNOWN'),
  PROMOTION_REFUSED: brokenService('PROMOTION_REFUSED'),
};

t.test('every wire code is sent by a server, and others are served afterwards', async (t) => {
  const nodes = await Nodes.start();
  t.teardown(() => nodes.close());
  const leaderId = await nodes.leader();
  const followerId = ['n1', 'n2', 'n3'].find((id) => id !== leaderId) ?? 'n1';
  const world: World = {
    nodes,
    leader: nodes.address(leaderId),
    follower: nodes.address(followerId),
  };
  t.match(await ask(world.leader, create('docs')), { ok: true });
  for (const [code, provoke] of Object.entries(PROVOKE)) {
    const { error } = await provoke(world);
    t.equal(error?.code, code, `${code} is sent`);
    t.ok((error?.message.length ?? 0) > 10, `${code} says what to do: ${error?.message}`);
    const good = await ask(world.leader, { kind: 'count', collection: 'docs' });
    t.match(good, { ok: true }, `after ${code} another connection is served`);
  }
  // Last, because they cost the cluster its quorum.
  const others = [...nodes.running.keys()].filter((id) => id !== leaderId);
  await nodes.stop(others[0] ?? '');
  // Until the leader has noticed that it is silent.
  const isSilent = ({ result }: Answer): boolean =>
    (result as ListMembersResult).members.some(
      ({ nodeId, progress }) => nodeId === others[0] && progress?.isRecentlyActive === false,
    );
  while (!isSilent(await ask(world.leader, { kind: 'listMembers' })));
  const risk = await ask(world.leader, { kind: 'demoteMember', nodeId: others[1] });
  t.match(risk.error, { code: 'QUORUM_AT_RISK', definite: true });
  await nodes.stop(others[1] ?? '');
  const lost = await ask(world.leader, upsert([{ id: 1, vector }]));
  t.match(lost.error, { code: 'LEADERSHIP_LOST', definite: false });
  const none = await ask(world.leader, upsert([{ id: 1, vector }]));
  t.match(none.error, { code: 'NO_LEADER', definite: true });
  t.match(await ask(world.leader, { kind: 'status' }), { ok: true }, 'the node still answers');
});

t.test('a truncated request ends its own connection only', async (t) => {
  const nodes = await Nodes.start();
  t.teardown(() => nodes.close());
  const address = nodes.address(await nodes.leader());
  const client = await RawClient.welcomed(address);
  client.socket.send(writeMsgpack({ id: 1, kind: 'openSession' }).subarray(0, 9));
  t.equal(await client.nextErrorCode(), 'FRAME_MALFORMED');
  t.match(await ask(address, { kind: 'openSession' }), { ok: true });
});
