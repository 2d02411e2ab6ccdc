/**
 * Those who speak to a node without meaning well: strangers who know the protocol and break it.
 * Each attack ends by itself and says how the node took it. None may hurt anything but its own
 * connection.
 */
import { createConnection, type Socket } from 'node:net';
import type { Random } from '@holdfast/base';
import {
  encodePeerHandshake,
  encodeUp,
  PEER_PROTOCOL_VERSION,
  type PeerHello,
} from '@holdfast/protocol';
import { WebSocket } from 'ws';

export interface Address {
  readonly host: string;
  readonly port: number;
}

export type Door = 'client' | 'peer';

const PATHS = { client: '/v1/ws', peer: '/v1/peer' } as const satisfies Record<Door, string>;
/** The node has to end it; if it does not, the attack has shown what it could. */
const ATTACK_TIMEOUT_MS = 6_000;
const GARBAGE_SIZE_BYTES_MAX = 64 * 1024;
const NESTING_DEPTH = 200_000;
/** Requests that a slow reader sends without reading one answer. */
const UNREAD_REQUEST_COUNT = 20_000;
const UNREAD_MS = 4_000;

/** How the node took it. `endured`: it kept the connection for the whole time. */
export type AttackEnd = 'closed' | 'endured' | 'refused';

/** Bytes without sense, from the first one on. */
export function sendGarbage(address: Address, random: Random): Promise<AttackEnd> {
  return withSocket(address, (socket) => {
    socket.write(noise(random, 1 + random.nextBelow(GARBAGE_SIZE_BYTES_MAX)));
  });
}

/** A frame that announces 2^50 bytes and goes on for a while. */
export function announceHugeFrame(
  address: Address,
  door: Door,
  random: Random,
): Promise<AttackEnd> {
  return withSocket(address, (socket) => {
    socket.write(upgradeRequest(address, door));
    const header = Buffer.alloc(14);
    header.set([0x82, 0xff]);
    header.writeBigUInt64BE(1n << 50n, 2);
    socket.once('data', () => {
      socket.write(header);
      socket.write(noise(random, GARBAGE_SIZE_BYTES_MAX));
    });
  });
}

/** What a message may look like that wants to exhaust whoever decodes it. */
export const BAD_MESSAGES: Readonly<Record<string, () => Buffer>> = {
  'deep arrays': () => Buffer.alloc(NESTING_DEPTH, 0x91),
  'deep maps': () => Buffer.alloc(NESTING_DEPTH, 0x81),
  'huge array': () => Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff]),
  'huge map': () => Buffer.from([0xdf, 0xff, 0xff, 0xff, 0xff]),
  'huge text': () => Buffer.from([0xdb, 0xff, 0xff, 0xff, 0xff]),
  'huge binary': () => Buffer.from([0xc6, 0xff, 0xff, 0xff, 0xff]),
  'nothing at all': () => Buffer.alloc(0),
  'a prototype': () =>
    Buffer.concat([Buffer.from([0x81, 0xa9]), Buffer.from('__proto__'), Buffer.from([0x80])]),
};

/** After a good hello where there is one: only then the whole decoder is behind it. */
export function sendBadMessage(address: Address, door: Door, message: Buffer): Promise<AttackEnd> {
  return withWebSocket(address, door, (socket) => {
    if (door === 'client') socket.send(hello());
    socket.send(message);
  });
}

/** Asks and asks and does not read; in the end it looks whether it was sent away meanwhile. */
export function readNothing(address: Address): Promise<AttackEnd> {
  return withWebSocket(address, 'client', (socket) => {
    socket.send(hello());
    socket.once('message', () => {
      socket.pause();
      const request = { kind: 'status', timeoutMs: 1_000 } as const;
      for (let id = 1; id <= UNREAD_REQUEST_COUNT; id++) socket.send(encodeUp({ id, ...request }));
      setTimeout(() => {
        if (socket.isPaused) socket.resume();
      }, UNREAD_MS).unref();
    });
  });
}

/** What a hello of a node says of it, taken over by somebody without the secret. */
export interface ForgedIdentity {
  readonly clusterId: string;
  readonly nodeId: string;
  readonly incarnation: string;
  readonly peerAddress: string;
}

/** Says to be a member, with a proof that it cannot make; and sends messages all the same. */
export function forgePeer(
  address: Address,
  identity: ForgedIdentity,
  random: Random,
): Promise<AttackEnd> {
  const nonce = noise(random, 32);
  const said: PeerHello = {
    ...{ kind: 'hello', version: PEER_PROTOCOL_VERSION, ...identity, epoch: 0 },
    ...{ publicAddress: '127.0.0.1:1', isJoining: false, confIndex: 0, wallMs: 1_700_000_000_000 },
    ...{ channel: 'control', nonce, planDigest: '' },
  };
  return withWebSocket(address, 'peer', (socket) => {
    socket.send(encodePeerHandshake(said));
    socket.once('message', () => {
      socket.send(encodePeerHandshake({ kind: 'response', proof: noise(random, 32) }));
      for (let i = 0; i < 16; i++) socket.send(noise(random, 512));
    });
  });
}

function hello(): Uint8Array {
  return encodeUp({ kind: 'hello', protocolVersions: [1], client: 'hostile' });
}

function noise(random: Random, sizeBytes: number): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  for (let i = 0; i < sizeBytes; i++) bytes[i] = random.nextBelow(256);
  return bytes;
}

function upgradeRequest({ host, port }: Address, door: Door): string {
  return [
    `GET ${PATHS[door]} HTTP/1.1`,
    `Host: ${host}:${port}`,
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Key: aG9sZGZhc3QgaG9zdGlsZQ==',
    'Sec-WebSocket-Version: 13',
    '\r\n',
  ].join('\r\n');
}

function withSocket(address: Address, attack: (socket: Socket) => void): Promise<AttackEnd> {
  return new Promise((resolve) => {
    const socket = createConnection(address);
    const timer = setTimeout(() => end('endured'), ATTACK_TIMEOUT_MS);
    let isOpen = false;
    const end = (how: AttackEnd): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(how);
    };
    socket.once('connect', () => {
      isOpen = true;
      attack(socket);
    });
    // Whatever it answers must be read, or its end is never seen.
    socket.resume();
    socket.on('error', () => end(isOpen ? 'closed' : 'refused'));
    socket.once('close', () => end(isOpen ? 'closed' : 'refused'));
  });
}

function withWebSocket(
  { host, port }: Address,
  door: Door,
  attack: (socket: WebSocket) => void,
): Promise<AttackEnd> {
  return new Promise((resolve) => {
    const socket = new WebSocket(`ws://${host}:${port}${PATHS[door]}`, {
      perMessageDeflate: false,
      handshakeTimeout: ATTACK_TIMEOUT_MS,
    });
    const timer = setTimeout(() => end('endured'), ATTACK_TIMEOUT_MS);
    let isOpen = false;
    const end = (how: AttackEnd): void => {
      clearTimeout(timer);
      socket.terminate();
      resolve(how);
    };
    socket.once('open', () => {
      isOpen = true;
      attack(socket);
    });
    // Reported by the close that follows.
    socket.on('error', () => undefined);
    socket.once('close', () => end(isOpen ? 'closed' : 'refused'));
  });
}
