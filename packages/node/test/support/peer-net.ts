/** Peer transports of one process on loopback, each reached by the others through its own proxy. */
import {
  clusterId,
  DEFAULT_GROUP_ID,
  HoldfastError,
  incarnation,
  type LogFields,
  type Logger,
  logIndex,
  type Member,
  type NodeId,
  nodeId,
  SeededRandom,
  term,
} from '@holdfast/base';
import type { RaftMessage } from '@holdfast/raft';
import { formatEndpoint, parseEndpoint } from '../../src/config/endpoint.ts';
import type { PeerTransportOptions, RaftCodec } from '../../src/peer/peer-context.ts';
import { WebSocketPeerTransport } from '../../src/peer/peer-transport.ts';
import { SYSTEM_CLOCK, SYSTEM_TIMERS } from '../../src/system-time.ts';
import { TcpProxy } from './tcp-proxy.ts';

export const CLUSTER = clusterId('c'.repeat(32));
export const SECRET = 'a-secret-of-the-cluster';
export const incarnationOf = (id: string) => incarnation(id.charCodeAt(1).toString(16).repeat(16));

/** JSON, with a sender in the bytes that must not be believed. */
export const JSON_CODEC: RaftCodec = {
  encode: (message) => new TextEncoder().encode(JSON.stringify(message)),
  decode(bytes, from) {
    try {
      return { ...JSON.parse(new TextDecoder().decode(bytes)), from } as RaftMessage;
    } catch (cause) {
      throw new HoldfastError('MESSAGE_MALFORMED', 'not JSON', { cause });
    }
  },
};

export interface LogLine {
  readonly level: string;
  readonly fields: LogFields;
  readonly message: string;
}

export interface Peer {
  readonly id: NodeId;
  readonly transport: WebSocketPeerTransport;
  /** In front of this peer: the others dial it. */
  readonly proxy: TcpProxy;
  readonly received: RaftMessage[];
  readonly states: string[];
  readonly log: LogLine[];
  readonly options: PeerTransportOptions;
}

export interface PeerNetOptions {
  readonly ids?: readonly string[];
  /** The members that a node knows; default all. */
  readonly knows?: (id: string) => readonly string[];
  /** Changes the options of one node. */
  readonly patch?: (id: string, options: PeerTransportOptions) => PeerTransportOptions;
}

/** Not started; stop them with stopPeers. */
export async function createPeers({
  ids = ['n1', 'n2', 'n3'],
  knows = () => ids,
  patch,
}: PeerNetOptions = {}): Promise<Peer[]> {
  const proxies = await Promise.all(
    ids.map(async () => {
      const proxy = new TcpProxy();
      return { proxy, endpoint: await proxy.start() };
    }),
  );
  const members: Member[] = ids.map((id, i) => ({
    nodeId: nodeId(id),
    incarnation: incarnationOf(id),
    address: formatEndpoint(proxies[i]!.endpoint),
    clientAddress: null,
  }));
  return ids.map((id, i) => {
    const known = knows(id);
    const own = members.filter((member) => known.includes(member.nodeId));
    return createPeer(id, own, proxies[i]!.proxy, patch);
  });
}

function createPeer(
  id: string,
  members: readonly Member[],
  proxy: TcpProxy,
  patch: PeerNetOptions['patch'],
): Peer {
  const log: LogLine[] = [];
  const usual: PeerTransportOptions = {
    clusterId: CLUSTER,
    nodeId: nodeId(id),
    incarnation: incarnationOf(id),
    epoch: 1,
    publicAddress: () => `public-of-${id}:1`,
    peerAddress: () => formatEndpoint(proxy.endpoint),
    listen: { host: '127.0.0.1', port: 0 },
    secret: SECRET,
    codec: JSON_CODEC,
    clock: SYSTEM_CLOCK,
    timers: SYSTEM_TIMERS,
    random: new SeededRandom(1),
    logger: collectingLogger(log),
  };
  const options = patch === undefined ? usual : patch(id, usual);
  const transport = new WebSocketPeerTransport(options);
  transport.setMembers(members, 0);
  const peer: Peer = {
    ...{ id: nodeId(id), transport, proxy, log, options },
    ...{ received: [], states: [] },
  };
  transport.onMessages((messages) => peer.received.push(...messages));
  transport.onPeerState((other, state) => peer.states.push(`${other} ${state}`));
  return peer;
}

export async function startPeer(peer: Peer): Promise<void> {
  await peer.transport.start();
  peer.proxy.target = parseEndpoint(peer.transport.address);
}

/** Starts all; the listeners first, so that nobody is refused. */
export async function startPeers(peers: readonly Peer[]): Promise<void> {
  for (const peer of peers) peer.proxy.isRefusing = true;
  for (const peer of peers) await startPeer(peer);
  for (const peer of peers) peer.proxy.isRefusing = false;
}

export async function stopPeers(peers: readonly Peer[]): Promise<void> {
  for (const peer of peers) await peer.transport.stop();
  for (const peer of peers) await peer.proxy.stop();
}

/** A heartbeat whose round tells messages apart; `padding` makes it an append of that size. */
export function message(from: string, to: string, round: number): RaftMessage {
  return {
    kind: 'heartbeat',
    group: DEFAULT_GROUP_ID,
    from: nodeId(from),
    to: nodeId(to),
    fromIncarnation: incarnationOf(from),
    toIncarnation: incarnationOf(to),
    term: term(1),
    confIndex: logIndex(0),
    commit: logIndex(0),
    round,
    beat: 0,
    isLeaseWanted: false,
  };
}

function collectingLogger(lines: LogLine[]): Logger {
  const at =
    (level: string) =>
    (fields: LogFields, text: string): void => {
      lines.push({ level, fields, message: text });
    };
  const logger: Logger = {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: () => logger,
  };
  return logger;
}
