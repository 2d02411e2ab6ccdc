/**
 * The transport over WebSocket. Compression is off (it costs five times the throughput), the mask
 * is zero (both ends then skip masking; the mask protects browsers' proxies, not us), frames of one
 * turn leave in one write, and a silent connection is pinged, then dropped: a half-open TCP
 * connection must not hide a dead leader.
 */
import type { Socket } from 'node:net';
import type { Clock, TimerHandle, Timers } from '@holdfast/base';
import { FRAME_SIZE_BYTES_MAX } from '@holdfast/protocol';
import { WebSocket } from 'ws';
import { atEndOfTurn } from './system.ts';
import type { Transport, TransportConnection, TransportHandlers } from './transport.ts';

export const CLIENT_WS_PATH = '/v1/ws';
/** Silence after which the other side is asked for a sign of life. */
const PING_INTERVAL_MS = 2_000;
/** Silence after which the connection counts as lost; above any pause of a healthy node. */
const SILENCE_MS_MAX = 6_000;

/** Gives the TCP socket of an open WebSocket; `ws` keeps it in a documented-by-use field. */
const socketOf = (webSocket: WebSocket): Socket | undefined =>
  (webSocket as unknown as { readonly _socket?: Socket })._socket;

export class WsTransport implements Transport {
  readonly #clock: Clock;
  readonly #timers: Timers;

  constructor(clock: Clock, timers: Timers) {
    this.#clock = clock;
    this.#timers = timers;
  }

  connect(address: string, handlers: TransportHandlers): TransportConnection {
    try {
      return new WsConnection(address, handlers, this.#clock, this.#timers);
    } catch (thrown) {
      // An address that is no URL, for example one that a server named: a failed dial, no crash.
      const cause = thrown instanceof Error ? thrown : new Error(String(thrown));
      return failedConnection(handlers, cause);
    }
  }
}

function failedConnection(handlers: TransportHandlers, cause: Error): TransportConnection {
  let isClosed = false;
  atEndOfTurn(() => {
    if (!isClosed) handlers.onClose(cause);
  });
  return {
    send() {},
    close() {
      isClosed = true;
    },
  };
}

class WsConnection implements TransportConnection {
  readonly #webSocket: WebSocket;
  readonly #handlers: TransportHandlers;
  readonly #clock: Clock;
  readonly #timers: Timers;
  #isDone = false;
  #isCorked = false;
  #heardAtMs = 0;
  #pingTimer: TimerHandle | null = null;

  constructor(address: string, handlers: TransportHandlers, clock: Clock, timers: Timers) {
    this.#handlers = handlers;
    this.#clock = clock;
    this.#timers = timers;
    const webSocket = new WebSocket(`ws://${address}${CLIENT_WS_PATH}`, {
      perMessageDeflate: false,
      maxPayload: FRAME_SIZE_BYTES_MAX,
      skipUTF8Validation: true,
      followRedirects: false,
      generateMask: (mask) => {
        mask.fill(0);
      },
    });
    this.#webSocket = webSocket;
    webSocket.on('open', () => this.#onOpen());
    webSocket.on('message', (data, isBinary) => this.#onMessage(data as Buffer, isBinary));
    webSocket.on('pong', () => this.#hear());
    webSocket.on('error', (error) => this.#finish(error));
    webSocket.on('close', (code, reason) =>
      this.#finish(new Error(`WebSocket closed with code ${code} ${reason.toString()}`.trim())),
    );
  }

  send(bytes: Uint8Array): void {
    if (this.#webSocket.readyState !== WebSocket.OPEN) return;
    this.#cork();
    this.#webSocket.send(bytes, { binary: true, compress: false }, (error) => {
      if (error !== undefined && error !== null) this.#finish(error);
    });
  }

  close(): void {
    this.#isDone = true;
    this.#pingTimer?.cancel();
    this.#webSocket.terminate();
  }

  #onOpen(): void {
    if (this.#isDone) return;
    socketOf(this.#webSocket)?.setNoDelay(true);
    this.#hear();
    this.#armPing();
    this.#handlers.onOpen();
  }

  #onMessage(data: Buffer, isBinary: boolean): void {
    if (this.#isDone) return;
    this.#hear();
    if (isBinary) this.#handlers.onFrame(data);
    else this.#finish(new Error('the server sent a text frame; Holdfast sends binary frames'));
  }

  #hear(): void {
    this.#heardAtMs = this.#clock.monotonicMs();
  }

  #armPing(): void {
    this.#pingTimer = this.#timers.after(PING_INTERVAL_MS, () => {
      const silenceMs = this.#clock.monotonicMs() - this.#heardAtMs;
      if (silenceMs > SILENCE_MS_MAX) {
        this.#finish(new Error(`nothing was heard for ${Math.round(silenceMs)} ms`));
        return;
      }
      if (silenceMs >= PING_INTERVAL_MS / 2) this.#webSocket.ping();
      this.#armPing();
    });
  }

  #cork(): void {
    if (this.#isCorked) return;
    const socket = socketOf(this.#webSocket);
    if (socket === undefined) return;
    this.#isCorked = true;
    socket.cork();
    atEndOfTurn(() => {
      this.#isCorked = false;
      socket.uncork();
    });
  }

  #finish(cause: Error): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.#pingTimer?.cancel();
    this.#webSocket.terminate();
    this.#handlers.onClose(cause);
  }
}
