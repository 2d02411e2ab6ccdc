/**
 * One client connection: handshake, requests under way, answers, and the ways it can end.
 *
 *     handshake --hello ok--> open --goodbye, slow reader, bad frame--> closing --> (closed)
 *         \--bad hello, timeout--> refused --------------------------------^
 *
 * Invariants: before the hello is accepted nothing but a hello is decoded; every request admitted
 * is released exactly once, also when the connection is gone before its answer; a request id is
 * answered at most once. An id used twice at one time ends the connection: an error under that id
 * would be taken for the answer to the first request, which may yet take effect.
 *
 * Memory: above `sendBufferSizeBytesMax` of unread answers the connection is not read any more; if
 * it stays there for `slowReaderTimeoutMs`, or reaches four times the limit, it is closed.
 *
 * Over 400 lines because every way in which a connection ends is decided in this one place.
 */
import type { Clock, Logger, TimerHandle, Timers } from '@holdfast/base';
import { assert, failpoint, HoldfastError, toHoldfastError } from '@holdfast/base';
import {
  BATCH_POINT_COUNT_MAX,
  type Down,
  decodeUp,
  encodeDown,
  HELLO_FRAME_SIZE_BYTES_MAX,
  type Hello,
  type KnownNode,
  type LeaderHint,
  negotiateVersion,
  type Request,
  SUPPORTED_PROTOCOL_VERSIONS,
  type Up,
} from '@holdfast/protocol';
import { WebSocket } from 'ws';
import type { Admission } from './admission.ts';
import type { ApiKeyGuard } from './api-key.ts';
import type { ConnectionSocket, RawSocket } from './connection-socket.ts';
import { FrameTurns } from './frame-turns.ts';
import type { Metrics } from './metrics.ts';
import { DEADLINE_GRACE_MS, type Outcome, type RequestHandler } from './request-handler.ts';

export interface ConnectionLimits {
  readonly frameSizeBytesMax: number;
  readonly inflightRequestCountMaxPerConnection: number;
  readonly sendBufferSizeBytesMax: number;
  readonly slowReaderTimeoutMs: number;
  readonly handshakeTimeoutMs: number;
}

/** What is known of the cluster at this moment, for the welcome. */
export interface ClusterView {
  readonly leader: LeaderHint | null;
  readonly term: number;
  readonly nodes: KnownNode[];
  readonly confIndex: number;
}

/** Shared by all connections of a server. */
export interface ConnectionContext {
  readonly limits: ConnectionLimits;
  readonly admission: Admission;
  readonly guard: ApiKeyGuard;
  readonly handler: RequestHandler;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly identity: {
    readonly clusterId: string;
    readonly nodeId: string;
    readonly epoch: number;
  };
  clusterView(): ClusterView;
  /** The connection is gone and released. */
  onClosed(connection: Connection): void;
}

type State = 'handshake' | 'open' | 'closing' | 'closed';

interface Inflight {
  readonly kind: string;
  readonly deadlineMs: number;
}

/** Above this multiple of the send buffer limit a connection is cut without waiting. */
const SEND_BUFFER_HARD_FACTOR = 4;
/** How long the other side may take to answer a close, or to read the goodbye. */
const CLOSE_GRACE_MS = 1_000;
/** RFC 6455: the longest head of a frame. */
const FRAME_HEADER_SIZE_BYTES_MAX = 14;
/** RFC 6455 status codes. */
const CLOSE_NORMAL = 1000;
const CLOSE_GOING_AWAY = 1001;
const CLOSE_POLICY = 1008;

export class Connection {
  readonly #socket: ConnectionSocket;
  readonly #context: ConnectionContext;
  readonly #inflight = new Map<number, Inflight>();
  readonly #turns: FrameTurns;
  #state: State = 'handshake';
  #handshakeSizeBytes = 0;
  /** A stranger who sent too much: never read again. */
  #isFlooded = false;
  #handshakeTimer: TimerHandle | null;
  #slowTimer: TimerHandle | null = null;
  #closeTimer: TimerHandle | null = null;

  /** Takes over the socket. The caller has counted the connection in. */
  constructor(socket: ConnectionSocket, rawSocket: RawSocket, context: ConnectionContext) {
    this.#socket = socket;
    this.#context = context;
    socket.binaryType = 'nodebuffer';
    socket.oversizeNotice = () => this.#oversizeNotice();
    this.#turns = new FrameTurns({
      clock: context.clock,
      timers: context.timers,
      handle: (bytes, isBinary) => this.#onFrame(bytes, isBinary),
      onHold: () => this.#steerReading(),
    });
    socket.on('message', (data, isBinary) => this.#turns.take(data, isBinary));
    socket.on('error', (error) => this.#onSocketError(error));
    socket.on('close', () => this.#onClose());
    rawSocket.on('data', (chunk) => this.#onRawBytes(chunk.byteLength));
    const { handshakeTimeoutMs } = context.limits;
    this.#handshakeTimer = context.timers.after(handshakeTimeoutMs, () => {
      const message = `no hello within ${handshakeTimeoutMs} ms; send the hello frame first`;
      this.#refuse(new HoldfastError('REQUEST_TIMEOUT', message));
    });
  }

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  get inflightCount(): number {
    return this.#inflight.size;
  }

  /** Sends a push such as leaderChanged; nothing before the handshake or when closing. */
  push(message: Down): void {
    if (this.#state === 'open') this.#send(message);
  }

  /** Answers requests whose deadline has passed although the service has not. */
  sweepDeadlines(nowMs: number): void {
    for (const [id, inflight] of this.#inflight) {
      if (nowMs < inflight.deadlineMs + DEADLINE_GRACE_MS) continue;
      const message = `the ${inflight.kind} request did not finish in its time; retry it`;
      this.#inflight.delete(id);
      this.#answer(id, { ok: false, error: new HoldfastError('REQUEST_TIMEOUT', message) });
    }
  }

  /** Says why, closes, and cuts the connection if the other side does not answer in time. */
  goodbye(error: HoldfastError): void {
    if (this.#state === 'handshake') {
      this.#refuse(error);
      return;
    }
    if (this.#state !== 'open') return;
    this.#close('goodbye', error);
  }

  /** Cuts the connection at once. */
  terminate(): void {
    this.#socket.terminate();
  }

  /** Before the hello is accepted a stranger may make us buffer a hello, and no more. */
  #onRawBytes(sizeBytes: number): void {
    if (this.#state !== 'handshake') return;
    this.#handshakeSizeBytes += sizeBytes;
    if (this.#handshakeSizeBytes <= HELLO_FRAME_SIZE_BYTES_MAX + FRAME_HEADER_SIZE_BYTES_MAX)
      return;
    const message = `first frame over ${HELLO_FRAME_SIZE_BYTES_MAX} bytes; send the hello first`;
    this.#refuse(new HoldfastError('FRAME_TOO_LARGE', message));
    this.#isFlooded = true;
    this.#steerReading();
  }

  #onFrame(bytes: Buffer, isBinary: boolean): void {
    if (this.#state === 'closing' || this.#state === 'closed') return;
    this.#context.metrics.bytesReceived(bytes.byteLength);
    if (!isBinary) {
      const message = 'text frames are not understood; send one msgpack map per binary frame';
      this.goodbye(new HoldfastError('FRAME_MALFORMED', message));
      return;
    }
    const { frameSizeBytesMax } = this.#context.limits;
    const isHandshake = this.#state === 'handshake';
    let up: Up;
    try {
      up = decodeUp(bytes, isHandshake ? HELLO_FRAME_SIZE_BYTES_MAX : frameSizeBytesMax);
    } catch (thrown) {
      this.#onUndecodable(toHoldfastError(thrown));
      return;
    }
    if (isHandshake) this.#onHello(up);
    else this.#onRequest(up);
  }

  /** A bad request with a readable id is answered; anything else ends the connection. */
  #onUndecodable(error: HoldfastError): void {
    if (error.code === 'INTERNAL') {
      this.#context.logger.error({ err: error.cause ?? error }, 'decoding a client frame failed');
    }
    const { requestId } = error.details;
    const isAnswerable =
      this.#state === 'open' && typeof requestId === 'number' && !this.#inflight.has(requestId);
    if (!isAnswerable) {
      this.goodbye(error);
      return;
    }
    this.#context.handler.refused('invalid', error);
    this.#answer(requestId, { ok: false, error });
  }

  #onHello(up: Up): void {
    if (up.kind !== 'hello') {
      const message = `a ${up.kind} request before the hello; send the hello frame first`;
      this.#refuse(new HoldfastError('REQUEST_INVALID', message));
      return;
    }
    let protocolVersion: number;
    try {
      this.#context.guard.check(up.apiKey);
      protocolVersion = versionOf(up);
    } catch (thrown) {
      this.#refuse(toHoldfastError(thrown));
      return;
    }
    const { limits, identity } = this.#context;
    this.#handshakeTimer?.cancel();
    this.#handshakeTimer = null;
    this.#state = 'open';
    this.#send({
      kind: 'welcome',
      protocolVersion,
      ...identity,
      ...this.#context.clusterView(),
      limits: {
        frameSizeBytesMax: limits.frameSizeBytesMax,
        batchPointCountMax: BATCH_POINT_COUNT_MAX,
        inflightRequestCountMax: limits.inflightRequestCountMaxPerConnection,
      },
    });
  }

  #onRequest(up: Up): void {
    if (up.kind === 'hello') {
      const message = 'a second hello; send it once per connection';
      this.goodbye(new HoldfastError('REQUEST_INVALID', message));
      return;
    }
    if (this.#inflight.has(up.id)) {
      const message = `request id ${up.id} is under way already; use an id once at a time`;
      this.goodbye(new HoldfastError('REQUEST_INVALID', message));
      return;
    }
    const refusal = this.#context.admission.admitRequest(this.#inflight.size);
    if (refusal !== null) {
      this.#context.handler.refused(up.kind, refusal);
      this.#answer(up.id, { ok: false, error: refusal });
      return;
    }
    this.#execute(up);
  }

  #execute(request: Request): void {
    const { handler, admission } = this.#context;
    failpoint('request.admitted');
    const deadlineMs = handler.deadlineMs(request);
    const inflight: Inflight = { kind: request.kind, deadlineMs };
    this.#inflight.set(request.id, inflight);
    handler.execute(request, deadlineMs, (outcome) => {
      admission.releaseRequest();
      // Another object under the id: this one was answered by the sweep and the id used again.
      if (this.#inflight.get(request.id) !== inflight) return;
      this.#inflight.delete(request.id);
      failpoint('request.before-answer');
      this.#answer(request.id, outcome);
      failpoint('request.answered');
    });
  }

  #answer(id: number, outcome: Outcome): void {
    if (this.#state !== 'open') return;
    this.#send(
      outcome.ok
        ? { id, ok: true, result: outcome.result }
        : { id, ok: false, error: outcome.error.toBody() },
    );
  }

  #send(message: Down): void {
    let frame: Uint8Array;
    try {
      frame = encodeDown(message);
    } catch (thrown) {
      // Only an answer can be too large. A read had no effect; a write's answer is always small.
      assert('id' in message && message.ok, 'only an answer may fail to encode');
      const error = toHoldfastError(thrown);
      frame = encodeDown({ id: message.id, ok: false, error: error.toBody() });
    }
    this.#context.metrics.bytesSent(frame.byteLength);
    this.#socket.sendFrame(frame);
    if (this.#socket.bufferedAmount > this.#context.limits.sendBufferSizeBytesMax) {
      this.#onSlowReader();
    }
  }

  #onSlowReader(): void {
    if (this.#state !== 'open') return;
    const { sendBufferSizeBytesMax, slowReaderTimeoutMs } = this.#context.limits;
    if (this.#socket.bufferedAmount > sendBufferSizeBytesMax * SEND_BUFFER_HARD_FACTOR) {
      this.#closeSlowReader();
      return;
    }
    if (this.#slowTimer !== null) return;
    this.#socket.pause();
    const startMs = this.#context.clock.monotonicMs();
    const pollMs = Math.max(5, Math.min(100, slowReaderTimeoutMs / 4));
    const poll = (): void => {
      this.#slowTimer = null;
      if (this.#state !== 'open') return;
      if (this.#socket.bufferedAmount <= sendBufferSizeBytesMax / 2) {
        this.#steerReading();
        return;
      }
      if (this.#context.clock.monotonicMs() - startMs >= slowReaderTimeoutMs) {
        this.#closeSlowReader();
        return;
      }
      this.#slowTimer = this.#context.timers.after(pollMs, poll);
    };
    this.#slowTimer = this.#context.timers.after(pollMs, poll);
  }

  /** Reads on only when nothing stands against it; the goodbye of the other side is read. */
  #steerReading(): void {
    if (this.#state === 'closed') return;
    const isHeld = this.#turns.isHolding || this.#slowTimer !== null;
    if (this.#isFlooded || (isHeld && this.#state !== 'closing')) this.#socket.pause();
    else this.#socket.resume();
  }

  #closeSlowReader(): void {
    const { sendBufferSizeBytesMax } = this.#context.limits;
    const message =
      `more than ${sendBufferSizeBytesMax} bytes of answers are unread; read faster or ` +
      'ask for less';
    this.#socket.resume();
    this.goodbye(new HoldfastError('SLOW_READER', message));
  }

  #refuse(error: HoldfastError): void {
    if (this.#state !== 'handshake') return;
    this.#close('refused', error);
  }

  #close(kind: 'refused' | 'goodbye', error: HoldfastError): void {
    this.#state = 'closing';
    this.#context.metrics.connectionClosed(error.code);
    this.#context.logger.info({ code: error.code, reason: error.message }, 'closing a connection');
    this.#socket.sendFrame(encodeDown({ kind, error: error.toBody() }));
    this.#socket.close(
      error.code === 'SHUTTING_DOWN' ? CLOSE_GOING_AWAY : CLOSE_POLICY,
      error.code,
    );
    this.#closeTimer = this.#context.timers.after(CLOSE_GRACE_MS, () => this.#socket.terminate());
  }

  #oversizeNotice(): Uint8Array {
    const { frameSizeBytesMax } = this.#context.limits;
    const limit = this.#state === 'handshake' ? HELLO_FRAME_SIZE_BYTES_MAX : frameSizeBytesMax;
    const message = `frame is over the limit of ${limit} bytes; send smaller batches`;
    const error = new HoldfastError('FRAME_TOO_LARGE', message).toBody();
    this.#context.metrics.connectionClosed('FRAME_TOO_LARGE');
    const kind = this.#state === 'handshake' ? 'refused' : 'goodbye';
    return encodeDown({ kind, error });
  }

  #onSocketError(error: Error): void {
    this.#context.logger.debug({ err: error }, 'a client connection failed');
    // The library closes by itself after an error it detected; a peer that never answers is cut.
    if (this.#state === 'closed' || this.#closeTimer !== null) return;
    if (this.#state !== 'closing') this.#state = 'closing';
    this.#closeTimer = this.#context.timers.after(CLOSE_GRACE_MS, () => this.#socket.terminate());
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.close(CLOSE_NORMAL);
  }

  #onClose(): void {
    assert(this.#state !== 'closed', 'a connection closes once');
    this.#state = 'closed';
    this.#turns.stop();
    for (const timer of [this.#handshakeTimer, this.#slowTimer, this.#closeTimer]) timer?.cancel();
    // Requests under way go on and release themselves; their answers have nowhere to go.
    this.#inflight.clear();
    this.#context.admission.releaseConnection();
    this.#context.onClosed(this);
  }
}

/** @throws HoldfastError PROTOCOL_UNSUPPORTED */
function versionOf(hello: Hello): number {
  const version = negotiateVersion(hello.protocolVersions);
  if (version !== null) return version;
  const supported = SUPPORTED_PROTOCOL_VERSIONS.join(', ');
  const offered = hello.protocolVersions.join(', ');
  throw new HoldfastError(
    'PROTOCOL_UNSUPPORTED',

    `the client offers protocol versions ${offered}, this server speaks ` +
      `${supported}; upgrade the older side`,
    { details: { supported: [...SUPPORTED_PROTOCOL_VERSIONS] } },
  );
}
