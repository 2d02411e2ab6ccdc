/** Opens one authenticated connection to a member: the dialling half of the handshake. */
import { HoldfastError, type TimerHandle, toHoldfastError } from '@holdfast/base';
import {
  decodePeerHandshake,
  encodePeerHandshake,
  PEER_PROTOCOL_VERSION,
  type PeerChallenge,
  type PeerChannel,
  type PeerHello,
  peerProof,
} from '@holdfast/protocol';
import { WebSocket } from 'ws';
import { formatEndpoint } from '../config/endpoint.ts';
import { checkIdentity, checkProof, checkVersion } from './identity-check.ts';
import {
  PEER_SOCKET_OPTIONS,
  PEER_WEBSOCKET_PATH,
  type PeerContext,
  type PeerMember,
} from './peer-context.ts';

/** A connection attempt: `cancel` makes the promise reject and closes whatever is open. */
export interface Dial {
  readonly connected: Promise<WebSocket>;
  cancel(): void;
}

/**
 * The promise resolves after `accepted`; from then on the caller owns the socket. It rejects with
 * HoldfastError: PEER_* when one side refused the other, CONNECTION_LOST for everything else.
 */
export function dial(context: PeerContext, member: PeerMember, channel: PeerChannel): Dial {
  const url = `ws://${formatEndpoint(member.address)}${PEER_WEBSOCKET_PATH}`;
  const socket = new WebSocket(url, PEER_SOCKET_OPTIONS);
  const attempt = new DialAttempt(context, member, channel, socket);
  return { connected: attempt.connected, cancel: () => attempt.cancel() };
}

class DialAttempt {
  readonly connected: Promise<WebSocket>;
  readonly #context: PeerContext;
  readonly #member: PeerMember;
  readonly #socket: WebSocket;
  readonly #hello: PeerHello;
  readonly #timer: TimerHandle;
  #resolve!: (socket: WebSocket) => void;
  #reject!: (error: HoldfastError) => void;
  #challenge: PeerChallenge | null = null;
  #isSettled = false;

  constructor(context: PeerContext, member: PeerMember, channel: PeerChannel, socket: WebSocket) {
    this.#context = context;
    this.#member = member;
    this.#socket = socket;
    this.connected = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#hello = {
      kind: 'hello',
      version: PEER_PROTOCOL_VERSION,
      ...context.identity(),
      channel,
      nonce: context.nonce(),
    };
    const { handshakeTimeoutMs } = context.timing;
    this.#timer = context.options.timers.after(handshakeTimeoutMs, () => {
      this.#fail(lost(member, `no answer within ${handshakeTimeoutMs} ms`));
    });
    socket.binaryType = 'nodebuffer';
    socket.on('open', () => socket.send(encodePeerHandshake(this.#hello)));
    socket.on('message', (data) => this.#onFrame(data as Buffer));
    socket.on('error', (error) => this.#fail(lost(member, error.message, error)));
    socket.on('close', () => this.#fail(lost(member, 'the connection was closed')));
  }

  cancel(): void {
    this.#fail(lost(this.#member, 'cancelled'));
  }

  #onFrame(bytes: Buffer): void {
    if (this.#isSettled) return;
    try {
      this.#step(bytes);
    } catch (thrown) {
      const error = toHoldfastError(thrown);
      // Tells the other side why; what it does with that is its business.
      this.#socket.send(encodePeerHandshake({ kind: 'refused', error: error.toBody() }));
      this.#fail(error);
    }
  }

  #step(bytes: Buffer): void {
    const message = decodePeerHandshake(bytes);
    switch (message.kind) {
      case 'challenge':
        this.#onChallenge(message);
        return;
      case 'accepted':
        if (this.#challenge === null) throw protocolError('accepted before its challenge');
        this.#succeed(this.#challenge);
        return;
      case 'refused':
        this.#fail(HoldfastError.fromBody(message.error));
        return;
      case 'hello':
      case 'response':
        throw protocolError(`sent ${message.kind} to the dialling side`);
    }
  }

  #onChallenge(challenge: PeerChallenge): void {
    if (this.#challenge !== null) throw protocolError('sent two challenges');
    const { hmac } = this.#context;
    const hello = this.#hello;
    checkVersion(challenge.version);
    checkProof(challenge.proof, peerProof(hmac, { role: 'accept', hello, challenge }), this.#peer);
    const member = checkIdentity(this.#context, challenge);
    if (member.nodeId !== this.#member.nodeId) {
      const message =
        `${formatEndpoint(this.#member.address)} is ${member.nodeId}, not ` +
        `${this.#member.nodeId}; check the addresses of the peers`;
      throw new HoldfastError('PEER_UNAUTHENTICATED', message);
    }
    this.#challenge = challenge;
    const proof = peerProof(hmac, { role: 'connect', hello, challenge });
    this.#socket.send(encodePeerHandshake({ kind: 'response', proof }));
  }

  get #peer(): string {
    return `${this.#member.nodeId} at ${formatEndpoint(this.#member.address)}`;
  }

  #succeed(challenge: PeerChallenge): void {
    this.#isSettled = true;
    this.#timer.cancel();
    this.#socket.removeAllListeners();
    this.#context.learnPublicAddress(this.#member.nodeId, challenge.publicAddress);
    this.#resolve(this.#socket);
  }

  #fail(error: HoldfastError): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#timer.cancel();
    this.#socket.removeAllListeners();
    // A socket that is cut while connecting reports that as an error event: nobody's concern.
    this.#socket.on('error', () => {});
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.close();
    const cut = this.#context.options.timers.after(CLOSE_GRACE_MS, () => this.#socket.terminate());
    this.#socket.on('close', () => cut.cancel());
    if (this.#socket.readyState === WebSocket.CONNECTING) this.#socket.terminate();
    this.#reject(error);
  }
}

/** Lets the refusal reach the other side. */
const CLOSE_GRACE_MS = 200;

function lost(member: PeerMember, reason: string, cause?: unknown): HoldfastError {
  const message = `cannot reach ${member.nodeId} at ${formatEndpoint(member.address)}: ${reason}`;
  return new HoldfastError('CONNECTION_LOST', message, { cause });
}

const protocolError = (what: string): HoldfastError =>
  new HoldfastError('PEER_PROTOCOL', `the peer ${what}; run the same version on every node`);
