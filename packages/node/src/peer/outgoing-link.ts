/**
 * Our connection for messages to one peer: dialled by us, kept up for ever, only written to.
 *
 *     idle --start--> dialling --accepted--> connected --closed--> dialling (at once)
 *                        ^  \--failed--> waiting (jittered, 20..500 ms) --^
 *
 * A lost connection is reported to the listener only when the immediate attempt to reconnect failed
 * or has not succeeded within the grace time: a lone broken connection is not a dead peer.
 */
import { type HoldfastError, type TimerHandle, toHoldfastError } from '@holdfast/base';
import { encodePeerFrame, PEER_MESSAGE_COUNT_MAX, type RaftEnvelope } from '@holdfast/protocol';
import type { WebSocket } from 'ws';
import type { PeerState } from '../service-api.ts';
import { type Dial, dial } from './dial.ts';
import { encodePingTime } from './peer-clocks.ts';
import type { PeerContext, PeerMember } from './peer-context.ts';
import { type QueueLane, SendQueue } from './send-queue.ts';

/** Bytes handed to the socket at one time: what is urgent waits behind at most this. */
const SOCKET_BUFFER_SIZE_BYTES_MAX = 1024 * 1024;
const FRAME_BODY_SIZE_BYTES_MAX = 1024 * 1024;

export type LinkChannel = 'control' | 'answers';

export class OutgoingLink {
  readonly member: PeerMember;
  readonly channel: LinkChannel;
  readonly #context: PeerContext;
  readonly #onState: (state: PeerState) => void;
  readonly #queue = new SendQueue();
  #socket: WebSocket | null = null;
  #dial: Dial | null = null;
  #retryTimer: TimerHandle | null = null;
  #graceTimer: TimerHandle | null = null;
  #reported: PeerState = 'disconnected';
  #failedAttemptCount = 0;
  #missedPingCount = 0;
  #isFlushScheduled = false;
  #isStopped = false;

  constructor(
    context: PeerContext,
    target: { readonly member: PeerMember; readonly channel: LinkChannel },
    onState: (state: PeerState) => void,
  ) {
    this.#context = context;
    this.member = target.member;
    this.channel = target.channel;
    this.#onState = onState;
  }

  get isConnected(): boolean {
    return this.#socket !== null;
  }

  start(): void {
    this.#connect();
  }

  stop(): void {
    this.#isStopped = true;
    this.#retryTimer?.cancel();
    this.#graceTimer?.cancel();
    this.#dial?.cancel();
    this.#context.counters.messagesDropped += this.#queue.clear();
    this.#socket?.removeAllListeners();
    this.#socket?.on('error', () => {});
    this.#socket?.terminate();
    this.#socket = null;
  }

  /** Takes the message or drops it (counted). Frames leave when the current turn is done. */
  send(lane: QueueLane, envelope: RaftEnvelope): void {
    if (this.#socket === null || !this.#queue.push(lane, envelope)) {
      this.#context.counters.messagesDropped += 1;
      return;
    }
    if (this.#isFlushScheduled) return;
    this.#isFlushScheduled = true;
    process.nextTick(() => {
      this.#isFlushScheduled = false;
      this.#flush();
    });
  }

  /**
   * Hands a finished frame to the socket, or drops it (counted) while others wait there: whoever
   * asked for something asks again, and what is urgent never waits behind it for long.
   */
  sendCare(frame: Uint8Array): boolean {
    const socket = this.#socket;
    const { counters } = this.#context;
    if (socket === null || socket.bufferedAmount >= SOCKET_BUFFER_SIZE_BYTES_MAX) {
      counters.messagesDropped += 1;
      return false;
    }
    counters.framesSent += 1;
    counters.bytesSent += frame.byteLength;
    // A failed write also closes the socket, which is handled there.
    socket.send(frame, () => {
      if (!this.#queue.isEmpty) this.#flush();
    });
    return true;
  }

  /** Called at every ping interval: a connection that stays silent too long is cut. */
  checkLiveness(): void {
    if (this.#socket === null) return;
    if (this.#missedPingCount >= this.#context.timing.missedPingCountMax) {
      this.#socket.terminate();
      return;
    }
    this.#missedPingCount += 1;
    this.#socket.ping(encodePingTime(this.#context.options.clock.wallMs()));
  }

  #flush(): void {
    const socket = this.#socket;
    if (socket === null) return;
    const { counters } = this.#context;
    while (!this.#queue.isEmpty && socket.bufferedAmount < SOCKET_BUFFER_SIZE_BYTES_MAX) {
      const messages = this.#queue.take(PEER_MESSAGE_COUNT_MAX, FRAME_BODY_SIZE_BYTES_MAX);
      const frame = encodePeerFrame({ kind: 'raft', messages });
      counters.messagesSent += messages.length;
      counters.framesSent += 1;
      counters.bytesSent += frame.byteLength;
      // A failed write also closes the socket, which is handled there.
      socket.send(frame, () => {
        if (!this.#queue.isEmpty) this.#flush();
      });
    }
  }

  #connect(): void {
    this.#dial = dial(this.#context, this.member, this.channel);
    this.#dial.connected.then(
      (socket) => this.#onConnected(socket),
      (thrown: unknown) => this.#onFailed(toHoldfastError(thrown)),
    );
  }

  #onConnected(socket: WebSocket): void {
    this.#dial = null;
    if (this.#isStopped) {
      socket.terminate();
      return;
    }
    this.#socket = socket;
    this.#failedAttemptCount = 0;
    this.#missedPingCount = 0;
    this.#graceTimer?.cancel();
    this.#graceTimer = null;
    socket.on('pong', () => {
      this.#missedPingCount = 0;
    });
    socket.on('error', (error) => {
      this.#context.options.logger.debug(
        { peer: this.member.nodeId, err: error },
        'peer link failed',
      );
    });
    socket.on('close', () => this.#onLost());
    if (socket.readyState !== socket.OPEN) this.#onLost();
    else this.#report('connected');
  }

  #onLost(): void {
    if (this.#socket === null) return;
    this.#socket = null;
    this.#context.counters.messagesDropped += this.#queue.clear();
    const { disconnectGraceMs } = this.#context.timing;
    this.#graceTimer = this.#context.options.timers.after(disconnectGraceMs, () => {
      this.#graceTimer = null;
      this.#report('disconnected');
    });
    this.#connect();
  }

  #onFailed(error: HoldfastError): void {
    this.#dial = null;
    if (this.#isStopped) return;
    this.#graceTimer?.cancel();
    this.#graceTimer = null;
    this.#report('disconnected');
    if (error.code !== 'CONNECTION_LOST') {
      this.#context.reportRefusal(this.member.nodeId, error.code, error.message);
    }
    this.#retryTimer = this.#context.options.timers.after(this.#nextDelayMs(), () => {
      this.#retryTimer = null;
      this.#connect();
    });
  }

  /** Doubles up to the maximum; half of it is jitter. Endless by design: a peer may come back. */
  #nextDelayMs(): number {
    const { reconnectDelayMsMin, reconnectDelayMsMax } = this.#context.timing;
    const exponent = Math.min(this.#failedAttemptCount, 16);
    this.#failedAttemptCount += 1;
    const delayMs = Math.min(reconnectDelayMsMax, reconnectDelayMsMin * 2 ** exponent);
    return delayMs * (0.5 + this.#context.options.random.nextFloat() / 2);
  }

  #report(state: PeerState): void {
    if (this.#reported === state) return;
    this.#reported = state;
    this.#onState(state);
  }
}
