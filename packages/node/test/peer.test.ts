/**
 * Three peer transports on loopback, each behind a proxy that can cut and corrupt. Conditions are
 * awaited, never timed.
 */
import { once } from 'node:events';
import { HoldfastError, nodeId } from '@holdfast/base';
import {
  decodePeerFrame,
  decodePeerHandshake,
  encodePeerFrame,
  encodePeerHandshake,
  makeSnapshotChunk,
  PEER_PROTOCOL_VERSION,
  type PeerChallenge,
  type PeerFrame,
  type PeerHello,
  peerProof,
} from '@holdfast/protocol';
import t, { type Test } from 'tap';
import { WebSocket } from 'ws';
import { createPeerContext } from '../src/peer/peer-context.ts';
import { SendQueue } from '../src/peer/send-queue.ts';
import { SnapshotTransfer } from '../src/peer/snapshot-transfer.ts';
import type { IncomingSnapshot, OutgoingSnapshot, SnapshotReceiver } from '../src/service-api.ts';
import {
  createPeers,
  incarnationOf,
  JSON_CODEC,
  message,
  type Peer,
  type PeerNetOptions,
  startPeer,
  startPeers,
  stopPeers,
} from './support/peer-net.ts';
import { until } from './support/until.ts';

async function peersFor(t: Test, options?: PeerNetOptions): Promise<Peer[]> {
  const peers = await createPeers(options);
  t.teardown(() => stopPeers(peers));
  return peers;
}

const connectedCount = (peer: Peer): number => peer.transport.stats().connectedPeerCount;

async function connectedPeers(t: Test, options?: PeerNetOptions): Promise<Peer[]> {
  const peers = await peersFor(t, options);
  await startPeers(peers);
  await until(() => peers.every((peer) => connectedCount(peer) === peers.length - 1));
  return peers;
}

t.test(
  'messages reach the peer they name, in order, with the sender of the connection',
  async (t) => {
    const [n1, n2, n3] = (await connectedPeers(t)) as [Peer, Peer, Peer];
    const rounds = [1, 2, 3, 4, 5];
    n1.transport.send(rounds.map((round) => message('n1', 'n2', round)));
    n1.transport.send([message('n1', 'n3', 9)]);
    n2.transport.send([message('n2', 'n1', 7)]);
    await until(
      () => n2.received.length === 5 && n3.received.length === 1 && n1.received.length === 1,
    );
    t.same(
      n2.received,
      rounds.map((round) => message('n1', 'n2', round)),
    );
    t.same(n3.received, [message('n1', 'n3', 9)]);
    t.same(n1.received, [message('n2', 'n1', 7)]);
    t.equal(n1.transport.publicAddressOf(n2.id), 'public-of-n2:1');
    t.equal(n2.transport.publicAddressOf(n1.id), 'public-of-n1:1');
    t.match(n1.transport.stats(), { messagesSent: 6, messagesReceived: 1, messagesDropped: 0 });
  },
);

t.test('messages to a peer that is away are dropped and counted', async (t) => {
  const peers = await peersFor(t, { ids: ['n1', 'n2'] });
  const [n1] = peers as [Peer, Peer];
  await startPeer(n1);
  n1.transport.send([message('n1', 'n2', 1), message('n1', 'nobody', 2)]);
  t.match(n1.transport.stats(), { messagesSent: 0, messagesDropped: 2 });
  t.equal(n1.transport.publicAddressOf(nodeId('n2')), null);
});

t.test(
  'a cut connection is dialled again at once and is not reported as a dead peer',
  async (t) => {
    const patch: PeerNetOptions['patch'] = (_id, options) => ({
      ...options,
      timing: { disconnectGraceMs: 60_000 },
    });
    const [n1, n2] = (await connectedPeers(t, { ids: ['n1', 'n2'], patch })) as [Peer, Peer];
    n2.proxy.cutAll();
    await until(() => connectedCount(n1) === 0);
    await until(() => connectedCount(n1) === 1);
    n1.transport.send([message('n1', 'n2', 1)]);
    await until(() => n2.received.length === 1);
    t.same(n1.states, ['n2 connected'], 'no disconnect was reported');
  },
);

t.test(
  'a peer that refuses connections is reported at once and again when it is back',
  async (t) => {
    const [n1, n2] = (await connectedPeers(t, { ids: ['n1', 'n2'] })) as [Peer, Peer];
    n2.proxy.isRefusing = true;
    n2.proxy.cutAll();
    await until(() => n2.proxy.refusedCount >= 2);
    t.equal(n1.states.at(-1), 'n2 disconnected', 'the first refusal was enough');
    n2.proxy.isRefusing = false;
    await until(() => n1.states.at(-1) === 'n2 connected');
    t.same(n1.states, ['n2 connected', 'n2 disconnected', 'n2 connected']);
  },
);

t.test('a connection that goes silent is cut and dialled again', async (t) => {
  const patch: PeerNetOptions['patch'] = (_id, options) => ({
    ...options,
    timing: { pingIntervalMs: 5, missedPingCountMax: 2, disconnectGraceMs: 60_000 },
  });
  const [n1, n2] = (await connectedPeers(t, { ids: ['n1', 'n2'], patch })) as [Peer, Peer];
  let isSwallowing = true;
  n2.proxy.onForward = () => (isSwallowing ? 'drop' : undefined);
  await until(() => connectedCount(n1) === 0);
  isSwallowing = false;
  await until(() => connectedCount(n1) === 1);
  t.pass();
});

t.test('nodes that were restored by two plans refuse each other, and nobody else', async (t) => {
  const digests: Readonly<Record<string, string>> = { n1: 'a'.repeat(64), n2: 'b'.repeat(64) };
  const patch: PeerNetOptions['patch'] = (id, options) => {
    const planDigest = digests[id];
    return planDigest === undefined ? options : { ...options, planDigest };
  };
  const peers = await createPeers({ patch });
  t.teardown(() => stopPeers(peers));
  await startPeers(peers);
  const [n1, n2, n3] = peers as [Peer, Peer, Peer];
  const isRefused = (peer: Peer): boolean => peer.transport.stats().handshakesRefused > 0;
  const isLetIn = (): boolean => connectedCount(n1) === 2 || connectedCount(n2) === 2;
  await until(() => connectedCount(n3) === 2 && (isRefused(n1) || isRefused(n2) || isLetIn()));
  t.equal(connectedCount(n1), 1, 'one that joined later has no plan, and is welcome');
  t.equal(connectedCount(n2), 1);
  const line = [...n1.log, ...n2.log].find(({ message }) => /was restored by plan/.test(message));
  t.match(line?.message, /restored by plan [ab]{16}, this node by [ab]{16}: lay all nodes again/);
});

t.test(
  'a node that cannot prove itself gets nothing, and is logged once, not per attempt',
  async (t) => {
    const cases = [
      ['another secret', 'PEER_UNAUTHENTICATED', { secret: 'some-other-secret-entirely' }],
      ['another cluster', 'PEER_WRONG_CLUSTER', { clusterId: 'd'.repeat(32) }],
      ['another incarnation', 'PEER_WRONG_INCARNATION', { incarnation: 'e'.repeat(32) }],
    ] as const;
    for (const [name, code, change] of cases) {
      const patch: PeerNetOptions['patch'] = (id, options) => ({
        ...options,
        ...(id === 'n2' ? (change as object) : {}),
        timing: { reconnectDelayMsMin: 1, reconnectDelayMsMax: 2 },
      });
      const peers = await peersFor(t, { ids: ['n1', 'n2'], patch });
      const [n1, n2] = peers as [Peer, Peer];
      await startPeers(peers);
      const isLetIn = (): boolean => connectedCount(n1) + connectedCount(n2) > 0;
      await until(() => n1.transport.stats().handshakesRefused >= 6 || isLetIn());
      t.equal(connectedCount(n1), 0, `${name}: not connected`);
      t.equal(connectedCount(n2), 0, `${name}: nor the other way`);
      const warnings = n1.log.filter((line) => line.level === 'warn' && line.fields.code === code);
      t.ok(warnings.length >= 1 && warnings.length <= 2, `${name}: ${code} logged once per name`);
      t.same(n1.states, [], `${name}: no state reported`);
      await stopPeers(peers);
    }
  },
);

interface RawDial {
  readonly socket: WebSocket;
  /** Frames after the handshake; ends with null when closed. */
  readonly frames: (Buffer | null)[];
}

/** Speaks the dialling half by hand; `prove` makes the proof. */
async function rawDial(
  peer: Peer,
  hello: Partial<PeerHello>,
  prove: (hello: PeerHello, challenge: PeerChallenge) => Uint8Array,
): Promise<RawDial> {
  const socket = new WebSocket(`ws://${peer.transport.address}/v1/peer`);
  await once(socket, 'open');
  const context = createPeerContext({
    ...peer.options,
    nodeId: nodeId('n2'),
    incarnation: incarnationOf('n2'),
  });
  const full: PeerHello = {
    ...{ kind: 'hello', version: PEER_PROTOCOL_VERSION, channel: 'control' },
    ...context.identity(),
    nonce: context.nonce(),
    isJoining: false,
    ...hello,
  };
  const frames: (Buffer | null)[] = [];
  socket.on('message', (data) => frames.push(data as Buffer));
  socket.on('close', () => frames.push(null));
  socket.on('error', () => {});
  socket.send(encodePeerHandshake(full));
  await until(() => frames.length > 0);
  const challenge = decodePeerHandshake(frames.shift()!) as PeerChallenge;
  socket.send(encodePeerHandshake({ kind: 'response', proof: prove(full, challenge) }));
  return { socket, frames };
}

const honestProof = (peer: Peer) => (hello: PeerHello, challenge: PeerChallenge) =>
  peerProof(createPeerContext(peer.options).hmac, { role: 'connect', hello, challenge });

t.test('a reflected or invented proof is refused and nothing after it is decoded', async (t) => {
  const [n1] = (await connectedPeers(t, { ids: ['n1', 'n2'] })) as [Peer, Peer];
  const proofs = [
    (_hello: PeerHello, challenge: PeerChallenge) => challenge.proof,
    () => new Uint8Array(32),
  ];
  for (const prove of proofs) {
    const { socket, frames } = await rawDial(n1, {}, prove);
    const body = JSON_CODEC.encode(message('n2', 'n1', 66));
    socket.send(encodePeerFrame({ kind: 'raft', messages: [{ group: 1, body }] }));
    await until(() => frames.includes(null) || n1.received.length > 0);
    const refusal = decodePeerHandshake(frames[0]!);
    t.match(refusal, { kind: 'refused', error: { code: 'PEER_UNAUTHENTICATED' } });
  }
  t.same(n1.received, []);
});

t.test('a message counts as sent by the connection it came over, whatever it says', async (t) => {
  const [n1] = (await connectedPeers(t)) as [Peer, Peer, Peer];
  const { socket, frames } = await rawDial(n1, {}, honestProof(n1));
  await until(() => frames.length > 0);
  t.equal(decodePeerHandshake(frames[0]!).kind, 'accepted');
  const lies = [
    message('n3', 'n1', 1),
    { ...message('n2', 'n1', 2), fromIncarnation: incarnationOf('n3') },
    message('n2', 'n3', 3),
  ];
  const bodies = [...lies, message('n2', 'n1', 4)].map((lie) => JSON_CODEC.encode(lie));
  bodies.push(new TextEncoder().encode('not a message'));
  const messages = bodies.map((body) => ({ group: 1, body }));
  messages.push({ group: 2, body: JSON_CODEC.encode(message('n2', 'n1', 5)) });
  socket.send(encodePeerFrame({ kind: 'raft', messages }));
  await until(() => n1.received.length + n1.transport.stats().messagesMalformed >= 6);
  t.same(n1.received, [message('n2', 'n1', 4)], 'only what n2 may say');
  t.equal(n1.transport.stats().messagesMalformed, 5);
  socket.terminate();
});

t.test('before the proof only a few kilobytes are read', async (t) => {
  const [n1] = (await connectedPeers(t, { ids: ['n1', 'n2'] })) as [Peer, Peer];
  const socket = new WebSocket(`ws://${n1.transport.address}/v1/peer`);
  await once(socket, 'open');
  socket.on('error', () => {});
  socket.send(Buffer.alloc(1024 * 1024));
  await once(socket, 'close');
  t.ok(n1.transport.stats().bytesReceived < 64 * 1024, 'the frame was never assembled');
});

t.test(
  'one flipped byte costs one frame; a connection that keeps corrupting is closed',
  async (t) => {
    const [n1, n2] = (await connectedPeers(t, { ids: ['n1', 'n2'] })) as [Peer, Peer];
    let flipCount = 1;
    n2.proxy.onForward = (chunk) => {
      // Past the frame head, so that the WebSocket layer itself stays intact.
      if (flipCount === 0 || chunk.byteLength < 60) return undefined;
      flipCount -= 1;
      chunk[chunk.byteLength - 5]! ^= 0x10;
      return undefined;
    };
    n1.transport.send([message('n1', 'n2', 1)]);
    await until(() => n2.transport.stats().framesCorrupt === 1);
    n1.transport.send([message('n1', 'n2', 2)]);
    await until(() => n2.received.length === 1);
    t.same(n2.received, [message('n1', 'n2', 2)], 'the corrupt frame is gone, the next arrives');
    t.equal(connectedCount(n1), 1, 'the connection lives');
    flipCount = 3;
    for (let round = 3; round < 6; round++) {
      n1.transport.send([message('n1', 'n2', round)]);
      const wanted = round - 1;
      await until(() => n2.transport.stats().framesCorrupt === wanted);
    }
    await until(() => {
      n1.transport.send([message('n1', 'n2', 8)]);
      return connectedCount(n1) === 0 || n2.received.length > 1;
    });
    t.equal(n2.received.length, 1, 'nothing more came over the closed connection');
    await until(() => connectedCount(n1) === 1);
    n1.transport.send([message('n1', 'n2', 9)]);
    await until(() => n2.received.length >= 2);
    t.same(n2.received.at(-1), message('n1', 'n2', 9));
  },
);

t.test('queued log entries never hold up a heartbeat, and both lanes are bounded', (t) => {
  const queue = new SendQueue();
  const entry = { group: 1, body: new Uint8Array(8 * 1024 * 1024) };
  let takenCount = 0;
  while (queue.push('entries', entry)) takenCount += 1;
  t.equal(takenCount, 8, '64 MiB of entries');
  const heartbeat = { group: 1, body: new Uint8Array(30) };
  t.ok(queue.push('urgent', heartbeat), 'there is still room for what is urgent');
  t.same(queue.take(100, 1024 * 1024), [heartbeat], 'and it goes first');
  t.same(queue.take(100, 1024 * 1024), [entry], 'one entry even if it is over the frame size');
  t.equal(queue.clear(), 7);
  t.ok(queue.isEmpty);
  let urgentCount = 0;
  while (queue.push('urgent', heartbeat)) urgentCount += 1;
  t.equal(urgentCount, 4_096);
  t.end();
});

interface Received {
  readonly snapshot: IncomingSnapshot;
  readonly contents: Buffer[];
  isFinished: boolean;
  abortReason: string | null;
}

/** Keeps what it is given in memory. */
function collector(options: { failAt?: 'begin' | 'write' | 'finish' } = {}): {
  receiver: SnapshotReceiver;
  received: Received[];
} {
  const received: Received[] = [];
  const fail = (at: string): void => {
    if (options.failAt === at) throw new HoldfastError('DISK_FULL', `${at}: the disk is full`);
  };
  const receiver: SnapshotReceiver = {
    begin(snapshot) {
      fail('begin');
      const contents = snapshot.files.map(({ sizeBytes }) => Buffer.alloc(sizeBytes));
      const one: Received = { snapshot, contents, isFinished: false, abortReason: null };
      received.push(one);
      return {
        async write(fileIndex, offset, bytes) {
          fail('write');
          contents[fileIndex]!.set(bytes, offset);
        },
        async finish() {
          fail('finish');
          one.isFinished = true;
        },
        abort(reason) {
          one.abortReason = reason;
        },
      };
    },
  };
  return { receiver, received };
}

function snapshotOf(
  contents: readonly Buffer[],
  onRead = () => {},
): OutgoingSnapshot & { releasedCount: number } {
  const snapshot = {
    group: 1 as never,
    id: 'checkpoint-1',
    meta: new Uint8Array([1, 2, 3]),
    releasedCount: 0,
    files: contents.map((bytes, i) => ({
      path: `shards/${i}.segment`,
      sizeBytes: bytes.byteLength,
      checksum: `checksum-${i}`,
      read: async (offset: number, length: number) => {
        onRead();
        return bytes.subarray(offset, offset + length);
      },
    })),
    release: () => {
      snapshot.releasedCount += 1;
    },
  };
  return snapshot;
}

const noise = (sizeBytes: number, seed: number): Buffer => {
  const bytes = Buffer.alloc(sizeBytes);
  let x = seed;
  for (let i = 0; i < sizeBytes; i += 4) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    bytes.writeUInt32LE(x, Math.min(i, sizeBytes - 4));
  }
  return bytes;
};

async function snapshotPair(t: Test, options?: Parameters<typeof collector>[0]) {
  const peers = await peersFor(t, { ids: ['n1', 'n2'] });
  const [n1, n2] = peers as [Peer, Peer];
  const { receiver, received } = collector(options);
  n2.transport.onSnapshot(receiver);
  await startPeers(peers);
  await until(() => connectedCount(n1) === 1 && connectedCount(n2) === 1);
  return { n1, n2, received };
}

t.test(
  'a snapshot of several megabytes arrives byte for byte while heartbeats go on',
  async (t) => {
    const { n1, n2, received } = await snapshotPair(t);
    const contents = [noise(7_000_001, 1), Buffer.alloc(0), noise(256 * 1024, 2), noise(13, 3)];
    let readCount = 0;
    const snapshot = snapshotOf(contents, () => {
      readCount += 1;
      n1.transport.send([message('n1', 'n2', readCount)]);
    });
    await n1.transport.sendSnapshot(n2.id, snapshot);
    const [one] = received;
    t.equal(received.length, 1);
    t.equal(one?.isFinished, true);
    t.equal(one?.abortReason, null);
    t.match(one?.snapshot, {
      from: 'n1',
      group: 1,
      files: [{ path: 'shards/0.segment', checksum: 'checksum-0' }],
    });
    t.same([...(one?.snapshot.meta ?? [])], [1, 2, 3]);
    for (const [i, bytes] of contents.entries()) t.ok(bytes.equals(one!.contents[i]!), `file ${i}`);
    await until(() => n2.received.length === readCount);
    t.equal(snapshot.releasedCount, 1, 'the files were released');
    t.match(n1.transport.stats(), { snapshotsSent: 1, snapshotsFailed: 0 });
    t.match(n2.transport.stats(), { snapshotsReceived: 1 });
  },
);

t.test(
  'a receiver that refuses, cannot write or cannot finish fails the transfer with its reason',
  async (t) => {
    for (const failAt of ['begin', 'write', 'finish'] as const) {
      const { n1, n2, received } = await snapshotPair(t, { failAt });
      const snapshot = snapshotOf([noise(3_000_000, 4)]);
      await t.rejects(n1.transport.sendSnapshot(n2.id, snapshot), {
        code: 'PEER_PROTOCOL',
        message: /DISK_FULL/,
      });
      t.equal(snapshot.releasedCount, 1);
      if (failAt !== 'begin') t.match(received[0]?.abortReason, /disk is full/, failAt);
      t.notOk(received.some((one) => one.isFinished));
      t.equal(connectedCount(n1), 1, 'the control connection is untouched');
    }
  },
);

t.test(
  'a transfer cut in the middle is aborted on the receiver, rejects, and can be repeated',
  async (t) => {
    const { n1, n2, received } = await snapshotPair(t);
    const contents = [noise(6_000_000, 5)];
    let readCount = 0;
    const cut = snapshotOf(contents, () => {
      readCount += 1;
      if (readCount === 10) n2.proxy.cutAll();
    });
    await t.rejects(n1.transport.sendSnapshot(n2.id, cut), { code: 'CONNECTION_LOST' });
    await until(() => received[0]?.abortReason !== null);
    t.equal(received[0]?.isFinished, false);
    await n1.transport.sendSnapshot(n2.id, snapshotOf(contents));
    t.ok(received[1]?.isFinished);
    t.ok(contents[0]!.equals(received[1]!.contents[0]!));
  },
);

t.test('a corrupt chunk is never written: the transfer fails and says so', async (t) => {
  const { n1, n2, received } = await snapshotPair(t);
  const contents = [noise(2_000_000, 6)];
  let isArmed = false;
  n2.proxy.onForward = (chunk) => {
    if (!isArmed || chunk.byteLength < 10_000) return undefined;
    isArmed = false;
    chunk[5_000]! ^= 1;
    return undefined;
  };
  const snapshot = snapshotOf(contents, () => {
    if (received.length === 1 && n2.transport.stats().framesCorrupt === 0) isArmed = true;
  });
  await t.rejects(n1.transport.sendSnapshot(n2.id, snapshot), { code: 'PEER_PROTOCOL' });
  t.equal(received[0]?.isFinished, false);
  t.match(received[0]?.abortReason, /out of order|last byte/);
  t.equal(n2.transport.stats().framesCorrupt, 1);
});

t.test(
  'a sender that cannot read its file aborts, and one transfer per peer is allowed',
  async (t) => {
    const { n1, n2, received } = await snapshotPair(t);
    let readCount = 0;
    let second: Promise<unknown> | null = null;
    const broken = snapshotOf([noise(3_000_000, 7)], () => {
      readCount += 1;
      if (readCount === 2) {
        second = n1.transport.sendSnapshot(n2.id, snapshotOf([])).catch((error: unknown) => error);
      }
      if (readCount === 3) throw new HoldfastError('SEGMENT_CORRUPT', 'block 3 is damaged');
    });
    await t.rejects(n1.transport.sendSnapshot(n2.id, broken), { code: 'SEGMENT_CORRUPT' });
    t.match(await second, { code: 'OVERLOADED' });
    await until(() => received[0]?.abortReason !== null);
    t.equal(received[0]?.isFinished, false);
  },
);

t.test('stop aborts what is under way on both sides and frees the port', async (t) => {
  const { n1, n2, received } = await snapshotPair(t);
  let readCount = 0;
  let stopped: Promise<void> | null = null;
  const snapshot = snapshotOf([noise(6_000_000, 8)], () => {
    readCount += 1;
    if (readCount === 5) stopped = n1.transport.stop();
  });
  await t.rejects(n1.transport.sendSnapshot(n2.id, snapshot), { code: 'ABORTED' });
  await stopped;
  await until(() => received[0]?.abortReason !== null);
  const socket = new WebSocket(`ws://${n1.transport.address}/v1/peer`);
  const error = await new Promise<Error>((resolve) => {
    socket.on('error', resolve);
  });
  t.match(error.message, /ECONNREFUSED/);
});

t.test('a plain HTTP request to the peer port is told what the port is for', async (t) => {
  const [n1] = (await connectedPeers(t, { ids: ['n1', 'n2'] })) as [Peer, Peer];
  const response = await fetch(`http://${n1.transport.address}/`);
  t.equal(response.status, 426);
});

t.test(
  'chunks out of order, missing or over the end fail the transfer and are never finished',
  async (t) => {
    const files = [
      { path: 'a', sizeBytes: 6, checksum: Uint8Array.of(65) },
      { path: 'b', sizeBytes: 3, checksum: Uint8Array.of(66) },
    ];
    const begin = {
      kind: 'snapshotBegin',
      transferId: 1,
      group: 1,
      meta: new Uint8Array(),
      files,
    } as const;
    const end = { kind: 'snapshotEnd', transferId: 1 } as const;
    const chunk = (
      fileIndex: number,
      offset: number,
      sizeBytes: number,
      transferId = 1,
    ): PeerFrame =>
      makeSnapshotChunk({ transferId, fileIndex, offset, bytes: new Uint8Array(sizeBytes) });
    const good = [chunk(0, 0, 3), chunk(0, 3, 3), chunk(1, 0, 3)];
    const bad: Readonly<Record<string, readonly PeerFrame[]>> = {
      'a gap': [begin, chunk(0, 0, 3), chunk(1, 0, 3), end],
      'a chunk of the middle first': [begin, chunk(0, 3, 3), chunk(0, 0, 3), chunk(1, 0, 3), end],
      'a chunk twice': [begin, chunk(0, 0, 3), chunk(0, 0, 3), chunk(1, 0, 3), end],
      'a chunk over the end': [begin, chunk(0, 0, 7), chunk(1, 0, 3), end],
      'a chunk without bytes': [begin, chunk(0, 0, 0), ...good, end],
      'the last chunk missing': [begin, ...good.slice(0, 2), end],
      'a chunk too many': [begin, ...good, chunk(2, 0, 1), end],
      'a chunk of another transfer': [begin, chunk(0, 0, 3, 2), ...good, end],
      'a file list that ends early': [begin, chunk(0, 0, 6), end],
    };
    const [peer] = (await peersFor(t, { ids: ['n1', 'n2'] })) as [Peer, Peer];
    const feed = async (frames: readonly PeerFrame[]) => {
      const { receiver, received } = collector();
      const replies: PeerFrame[] = [];
      const transfer = new SnapshotTransfer({
        context: createPeerContext(peer.options),
        from: nodeId('n2'),
        receiver,
        send: (bytes) => replies.push(decodePeerFrame(bytes)),
      });
      for (const frame of frames) transfer.push(frame);
      await until(() => replies.length >= 2);
      await transfer.close('the test is over');
      const statuses = replies.map((reply) =>
        reply.kind === 'snapshotReply' ? reply.status : '?',
      );
      return { one: received[0], statuses };
    };
    const whole = await feed([begin, ...good, end]);
    t.same(whole.statuses, ['accepted', 'installed']);
    t.match(whole.one, { isFinished: true, abortReason: null });
    for (const [name, frames] of Object.entries(bad)) {
      const { one, statuses } = await feed(frames);
      t.same(statuses, ['accepted', 'failed'], name);
      t.equal(one?.isFinished, false, name);
      t.type(one?.abortReason, 'string', name);
    }
  },
);
