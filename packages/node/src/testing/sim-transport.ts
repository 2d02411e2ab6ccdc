/**
 * The PeerTransport of a simulated cluster: messages pass through the real codec and arrive in a
 * later turn; links can be cut one way. A node that is down receives nothing.
 */
import type { NodeId } from '@holdfast/base';
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

export class SimNetwork {
  readonly #defer: Defer;
  readonly #endpoints = new Map<NodeId, SimTransport>();
  readonly #cuts = new Set<string>();

  constructor(defer: Defer) {
    this.#defer = defer;
  }

  attach(nodeId: NodeId): SimTransport {
    const transport = new SimTransport(nodeId, this);
    this.#endpoints.set(nodeId, transport);
    return transport;
  }

  detach(nodeId: NodeId): void {
    this.#endpoints.delete(nodeId);
  }

  /** Cuts both directions between `nodeId` and every other node. */
  isolate(nodeId: NodeId, others: readonly NodeId[]): void {
    for (const other of others) {
      this.#cuts.add(`${nodeId}>${other}`);
      this.#cuts.add(`${other}>${nodeId}`);
    }
  }

  heal(): void {
    this.#cuts.clear();
  }

  reach(from: NodeId, to: NodeId): SimTransport | null {
    if (this.#cuts.has(`${from}>${to}`)) return null;
    return this.#endpoints.get(to) ?? null;
  }

  deliver(from: NodeId, to: NodeId, bytes: Uint8Array): void {
    this.#defer(() => this.reach(from, to)?.receive(from, bytes));
  }
}

export class SimTransport implements PeerTransport {
  readonly #nodeId: NodeId;
  readonly #network: SimNetwork;
  #onMessages: (messages: readonly RaftMessage[]) => void = () => {};
  #receiver: SnapshotReceiver | null = null;
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

  onPeerState(_listener: (peer: NodeId, state: PeerState) => void): void {}

  onSnapshot(receiver: SnapshotReceiver): void {
    this.#receiver = receiver;
  }

  async sendSnapshot(to: NodeId, snapshot: OutgoingSnapshot): Promise<void> {
    try {
      const peer = this.#network.reach(this.#nodeId, to);
      const receiver = peer === null ? null : peer.#receiver;
      if (receiver === null) throw unreachablePeer(to);
      const { group, meta, files } = snapshot;
      const listed = files.map(({ path, sizeBytes, checksum }) => ({ path, sizeBytes, checksum }));
      const sink = await receiver.begin({ group, meta, files: listed, from: this.#nodeId });
      for (const [fileIndex, file] of files.entries()) {
        for (let offset = 0; offset < file.sizeBytes; offset += CHUNK_SIZE_BYTES) {
          const length = Math.min(CHUNK_SIZE_BYTES, file.sizeBytes - offset);
          const bytes = await file.read(offset, length);
          if (this.#network.reach(this.#nodeId, to) === null) {
            await sink.abort('the connection broke');
            throw unreachablePeer(to);
          }
          await sink.write(fileIndex, offset, bytes);
        }
      }
      await sink.finish();
      this.#snapshotsSent += 1;
    } finally {
      snapshot.release?.();
    }
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
