/**
 * PeerTransport over WebSocket. Each node dials every peer for what it sends: one control
 * connection that is kept up, and one bulk connection per snapshot. What others dialled is only
 * read. So there is no tie to break, and the sender of a message is known from its connection.
 *
 * Who knows the secret and the cluster may talk, member or not: what counts from whom is decided by
 * the raft core, which sees the incarnation of every sender. Here strangers are only bounded.
 *
 * Everything runs on the caller's thread; listeners are called in their own turns, never from
 * `send`.
 */
import { createServer, type Server } from 'node:http';
import type { Socket } from 'node:net';
import {
  assert,
  groupId,
  HoldfastError,
  incarnation,
  type Member,
  must,
  type NodeId,
  nodeId,
  type TimerHandle,
  toHoldfastError,
} from '@holdfast/base';
import {
  type CareMessage,
  encodePeerFrame,
  PEER_FRAME_SIZE_BYTES_MAX,
  type PeerFrame,
} from '@holdfast/protocol';
import type { RaftMessage } from '@holdfast/raft';
import { WebSocketServer } from 'ws';
import { type Endpoint, formatEndpoint, parseEndpoint } from '../config/endpoint.ts';
import { listen } from '../server/listen.ts';
import type {
  CareAddress,
  CareListener,
  Guest,
  InquiryAnswer,
  OutgoingSnapshot,
  PeerState,
  PeerTransport,
  PeerTransportStats,
  SnapshotReceiver,
} from '../service-api.ts';
import { inquire } from './dial.ts';
import { IncomingConnection, type IncomingConnectionEvents } from './incoming-connection.ts';
import { GUEST_COUNT_MAX, LinkTable } from './link-table.ts';
import {
  createPeerContext,
  PEER_WEBSOCKET_PATH,
  type PeerContext,
  type PeerTransportOptions,
} from './peer-context.ts';
import type { QueueLane } from './send-queue.ts';
import { SnapshotSender } from './snapshot-sender.ts';
import { SnapshotTransfer } from './snapshot-transfer.ts';

/** Per member: control, bulk, and one of each being replaced; and some strangers. */
const SOCKETS_PER_MEMBER = 4;
const STRANGER_SOCKET_COUNT_MAX = 32;
/** Whoever connects and says nothing must not keep a member out for long. */
const STRANGER_TIMEOUT_MS = 2_000;

export class WebSocketPeerTransport implements PeerTransport {
  readonly name = 'peer transport';
  readonly #context: PeerContext;
  readonly #http: Server;
  readonly #webSockets: WebSocketServer;
  readonly #links: LinkTable;
  readonly #incoming = new Set<IncomingConnection>();
  readonly #transfers = new Map<IncomingConnection, SnapshotTransfer>();
  readonly #senders = new Map<NodeId, SnapshotSender>();
  readonly #messageListeners: ((messages: readonly RaftMessage[]) => void)[] = [];
  readonly #stateListeners: ((peer: NodeId, state: PeerState) => void)[] = [];
  #receiver: SnapshotReceiver | null = null;
  #careListener: CareListener | null = null;
  #endpoint: Endpoint | null = null;
  #livenessTimer: TimerHandle | null = null;
  #isStopped = false;

  constructor(options: PeerTransportOptions) {
    this.#context = createPeerContext(options);
    this.#links = new LinkTable(this.#context, (peer, state) => this.#onState(peer, state));
    this.#webSockets = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      maxPayload: PEER_FRAME_SIZE_BYTES_MAX,
      skipUTF8Validation: true,
      clientTracking: false,
    });
    const timeouts = {
      headersTimeout: STRANGER_TIMEOUT_MS,
      requestTimeout: STRANGER_TIMEOUT_MS,
      connectionsCheckingInterval: STRANGER_TIMEOUT_MS / 2,
    };
    this.#http = createServer(timeouts, (_request, response) => {
      response.writeHead(426, { connection: 'close' }).end('this port is for Holdfast nodes\n');
    });
    this.#limitSockets(0);
    this.#http.on('upgrade', (request, socket, head) => {
      socket.on('error', () => socket.destroy());
      if (request.url !== PEER_WEBSOCKET_PATH || this.#isStopped) {
        socket.destroy();
        return;
      }
      this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
        const raw = socket as Socket;
        this.#incoming.add(new IncomingConnection(webSocket, raw, this.#context, this.#events));
      });
    });
  }

  /** Bound address as `host:port`. Only after start. */
  get address(): string {
    return formatEndpoint(must(this.#endpoint, 'the peer transport has not started'));
  }

  async start(): Promise<void> {
    assert(this.#endpoint === null, 'the peer transport starts once');
    this.#endpoint = await listen(this.#http, this.#context.options.listen);
    this.#scheduleLiveness();
    this.#links.start();
  }

  setMembers(
    members: readonly Member[],
    confIndex: number,
    isJoining = members.length === 0,
  ): void {
    if (this.#isStopped) return;
    this.#context.roster.replace(members, confIndex, isJoining);
    this.#limitSockets(members.length);
    for (const connection of this.#incoming) {
      connection.reassess();
      if (connection.identity === null || connection.channel !== 'control') continue;
      if (connection.isGuest) this.#keepAsGuest(connection);
      else this.#links.removeGuest(connection.identity);
    }
    this.#links.setMembers(members, isJoining);
  }

  setContacts(members: readonly Member[]): void {
    if (!this.#isStopped) this.#links.setContacts(members);
  }

  /** A member that was removed may be one guest too many: then it is let go. */
  #keepAsGuest(connection: IncomingConnection): void {
    try {
      this.#links.addGuest(must(connection.identity, 'only who proved itself is a guest'));
    } catch (thrown) {
      const { code, message } = toHoldfastError(thrown);
      this.#context.reportRefusal(connection.peer ?? '', code, message);
      connection.close();
    }
  }

  guests(): readonly Guest[] {
    const guests: Guest[] = [];
    for (const { identity, isGuest, channel } of this.#incoming) {
      if (identity === null || !isGuest || channel !== 'control') continue;
      guests.push({
        nodeId: nodeId(identity.nodeId),
        incarnation: incarnation(identity.incarnation),
        address: identity.peerAddress,
        clientAddress: identity.publicAddress === '' ? null : identity.publicAddress,
        isJoining: identity.isJoining,
      });
    }
    return guests;
  }

  inquire(address: string): Promise<InquiryAnswer> {
    const endpoint = parseEndpoint(address);
    if (endpoint === null) {
      const message = `'${address}' is not HOST:PORT`;
      return Promise.reject(new HoldfastError('CONNECTION_LOST', message));
    }
    return inquire(this.#context, endpoint);
  }

  clockOffsetsMs(): ReadonlyMap<NodeId, number> {
    return this.#context.clocks.offsetsMs();
  }

  send(messages: readonly RaftMessage[]): void {
    const { codec, logger } = this.#context.options;
    for (const message of messages) {
      const link = this.#links.find(message.to, message.toIncarnation);
      if (link === undefined) {
        logger.debug({ to: message.to }, 'a message to a node without a link was dropped');
        this.#context.counters.messagesDropped += 1;
        continue;
      }
      if (!link.isConnected) {
        this.#context.counters.messagesDropped += 1;
        continue;
      }
      link.send(laneOf(message), { group: message.group, body: codec.encode(message) });
    }
  }

  onMessages(listener: (messages: readonly RaftMessage[]) => void): void {
    this.#messageListeners.push(listener);
  }

  sendCare({ group, nodeId: to, incarnation: life }: CareAddress, message: CareMessage): boolean {
    const link = this.#links.find(to, life);
    if (link === undefined) return false;
    const frame = { kind: 'care', group, toIncarnation: life, message } as const;
    return link.sendCare(encodePeerFrame(frame));
  }

  onCare(listener: CareListener): void {
    this.#careListener = listener;
  }

  onPeerState(listener: (peer: NodeId, state: PeerState) => void): void {
    this.#stateListeners.push(listener);
  }

  onSnapshot(receiver: SnapshotReceiver): void {
    assert(this.#receiver === null, 'the snapshot receiver is set once');
    this.#receiver = receiver;
  }

  async sendSnapshot(to: NodeId, snapshot: OutgoingSnapshot): Promise<void> {
    try {
      await this.#sendSnapshot(to, snapshot);
      this.#context.counters.snapshotsSent += 1;
    } catch (error) {
      this.#context.counters.snapshotsFailed += 1;
      throw error;
    } finally {
      snapshot.release?.();
    }
  }

  publicAddressOf(peer: NodeId): string | null {
    return this.#context.publicAddressOf(peer);
  }

  stats(): PeerTransportStats {
    const { connectedMemberCount: connectedPeerCount, guestCount } = this.#links;
    return { connectedPeerCount, guestCount, ...this.#context.counters };
  }

  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#livenessTimer?.cancel();
    this.#links.stop();
    for (const sender of this.#senders.values()) sender.abort('this node is shutting down');
    const aborted = [...this.#transfers.values()].map((transfer) =>
      transfer.close('shutting down'),
    );
    for (const connection of this.#incoming) connection.close();
    await Promise.all(aborted);
    this.#webSockets.close();
    if (this.#endpoint === null) return;
    await new Promise<void>((resolve) => {
      this.#http.close(() => resolve());
      this.#http.closeAllConnections();
    });
  }

  async #sendSnapshot(to: NodeId, snapshot: OutgoingSnapshot): Promise<void> {
    const member = this.#links.dialTarget(to);
    if (member === null || this.#isStopped) {
      throw new HoldfastError('CONNECTION_LOST', `snapshot to ${to}: it is no peer of this node`);
    }
    if (this.#senders.has(to)) {
      throw new HoldfastError('OVERLOADED', `a snapshot to ${to} is under way already`);
    }
    const sender = new SnapshotSender(this.#context, member, snapshot);
    this.#senders.set(to, sender);
    try {
      await sender.run();
    } finally {
      this.#senders.delete(to);
    }
  }

  readonly #events: IncomingConnectionEvents = {
    onAccepted: (connection) => this.#onAccepted(connection),
    onMessages: (messages) => {
      for (const listener of this.#messageListeners) listener(messages);
    },
    onCare: (sender, { group, toIncarnation, message }) => {
      if (toIncarnation !== this.#context.options.incarnation) {
        this.#context.counters.messagesMalformed += 1;
        return;
      }
      const from = {
        group: groupId(group),
        nodeId: nodeId(sender.nodeId),
        incarnation: incarnation(sender.incarnation),
      };
      this.#careListener?.(from, message);
    },
    onSnapshotFrame: (connection, frame) => this.#onSnapshotFrame(connection, frame),
    onClosed: (connection) => {
      this.#incoming.delete(connection);
      const transfer = this.#transfers.get(connection);
      this.#transfers.delete(connection);
      void transfer?.close('the connection was closed');
      this.#onGone(connection);
    },
  };

  /** A peer that connects again has given up its older connection, even if we do not know yet. */
  #onAccepted(connection: IncomingConnection): void {
    const { identity, isGuest, channel } = connection;
    if (isGuest && channel === 'control') {
      this.#links.addGuest(must(identity, 'an accepted node proved itself'));
    }
    for (const other of this.#incoming) {
      const isReplaced =
        other !== connection &&
        other.peer === connection.peer &&
        other.channel === connection.channel;
      if (isReplaced) other.close();
    }
  }

  /** The guest is gone unless another connection of it is here. */
  #onGone({ identity, channel }: IncomingConnection): void {
    if (identity === null || channel !== 'control' || this.#isStopped) return;
    for (const other of this.#incoming) {
      const isSame =
        other.channel === 'control' && other.identity?.incarnation === identity.incarnation;
      if (isSame) return;
    }
    this.#links.removeGuest(identity);
  }

  #limitSockets(memberCount: number): void {
    this.#http.maxConnections =
      (memberCount + GUEST_COUNT_MAX) * SOCKETS_PER_MEMBER + STRANGER_SOCKET_COUNT_MAX;
  }

  #onSnapshotFrame(connection: IncomingConnection, frame: PeerFrame): void {
    let transfer = this.#transfers.get(connection);
    if (transfer === undefined) {
      transfer = new SnapshotTransfer({
        context: this.#context,
        from: must(connection.peer, 'snapshot frames come from authenticated peers'),
        receiver: this.#receiver,
        send: (bytes) => connection.send(bytes),
      });
      this.#transfers.set(connection, transfer);
    }
    transfer.push(frame);
  }

  #onState(peer: NodeId, state: PeerState): void {
    this.#context.options.logger.info({ peer, state }, 'peer link changed');
    for (const listener of this.#stateListeners) listener(peer, state);
  }

  #scheduleLiveness(): void {
    const { timers } = this.#context.options;
    this.#livenessTimer = timers.after(this.#context.timing.pingIntervalMs, () => {
      this.#links.checkLiveness();
      for (const connection of this.#incoming) connection.checkLiveness();
      for (const sender of this.#senders.values()) sender.checkLiveness();
      this.#scheduleLiveness();
    });
  }
}

/** Log entries queue among themselves, in order; everything else is small and goes first. */
function laneOf(message: RaftMessage): QueueLane {
  return message.kind === 'append' || message.kind === 'snapshot' ? 'entries' : 'urgent';
}
