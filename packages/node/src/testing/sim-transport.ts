/**
 * The PeerTransport of a simulated cluster: messages pass through the real codec and arrive in a
 * later turn, or get lost, twice or out of order, as the weather has it; links can be cut one way.
 * A node that is down receives nothing, and its peers learn that its process is gone. A snapshot
 * takes time and breaks when either end goes down.
 * Over 400 lines because network and endpoint see into each other.
 */
import type { ClusterId, Incarnation, Member, NodeId, Random } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import type { CareMessage } from '@holdfast/protocol';
import { decodePeerFrame, encodePeerFrame } from '@holdfast/protocol';
import type { RaftMessage } from '@holdfast/raft';
import { decodeRaftMessage, encodeRaftMessage } from '@holdfast/raft';
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
import { pooled } from './pooled.ts';
import type { SimProcess } from './sim-process.ts';
import type { SimScheduler } from './sim-scheduler.ts';
import { streamSnapshot } from './sim-snapshot.ts';

const CHUNK_SIZE_BYTES = 64 * 1024;

/** What links do to messages. Rates are shares, 0 to 1; times are whole virtual ms. */
export interface Weather {
  readonly delayMsMin: number;
  readonly delayMsMax: number;
  readonly lossRate: number;
  /** Arrive a second time, some time later. */
  readonly duplicateRate: number;
  /** Leave the line: may arrive after later ones. */
  readonly reorderRate: number;
}

export const FAIR_WEATHER: Weather = {
  delayMsMin: 0,
  delayMsMax: 0,
  lossRate: 0,
  duplicateRate: 0,
  reorderRate: 0,
};

/** How far a message out of line may fall back: several messages of its link overtake it. */
const STRAGGLER_DELAY_MS_MAX = 150;

/** Sees what happens on the links; changes nothing. */
export interface NetworkObserver {
  onSend(from: NodeId, message: RaftMessage): void;
  onFate(from: NodeId, to: NodeId, bytes: Uint8Array, fate: MessageFate): void;
  /** A chunk of a snapshot leaves. */
  onChunk?(from: NodeId, to: NodeId): void;
}

export type MessageFate = 'lost' | 'duplicated' | 'reordered' | 'cut' | 'delivered';

export interface SimNetworkOptions {
  readonly scheduler: SimScheduler;
  readonly random: Random;
  readonly weather: Weather;
}

/** What a node tells others about itself. */
export interface SimIdentity {
  readonly clusterId: ClusterId;
  readonly incarnation: Incarnation;
  readonly epoch: number;
  readonly peerAddress: string;
  readonly clientAddress: string;
}

export class SimNetwork {
  readonly #options: SimNetworkOptions;
  /** When the last message of a link arrives: nothing in line arrives before it. */
  readonly #lastDueMs = new Map<string, number>();
  readonly #endpoints = new Map<NodeId, SimTransport>();
  readonly #cuts = new Set<string>();
  #weather: Weather;
  observer: NetworkObserver | null = null;
  /** Of snapshot transfers. Tests make it small to have many boundaries. */
  chunkSizeBytes = CHUNK_SIZE_BYTES;
  snapshotBytesDelivered = 0;
  careBytesSent = 0;

  constructor(options: SimNetworkOptions) {
    this.#options = options;
    this.#weather = options.weather;
  }

  get weather(): Weather {
    return this.#weather;
  }

  set weather(weather: Weather) {
    this.#weather = weather;
  }

  attach(nodeId: NodeId, process: SimProcess, identity: SimIdentity): SimTransport {
    const transport = new SimTransport(nodeId, this, process, identity);
    this.#endpoints.set(nodeId, transport);
    return transport;
  }

  detach(nodeId: NodeId): void {
    const gone = this.#endpoints.get(nodeId);
    if (gone === undefined) return;
    this.#endpoints.delete(nodeId);
    gone.breakTransfers();
    for (const [other, endpoint] of this.#endpoints) {
      this.#inLine(nodeId, other, () => endpoint.peerLost(nodeId));
    }
  }

  /**
   * A node that starts and every node it reaches learn that they are connected. Links that are
   * mended later say nothing: the first message over them does.
   */
  greet(nodeId: NodeId): void {
    for (const other of this.#endpoints.keys()) {
      if (other === nodeId) continue;
      for (const [from, to] of [
        [nodeId, other],
        [other, nodeId],
      ] as const) {
        this.#inLine(from, to, () => this.reach(from, to)?.peerFound(from));
      }
    }
  }

  /** Cuts one direction. */
  cut(from: NodeId, to: NodeId): void {
    this.#cuts.add(`${from}>${to}`);
  }

  mend(from: NodeId, to: NodeId): void {
    this.#cuts.delete(`${from}>${to}`);
  }

  /** Cuts both directions between `nodeId` and every other node. */
  isolate(nodeId: NodeId, others: readonly NodeId[]): void {
    for (const other of others) {
      this.cut(nodeId, other);
      this.cut(other, nodeId);
    }
  }

  /** Mends every link; nothing gets lost, twice or out of order any more. */
  heal(): void {
    this.#cuts.clear();
    this.#weather = { ...this.#weather, lossRate: 0, duplicateRate: 0, reorderRate: 0 };
  }

  endpoint(nodeId: NodeId): SimTransport | undefined {
    return this.#endpoints.get(nodeId);
  }

  get endpoints(): readonly SimTransport[] {
    return [...this.#endpoints.values()];
  }

  reach(from: NodeId, to: NodeId): SimTransport | null {
    if (this.#cuts.has(`${from}>${to}`)) return null;
    const [sender, receiver] = [this.#endpoints.get(from), this.#endpoints.get(to)];
    // The handshake of a real connection: nodes of two epochs do not talk.
    if (sender !== undefined && sender.epoch !== receiver?.epoch) return null;
    return receiver ?? null;
  }

  deliver(from: NodeId, to: NodeId, bytes: Uint8Array): void {
    const { lossRate, duplicateRate, reorderRate } = this.#weather;
    if (this.#isHit(lossRate)) {
      this.observer?.onFate(from, to, bytes, 'lost');
      return;
    }
    const arrive = (): void => this.#arrive(from, to, bytes);
    if (this.#isHit(duplicateRate)) {
      this.observer?.onFate(from, to, bytes, 'duplicated');
      this.#outOfLine(arrive);
    }
    if (this.#isHit(reorderRate)) {
      this.observer?.onFate(from, to, bytes, 'reordered');
      this.#outOfLine(arrive);
    } else this.#inLine(from, to, arrive);
  }

  /** As `deliver`, for a frame of care: it may be lost, but not twice or out of order. */
  deliverCare(from: NodeId, to: NodeId, arrive: (endpoint: SimTransport) => void): void {
    if (this.#isHit(this.#weather.lossRate)) return;
    this.#inLine(from, to, () => {
      const endpoint = this.reach(from, to);
      if (endpoint !== null) arrive(endpoint);
    });
  }

  /** Resolves after the time that one message takes. */
  pass(from: NodeId, to: NodeId): Promise<void> {
    this.observer?.onChunk?.(from, to);
    return new Promise((resolve) => {
      this.#inLine(from, to, resolve);
    });
  }

  #arrive(from: NodeId, to: NodeId, bytes: Uint8Array): void {
    const endpoint = this.reach(from, to);
    this.observer?.onFate(from, to, bytes, endpoint === null ? 'cut' : 'delivered');
    endpoint?.receive(from, bytes);
  }

  #inLine(from: NodeId, to: NodeId, step: () => void): void {
    const { scheduler, random } = this.#options;
    const { delayMsMin, delayMsMax } = this.#weather;
    if (delayMsMax === 0) {
      scheduler.defer(step);
      return;
    }
    const link = `${from}>${to}`;
    const nowMs = scheduler.clock.monotonicMs();
    const delayMs = delayMsMin + random.nextBelow(delayMsMax - delayMsMin + 1);
    const dueMs = Math.max(this.#lastDueMs.get(link) ?? 0, nowMs + delayMs);
    this.#lastDueMs.set(link, dueMs);
    scheduler.clock.after(dueMs - nowMs, step);
  }

  #outOfLine(step: () => void): void {
    const { scheduler, random } = this.#options;
    scheduler.clock.after(1 + random.nextBelow(STRAGGLER_DELAY_MS_MAX), step);
  }

  #isHit(rate: number): boolean {
    return rate > 0 && this.#options.random.nextFloat() < rate;
  }
}

export class SimTransport implements PeerTransport {
  readonly #nodeId: NodeId;
  readonly #network: SimNetwork;
  readonly #process: SimProcess;
  readonly #identity: SimIdentity;
  #members: readonly Member[] = [];
  #confIndex = 0;
  #isJoining = true;
  #contacts: readonly Member[] = [];
  #onMessages: (messages: readonly RaftMessage[]) => void = () => {};
  #onPeerState: (peer: NodeId, state: PeerState) => void = () => {};
  #onCare: CareListener = () => {};
  #receiver: SnapshotReceiver | null = null;
  readonly #breakers = new Set<() => void>();
  #snapshotsSent = 0;
  #snapshotsReceived = 0;

  constructor(nodeId: NodeId, network: SimNetwork, process: SimProcess, identity: SimIdentity) {
    this.#nodeId = nodeId;
    this.#network = network;
    this.#process = process;
    this.#identity = identity;
  }

  async start(): Promise<void> {}

  /** Its node has started. */
  announce(): void {
    this.#network.greet(this.#nodeId);
  }

  async stop(): Promise<void> {
    this.#network.detach(this.#nodeId);
  }

  get epoch(): number {
    return this.#identity.epoch;
  }

  setMembers(
    members: readonly Member[],
    confIndex: number,
    isJoining = members.length === 0,
  ): void {
    this.#members = members;
    this.#confIndex = confIndex;
    this.#isJoining = isJoining;
    if (!isJoining) this.#contacts = [];
  }

  setContacts(members: readonly Member[]): void {
    this.#contacts = members;
  }

  guests(): readonly Guest[] {
    const guests: Guest[] = [];
    for (const other of this.#network.endpoints) {
      const isContact = other.#contacts.some(({ nodeId }) => nodeId === this.#nodeId);
      if (!isContact || this.#network.reach(other.#nodeId, this.#nodeId) === null) continue;
      guests.push({ ...other.#asMember(), isJoining: other.#isJoining });
    }
    return guests;
  }

  inquire(address: string): Promise<InquiryAnswer> {
    const other = this.#network.endpoints.find((each) => each.#identity.peerAddress === address);
    if (other === undefined || this.#network.reach(this.#nodeId, other.#nodeId) === null) {
      return Promise.reject(new HoldfastError('CONNECTION_LOST', `nobody answers at ${address}`));
    }
    const { clusterId, incarnation, epoch, peerAddress, clientAddress } = other.#identity;
    const identity = {
      ...{ clusterId, incarnation, epoch, peerAddress, nodeId: other.#nodeId },
      publicAddress: clientAddress,
      isJoining: other.#isJoining,
      planDigest: '',
      confIndex: other.#confIndex,
      wallMs: other.#process.wallMs(),
    };
    return Promise.resolve({ identity, members: other.#members });
  }

  clockOffsetsMs(): ReadonlyMap<NodeId, number> {
    const ownMs = this.#process.wallMs();
    const offsets = new Map<NodeId, number>();
    for (const other of this.#network.endpoints) {
      const isSilent = this.#network.reach(other.#nodeId, this.#nodeId) === null;
      if (other === this || isSilent || other.#process.isPaused) continue;
      offsets.set(other.#nodeId, other.#process.wallMs() - ownMs);
    }
    return offsets;
  }

  #asMember(): Member {
    const { incarnation, peerAddress, clientAddress } = this.#identity;
    return { nodeId: this.#nodeId, incarnation, address: peerAddress, clientAddress };
  }

  send(messages: readonly RaftMessage[]): void {
    for (const message of messages) {
      this.#network.observer?.onSend(this.#nodeId, message);
      this.#network.deliver(this.#nodeId, message.to, encodeRaftMessage(message));
    }
  }

  sendCare({ group, nodeId: to, incarnation }: CareAddress, message: CareMessage): boolean {
    const frame = encodePeerFrame({ kind: 'care', group, toIncarnation: incarnation, message });
    const from = { group, nodeId: this.#nodeId, incarnation: this.#identity.incarnation };
    this.#network.careBytesSent += frame.byteLength;
    this.#network.deliverCare(this.#nodeId, to, (other) => other.receiveCare(from, frame));
    return true;
  }

  receiveCare(from: CareAddress, bytes: Uint8Array): void {
    const frame = decodePeerFrame(pooled(bytes));
    const isForUs = frame.kind === 'care' && frame.toIncarnation === this.#identity.incarnation;
    if (isForUs) this.#process.run(() => this.#onCare(from, frame.message));
  }

  onCare(listener: CareListener): void {
    this.#onCare = listener;
  }

  receive(from: NodeId, bytes: Uint8Array): void {
    this.#process.run(() => this.#onMessages([decodeRaftMessage(pooled(bytes), from)]));
  }

  onMessages(listener: (messages: readonly RaftMessage[]) => void): void {
    this.#onMessages = listener;
  }

  onPeerState(listener: (peer: NodeId, state: PeerState) => void): void {
    this.#onPeerState = listener;
  }

  peerFound(peer: NodeId): void {
    this.#process.run(() => this.#onPeerState(peer, 'connected'));
  }

  peerLost(peer: NodeId): void {
    this.#process.run(() => this.#onPeerState(peer, 'disconnected'));
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
    broken.catch(() => undefined);
    this.watch(breakNow);
    peer?.watch(breakNow);
    try {
      await Promise.race([broken, this.#stream(to, peer, snapshot, broken)]);
      this.#snapshotsSent += 1;
    } finally {
      this.unwatch(breakNow);
      peer?.unwatch(breakNow);
      snapshot.release?.();
    }
  }

  async #stream(
    to: NodeId,
    peer: SimTransport | null,
    snapshot: OutgoingSnapshot,
    broken: Promise<never>,
  ): Promise<void> {
    if (peer === null || peer.#receiver === null) throw unreachablePeer(to);
    const network = this.#network;
    await streamSnapshot({
      ...{ from: this.#nodeId, snapshot, receiver: peer.#receiver, broken },
      chunkSizeBytes: network.chunkSizeBytes,
      isReceiverAlive: () => network.endpoint(to) === peer,
      pass: async (sizeBytes) => {
        await network.pass(this.#nodeId, to);
        const isUp =
          network.endpoint(to) === peer &&
          network.endpoint(this.#nodeId) === this &&
          network.reach(this.#nodeId, to) !== null;
        if (!isUp) throw unreachablePeer(to);
        network.snapshotBytesDelivered += sizeBytes;
      },
    });
    peer.#snapshotsReceived += 1;
  }

  publicAddressOf(): string | null {
    return null;
  }

  stats(): PeerTransportStats {
    return {
      connectedPeerCount: 0,
      guestCount: 0,
      messagesSent: 0,
      framesSent: 0,
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
