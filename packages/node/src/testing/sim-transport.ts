/**
 * The PeerTransport of a simulated cluster: messages pass through the real codec and arrive in a
 * later turn, in order, or get lost; links can be cut one way. A node that is down receives
 * nothing, and its peers learn that its process is gone. A snapshot takes time and breaks when
 * either end goes down.
 */
import type { NodeId, Random } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import type { RaftMessage } from '@holdfast/raft';
import { decodeRaftMessage, encodeRaftMessage } from '@holdfast/raft';
import type { Defer } from '../replica/driver.ts';
import type {
  OutgoingSnapshot,
  PeerState,
  PeerTransport,
  PeerTransportStats,
  SnapshotReceiver,
} from '../service-api.ts';

const CHUNK_SIZE_BYTES = 64 * 1024;

export interface SimNetworkOptions {
  /** A line of deliveries that keeps its order; one is made per link. */
  readonly makeLine: () => Defer;
  readonly random: Random;
  /** Share of messages that get lost, 0 to 1. */
  readonly lossRate: number;
}

export class SimNetwork {
  readonly #options: SimNetworkOptions;
  readonly #lines = new Map<string, Defer>();
  readonly #endpoints = new Map<NodeId, SimTransport>();
  readonly #cuts = new Set<string>();
  #lossRate: number;

  constructor(options: SimNetworkOptions) {
    this.#options = options;
    this.#lossRate = options.lossRate;
  }

  attach(nodeId: NodeId): SimTransport {
    const transport = new SimTransport(nodeId, this);
    this.#endpoints.set(nodeId, transport);
    return transport;
  }

  detach(nodeId: NodeId): void {
    const gone = this.#endpoints.get(nodeId);
    if (gone === undefined) return;
    this.#endpoints.delete(nodeId);
    gone.breakTransfers();
    for (const [other, endpoint] of this.#endpoints) {
      this.#line(nodeId, other)(() => endpoint.peerLost(nodeId));
    }
  }

  /** Cuts one direction. */
  cut(from: NodeId, to: NodeId): void {
    this.#cuts.add(`${from}>${to}`);
  }

  /** Cuts both directions between `nodeId` and every other node. */
  isolate(nodeId: NodeId, others: readonly NodeId[]): void {
    for (const other of others) {
      this.#cuts.add(`${nodeId}>${other}`);
      this.#cuts.add(`${other}>${nodeId}`);
    }
  }

  /** Mends every link; nothing gets lost any more. */
  heal(): void {
    this.#cuts.clear();
    this.#lossRate = 0;
  }

  endpoint(nodeId: NodeId): SimTransport | undefined {
    return this.#endpoints.get(nodeId);
  }

  reach(from: NodeId, to: NodeId): SimTransport | null {
    if (this.#cuts.has(`${from}>${to}`)) return null;
    return this.#endpoints.get(to) ?? null;
  }

  deliver(from: NodeId, to: NodeId, bytes: Uint8Array): void {
    if (this.#lossRate > 0 && this.#options.random.nextFloat() < this.#lossRate) return;
    this.#line(from, to)(() => this.reach(from, to)?.receive(from, bytes));
  }

  /** Resolves after the time that one message takes. */
  pass(from: NodeId, to: NodeId): Promise<void> {
    return new Promise((resolve) => {
      this.#line(from, to)(resolve);
    });
  }

  #line(from: NodeId, to: NodeId): Defer {
    const link = `${from}>${to}`;
    const known = this.#lines.get(link);
    if (known !== undefined) return known;
    const line = this.#options.makeLine();
    this.#lines.set(link, line);
    return line;
  }
}

export class SimTransport implements PeerTransport {
  readonly #nodeId: NodeId;
  readonly #network: SimNetwork;
  #onMessages: (messages: readonly RaftMessage[]) => void = () => {};
  #onPeerState: (peer: NodeId, state: PeerState) => void = () => {};
  #receiver: SnapshotReceiver | null = null;
  readonly #breakers = new Set<() => void>();
  #snapshotsSent = 0;
  #snapshotsReceived = 0;

  constructor(nodeId: NodeId, network: SimNetwork) {
    this.#nodeId = nodeId;
    this.#network = network;
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {
    this.#network.detach(this.#nodeId);
  }

  send(messages: readonly RaftMessage[]): void {
    for (const message of messages) {
      this.#network.deliver(this.#nodeId, message.to, encodeRaftMessage(message));
    }
  }

  receive(from: NodeId, bytes: Uint8Array): void {
    this.#onMessages([decodeRaftMessage(bytes.slice(), from)]);
  }

  onMessages(listener: (messages: readonly RaftMessage[]) => void): void {
    this.#onMessages = listener;
  }

  onPeerState(listener: (peer: NodeId, state: PeerState) => void): void {
    this.#onPeerState = listener;
  }

  peerLost(peer: NodeId): void {
    this.#onPeerState(peer, 'disconnected');
  }

  watch(breakNow: () => void): void {
    this.#breakers.add(breakNow);
  }

  unwatch(breakNow: () => void): void {
    this.#breakers.delete(breakNow);
  }

  /** This end of every snapshot under way is gone. */
  breakTransfers(): void {
    for (const breakNow of [...this.#breakers]) breakNow();
  }

  onSnapshot(receiver: SnapshotReceiver): void {
    this.#receiver = receiver;
  }

  async sendSnapshot(to: NodeId, snapshot: OutgoingSnapshot): Promise<void> {
    const peer = this.#network.reach(this.#nodeId, to);
    let breakNow = (): void => {};
    const broken = new Promise<never>((_resolve, reject) => {
      breakNow = () => reject(unreachablePeer(to));
    });
    this.watch(breakNow);
    peer?.watch(breakNow);
    try {
      await Promise.race([broken, this.#stream(to, peer, snapshot)]);
      this.#snapshotsSent += 1;
    } finally {
      this.unwatch(breakNow);
      peer?.unwatch(breakNow);
      snapshot.release?.();
    }
  }

  async #stream(to: NodeId, peer: SimTransport | null, snapshot: OutgoingSnapshot): Promise<void> {
    const receiver = peer === null ? null : peer.#receiver;
    if (receiver === null) throw unreachablePeer(to);
    const { group, meta, files } = snapshot;
    const listed = files.map(({ path, sizeBytes, checksum }) => ({ path, sizeBytes, checksum }));
    const sink = await receiver.begin({ group, meta, files: listed, from: this.#nodeId });
    for (const [fileIndex, file] of files.entries()) {
      for (let offset = 0; offset < file.sizeBytes; offset += CHUNK_SIZE_BYTES) {
        const length = Math.min(CHUNK_SIZE_BYTES, file.sizeBytes - offset);
        const bytes = await file.read(offset, length);
        await this.#network.pass(this.#nodeId, to);
        // The process that had begun to receive is gone, and its sink with it.
        if (this.#network.endpoint(to) !== peer) throw unreachablePeer(to);
        const isSenderGone = this.#network.endpoint(this.#nodeId) !== this;
        if (isSenderGone || this.#network.reach(this.#nodeId, to) === null) {
          await sink.abort('the connection broke');
          throw unreachablePeer(to);
        }
        await sink.write(fileIndex, offset, bytes);
      }
    }
    await sink.finish();
    if (peer !== null) peer.#snapshotsReceived += 1;
  }

  publicAddressOf(): string | null {
    return null;
  }

  stats(): PeerTransportStats {
    return {
      connectedPeerCount: 0,
      messagesSent: 0,
      messagesReceived: 0,
      messagesDropped: 0,
      bytesSent: 0,
      bytesReceived: 0,
      framesCorrupt: 0,
      messagesMalformed: 0,
      handshakesRefused: 0,
      snapshotsSent: this.#snapshotsSent,
      snapshotsReceived: this.#snapshotsReceived,
      snapshotsFailed: 0,
    };
  }
}

const unreachablePeer = (peer: NodeId): HoldfastError =>
  new HoldfastError('NO_NODE_REACHABLE', `${peer} cannot be reached`);
