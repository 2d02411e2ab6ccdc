/**
 * A connection that another node dialled: the accepting half of the handshake, then frames that are
 * only read (and, on the bulk channel, answered by the snapshot receiver).
 *
 * Until the proof is verified only handshake messages decode and only a few kilobytes are read. The
 * sender of everything that follows is the node that proved itself here, whatever the bytes say.
 */
import type { Socket } from 'node:net';
import {
  HoldfastError,
  type NodeId,
  nodeId,
  type TimerHandle,
  toHoldfastError,
} from '@holdfast/base';
import {
  type CareFrame,
  decodePeerFrame,
  decodePeerHandshake,
  encodePeerHandshake,
  PEER_HANDSHAKE_FRAME_SIZE_BYTES_MAX,
  PEER_PROTOCOL_VERSION,
  type PeerChannel,
  type PeerFrame,
  type PeerHello,
  type PeerIdentity,
  peerProof,
} from '@holdfast/protocol';
import type { RaftMessage } from '@holdfast/raft';
import { WebSocket } from 'ws';
import { CorruptFrameBudget } from './frame-budget.ts';
import { checkProof, checkVersion, type PeerStanding, standingOf } from './identity-check.ts';
import { decodePingTime } from './peer-clocks.ts';
import type { PeerContext } from './peer-context.ts';

/** Two handshake frames and their WebSocket headers. */
const UNAUTHENTICATED_SIZE_BYTES_MAX = 2 * PEER_HANDSHAKE_FRAME_SIZE_BYTES_MAX + 64;
const CLOSE_GRACE_MS = 200;

export interface IncomingConnectionEvents {
  /** The other side proved itself. @throws HoldfastError to refuse it all the same */
  onAccepted(connection: IncomingConnection): void;
  onMessages(messages: readonly RaftMessage[]): void;
  onCare(sender: PeerIdentity, frame: CareFrame): void;
  onSnapshotFrame(connection: IncomingConnection, frame: PeerFrame): void;
  onClosed(connection: IncomingConnection): void;
}

interface PendingChallenge {
  readonly hello: PeerHello;
  readonly expectedProof: Uint8Array;
}

export class IncomingConnection {
  readonly #socket: WebSocket;
  readonly #context: PeerContext;
  readonly #events: IncomingConnectionEvents;
  readonly #corruptFrames: CorruptFrameBudget;
  readonly #remote: string;
  #pending: PendingChallenge | null = null;
  #identity: PeerIdentity | null = null;
  #standing: PeerStanding = 'guest';
  #channel: PeerChannel = 'control';
  #timer: TimerHandle;
  #unauthenticatedSizeBytes = 0;
  #silentIntervalCount = 0;

  constructor(
    socket: WebSocket,
    rawSocket: Socket,
    context: PeerContext,
    events: IncomingConnectionEvents,
  ) {
    this.#socket = socket;
    this.#context = context;
    this.#events = events;
    this.#corruptFrames = new CorruptFrameBudget(context.options.clock);
    this.#remote = `${rawSocket.remoteAddress ?? 'unknown'}:${rawSocket.remotePort ?? 0}`;
    const { handshakeTimeoutMs } = context.timing;
    this.#timer = context.options.timers.after(handshakeTimeoutMs, () => socket.terminate());
    socket.binaryType = 'nodebuffer';
    socket.on('message', (data) => this.#onFrame(data as Buffer));
    socket.on('ping', (data: Buffer) => this.#onPing(data));
    socket.on('error', (error) => {
      context.options.logger.debug({ remote: this.#remote, err: error }, 'peer connection failed');
    });
    socket.on('close', () => {
      this.#timer.cancel();
      events.onClosed(this);
    });
    rawSocket.on('data', (chunk: Buffer) => {
      this.#silentIntervalCount = 0;
      if (this.#identity !== null) return;
      this.#unauthenticatedSizeBytes += chunk.byteLength;
      if (this.#unauthenticatedSizeBytes > UNAUTHENTICATED_SIZE_BYTES_MAX) socket.terminate();
    });
  }

  /** Null until the other side proved itself. */
  get peer(): NodeId | null {
    return this.#identity === null ? null : nodeId(this.#identity.nodeId);
  }

  /** As it proved it at the handshake; null until then. */
  get identity(): PeerIdentity | null {
    return this.#identity;
  }

  get isGuest(): boolean {
    return this.#identity !== null && this.#standing === 'guest';
  }

  get channel(): PeerChannel {
    return this.#channel;
  }

  send(frame: Uint8Array): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#context.counters.bytesSent += frame.byteLength;
    this.#socket.send(frame);
  }

  close(): void {
    this.#socket.terminate();
  }

  /** The configuration changed: a guest may be a member now and the other way round. */
  reassess(): void {
    if (this.#identity === null) return;
    try {
      this.#standing = standingOf(this.#context, this.#identity);
    } catch (thrown) {
      const error = toHoldfastError(thrown);
      this.#context.reportRefusal(this.#identity.nodeId, error.code, error.message);
      this.#socket.terminate();
    }
  }

  #onPing(data: Buffer): void {
    this.#silentIntervalCount = 0;
    const wallMs = decodePingTime(data);
    if (this.peer !== null && wallMs !== null) this.#context.clocks.observe(this.peer, wallMs);
  }

  /** Called at every ping interval; the dialling side pings, so silence means it is gone. */
  checkLiveness(): void {
    this.#silentIntervalCount += 1;
    const countMax = this.#context.timing.missedPingCountMax * 2;
    if (this.#silentIntervalCount > countMax) this.#socket.terminate();
  }

  #onFrame(bytes: Buffer): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#context.counters.bytesReceived += bytes.byteLength;
    if (this.#identity === null) {
      this.#onHandshakeFrame(bytes);
      return;
    }
    let frame: PeerFrame;
    try {
      frame = decodePeerFrame(bytes);
    } catch (thrown) {
      this.#onBadFrame(toHoldfastError(thrown));
      return;
    }
    if (frame.kind === 'raft') this.#onRaftFrame(this.#identity, frame.messages);
    else if (frame.kind === 'care') this.#events.onCare(this.#identity, frame);
    else if (this.#channel === 'bulk') this.#events.onSnapshotFrame(this, frame);
    else this.#onBadFrame(protocolError(`sent ${frame.kind} on the control channel`));
  }

  #onRaftFrame(
    sender: PeerIdentity,
    envelopes: readonly { readonly group: number; readonly body: Uint8Array }[],
  ): void {
    const { counters, options } = this.#context;
    const messages: RaftMessage[] = [];
    for (const { group, body } of envelopes) {
      const message = decodeOrNull(() => options.codec.decode(body, nodeId(sender.nodeId)));
      const isForUs =
        message !== null &&
        message.from === sender.nodeId &&
        message.group === group &&
        message.to === options.nodeId &&
        message.fromIncarnation === sender.incarnation;
      if (isForUs) messages.push(message);
      else counters.messagesMalformed += 1;
    }
    counters.messagesReceived += messages.length;
    if (messages.length > 0) this.#events.onMessages(messages);
  }

  #onBadFrame(error: HoldfastError): void {
    const { counters, options } = this.#context;
    const peer = this.#identity?.nodeId;
    if (error.code === 'PEER_FRAME_CORRUPT') {
      counters.framesCorrupt += 1;
      if (this.#corruptFrames.spend()) {
        options.logger.warn({ peer, code: error.code }, 'dropped a corrupt peer frame');
        return;
      }
    }
    options.logger.error({ peer, code: error.code }, `closing a peer connection: ${error.message}`);
    this.#socket.terminate();
  }

  #onHandshakeFrame(bytes: Buffer): void {
    try {
      const message = decodePeerHandshake(bytes);
      switch (message.kind) {
        case 'hello':
          this.#onHello(message);
          return;
        case 'response':
          this.#onResponse(message.proof);
          return;
        case 'refused':
          // Not authenticated: worth a line for whoever debugs, no more.
          this.#context.options.logger.debug({ remote: this.#remote }, message.error.message);
          this.#socket.close();
          return;
        case 'challenge':
        case 'accepted':
          throw protocolError(`sent ${message.kind} to the accepting side`);
      }
    } catch (thrown) {
      this.#refuse(toHoldfastError(thrown));
    }
  }

  #onHello(hello: PeerHello): void {
    if (this.#pending !== null) throw protocolError('sent two hellos');
    checkVersion(hello.version);
    const { hmac } = this.#context;
    const challenge = {
      kind: 'challenge',
      version: PEER_PROTOCOL_VERSION,
      ...this.#context.identity(),
      nonce: this.#context.nonce(),
    } as const;
    const expectedProof = peerProof(hmac, { role: 'connect', hello, challenge });
    this.#pending = { hello, expectedProof };
    const proof = peerProof(hmac, { role: 'accept', hello, challenge });
    this.#socket.send(encodePeerHandshake({ ...challenge, proof }));
  }

  #onResponse(proof: Uint8Array): void {
    if (this.#pending === null) throw protocolError('sent its response before the hello');
    const { hello, expectedProof } = this.#pending;
    checkProof(proof, expectedProof, `${hello.nodeId} at ${this.#remote}`);
    if (hello.channel === 'inquiry') {
      this.#answerInquiry();
      return;
    }
    this.#standing = standingOf(this.#context, hello);
    this.#identity = hello;
    this.#channel = hello.channel;
    try {
      this.#events.onAccepted(this);
    } catch (thrown) {
      this.#identity = null;
      throw thrown;
    }
    this.#timer.cancel();
    this.#context.learn(hello);
    this.#socket.send(encodePeerHandshake({ kind: 'accepted', members: [] }));
  }

  /** It knows the secret, so it may know who is here; it is let in no further. */
  #answerInquiry(): void {
    const { members } = this.#context.roster;
    this.#socket.send(encodePeerHandshake({ kind: 'accepted', members }));
    this.#socket.close();
    this.#closeSoon();
  }

  #refuse(error: HoldfastError): void {
    const peer = this.#pending?.hello.nodeId ?? this.#remote.replace(/:\d+$/, '');
    this.#context.reportRefusal(peer, error.code, `refused a peer connection: ${error.message}`);
    this.#socket.send(encodePeerHandshake({ kind: 'refused', error: error.toBody() }));
    this.#socket.close();
    this.#closeSoon();
  }

  #closeSoon(): void {
    this.#timer.cancel();
    this.#timer = this.#context.options.timers.after(CLOSE_GRACE_MS, () =>
      this.#socket.terminate(),
    );
  }
}

/** What does not decode is dropped and counted by the caller; a bug of ours still surfaces. */
function decodeOrNull(decode: () => RaftMessage): RaftMessage | null {
  try {
    return decode();
  } catch (thrown) {
    if (thrown instanceof HoldfastError) return null;
    throw thrown;
  }
}

const protocolError = (what: string): HoldfastError =>
  new HoldfastError('PEER_PROTOCOL', `the peer ${what}; run the same version on every node`);
