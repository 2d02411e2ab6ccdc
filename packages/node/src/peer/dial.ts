/** Opens one authenticated connection to another node: the dialling half of the handshake. */
import { HoldfastError, type Member, type TimerHandle, toHoldfastError } from '@holdfast/base';
import {
  decodePeerHandshake,
  encodePeerHandshake,
  PEER_ACCEPTED_FRAME_SIZE_BYTES_MAX,
  PEER_HANDSHAKE_FRAME_SIZE_BYTES_MAX,
  PEER_PROTOCOL_VERSION,
  type PeerChallenge,
  type PeerChannel,
  type PeerHello,
  peerProof,
} from '@holdfast/protocol';
import { WebSocket } from 'ws';
import { type Endpoint, formatEndpoint } from '../config/endpoint.ts';
import type { InquiryAnswer } from '../service-api.ts';
import { checkExpected, checkProof, checkVersion } from './identity-check.ts';
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

/** Whom an attempt wants to reach: `expected` is null for an inquiry. */
interface Target {
  readonly address: Endpoint;
  readonly expected: PeerMember | null;
}

interface Accepted extends InquiryAnswer {
  readonly socket: WebSocket;
}

/**
 * The promise resolves after `accepted`; from then on the caller owns the socket. It rejects with
 * HoldfastError: PEER_* when one side refused the other, CONNECTION_LOST for everything else.
 */
export function dial(
  context: PeerContext,
  member: PeerMember,
  channel: Exclude<PeerChannel, 'inquiry'>,
): Dial {
  const target = { address: member.address, expected: member };
  const attempt = new DialAttempt(context, target, channel);
  const connected = attempt.accepted.then(({ socket }) => socket);
  return { connected, cancel: () => attempt.cancel() };
}

/**
 * Asks whoever listens at `address` who it is and whom it knows. The connection is closed again.
 * @throws HoldfastError PEER_UNAUTHENTICATED, PEER_PROTOCOL, CONNECTION_LOST
 */
export async function inquire(context: PeerContext, address: Endpoint): Promise<InquiryAnswer> {
  const attempt = new DialAttempt(context, { address, expected: null }, 'inquiry');
  const { socket, identity, members } = await attempt.accepted;
  socket.on('error', () => {});
  socket.terminate();
  return { identity, members };
}

class DialAttempt {
  readonly accepted: Promise<Accepted>;
  readonly #context: PeerContext;
  readonly #target: Target;
  readonly #socket: WebSocket;
  readonly #hello: PeerHello;
  readonly #timer: TimerHandle;
  #resolve!: (accepted: Accepted) => void;
  #reject!: (error: HoldfastError) => void;
  #challenge: PeerChallenge | null = null;
  #isSettled = false;

  constructor(context: PeerContext, target: Target, channel: PeerChannel) {
    this.#context = context;
    this.#target = target;
    const url = `ws://${formatEndpoint(target.address)}${PEER_WEBSOCKET_PATH}`;
    const socket = new WebSocket(url, PEER_SOCKET_OPTIONS);
    this.#socket = socket;
    this.accepted = new Promise((resolve, reject) => {
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
      this.#fail(lost(target, `no answer within ${handshakeTimeoutMs} ms`));
    });
    socket.binaryType = 'nodebuffer';
    socket.on('open', () => socket.send(encodePeerHandshake(this.#hello)));
    socket.on('message', (data) => this.#onFrame(data as Buffer));
    socket.on('error', (error) => this.#fail(lost(target, error.message, error)));
    socket.on('close', () => this.#fail(lost(target, 'the connection was closed')));
  }

  cancel(): void {
    this.#fail(lost(this.#target, 'cancelled'));
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
    const sizeBytesMax =
      this.#challenge === null
        ? PEER_HANDSHAKE_FRAME_SIZE_BYTES_MAX
        : PEER_ACCEPTED_FRAME_SIZE_BYTES_MAX;
    const message = decodePeerHandshake(bytes, sizeBytesMax);
    switch (message.kind) {
      case 'challenge':
        this.#onChallenge(message);
        return;
      case 'accepted':
        if (this.#challenge === null) throw protocolError('accepted before its challenge');
        this.#succeed(this.#challenge, message.members);
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
    const { expected } = this.#target;
    if (expected !== null) checkExpected(this.#context, challenge, expected);
    this.#challenge = challenge;
    const proof = peerProof(hmac, { role: 'connect', hello, challenge });
    this.#socket.send(encodePeerHandshake({ kind: 'response', proof }));
  }

  get #peer(): string {
    return nameOf(this.#target);
  }

  #succeed(challenge: PeerChallenge, members: readonly Member[]): void {
    this.#isSettled = true;
    this.#timer.cancel();
    this.#socket.removeAllListeners();
    this.#context.learn(challenge);
    this.#resolve({ socket: this.#socket, identity: challenge, members });
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

function lost(target: Target, reason: string, cause?: unknown): HoldfastError {
  return new HoldfastError('CONNECTION_LOST', `cannot reach ${nameOf(target)}: ${reason}`, {
    cause,
  });
}

function nameOf({ expected, address }: Target): string {
  const where = formatEndpoint(address);
  return expected === null ? where : `${expected.nodeId} at ${where}`;
}

const protocolError = (what: string): HoldfastError =>
  new HoldfastError('PEER_PROTOCOL', `the peer ${what}; run the same version on every node`);
