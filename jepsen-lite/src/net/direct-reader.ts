/**
 * Requests asked of one chosen node, leader or not, and of no other. The client library sends its
 * requests to the leader and repeats them; the promise is that every node answers what it may and
 * refuses the rest, also one that was cut off or stood still, so the test asks every node.
 */
import { HoldfastError, type Timers } from '@holdfast/base';
import type { Transport, TransportConnection } from '@holdfast/client';
import {
  type Consistency,
  decodeDown,
  decodeResult,
  encodeUp,
  isNotice,
  type PointId,
  type ReceivedDown,
  type RequestKind,
  type ResultOf,
  type StoredPoint,
} from '@holdfast/protocol';
import { WebSocket } from 'ws';
import type { NodeAsker, RequestFields } from '../workload/workload.ts';

interface OpenRequest {
  /** With the result as it came. */
  resolve(result: unknown): void;
  reject(error: Error): void;
}

/** After these the next request needs a new connection. */
const BROKEN_CODES: ReadonlySet<string> = new Set(['CONNECTION_LOST', 'NO_NODE_REACHABLE']);

export interface DirectReaderOptions {
  /** Of one request, and of connecting. */
  readonly timeoutMs: number;
  /** Default: real WebSockets. */
  readonly transport?: Transport;
  readonly timers?: Timers;
}

const SYSTEM_TIMERS: Timers = {
  after: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
};

/** One connection to one node; made at the first request, and again after it broke. */
export class DirectReader implements NodeAsker {
  readonly #address: string;
  readonly #options: Required<DirectReaderOptions>;
  #connection: Promise<NodeConnection> | null = null;

  constructor(address: string, options: number | DirectReaderOptions) {
    const given = typeof options === 'number' ? { timeoutMs: options } : options;
    this.#address = address;
    this.#options = {
      transport: webSockets(given.timeoutMs),
      timers: SYSTEM_TIMERS,
      ...given,
    };
  }

  async ask<Kind extends RequestKind>(
    kind: Kind,
    fields: RequestFields<Kind>,
  ): Promise<ResultOf<Kind>> {
    this.#connection ??= NodeConnection.open(this.#address, this.#options);
    const opening = this.#connection;
    let connection: NodeConnection;
    try {
      connection = await opening;
    } catch (thrown) {
      if (this.#connection === opening) this.#connection = null;
      throw thrown;
    }
    try {
      return decodeResult(kind, await connection.ask(kind, fields));
    } catch (thrown) {
      const isBroken = thrown instanceof HoldfastError && BROKEN_CODES.has(thrown.code);
      if (isBroken && this.#connection === opening) this.#connection = null;
      throw thrown;
    }
  }

  /** @throws HoldfastError as `ask`; a read has no effect */
  async get(
    collection: string,
    id: PointId,
    consistency: Consistency = 'linearizable',
    wanted: { readonly withVector?: boolean } = {},
  ): Promise<StoredPoint | null> {
    const fields = { collection, ids: [id], withPayload: true, ...wanted, consistency };
    const { points } = await this.ask('get', fields);
    return points[0] ?? null;
  }

  async close(): Promise<void> {
    const connection = await this.#connection?.catch(() => null);
    connection?.close();
  }
}

class NodeConnection {
  readonly #address: string;
  readonly #timeoutMs: number;
  readonly #timers: Timers;
  readonly #open = new Map<number, OpenRequest>();
  readonly #line: TransportConnection;
  #nextId = 1;
  #isOpen = false;
  #isClosed = false;
  /** Called at most once, when it has opened or will not. */
  readonly #onReady: (error: HoldfastError | null) => void;

  private constructor(
    address: string,
    { timeoutMs, timers, transport }: Required<DirectReaderOptions>,
    onReady: (error: HoldfastError | null) => void,
  ) {
    this.#address = address;
    this.#timeoutMs = timeoutMs;
    this.#timers = timers;
    this.#onReady = onReady;
    this.#line = transport.connect(address, {
      onOpen: () => {
        this.#isOpen = true;
        this.#send({ kind: 'hello', protocolVersions: [1], client: 'direct-reader' });
        this.#onReady(null);
      },
      onFrame: (bytes) => this.#onMessage(decodeDown(bytes)),
      onClose: () => this.#ended(),
    });
  }

  static open(address: string, options: Required<DirectReaderOptions>): Promise<NodeConnection> {
    return new Promise((resolve, reject) => {
      const connection: NodeConnection = new NodeConnection(address, options, (error) => {
        if (error === null) resolve(connection);
        else reject(error);
      });
    });
  }

  ask<Kind extends RequestKind>(kind: Kind, fields: RequestFields<Kind>): Promise<unknown> {
    if (this.#isClosed) return Promise.reject(notReached(this.#address));
    const requestId = this.#nextId++;
    return new Promise((resolve, reject) => {
      // A frozen node answers nothing and closes nothing.
      const timer = this.#timers.after(this.#timeoutMs, () => this.close());
      this.#open.set(requestId, {
        resolve: (result) => {
          timer.cancel();
          resolve(result);
        },
        reject: (error) => {
          timer.cancel();
          reject(error);
        },
      });
      const request = { kind, id: requestId, timeoutMs: this.#timeoutMs, ...fields };
      this.#send(request as Parameters<typeof encodeUp>[0]);
    });
  }

  close(): void {
    this.#line.close();
    this.#ended();
  }

  #send(message: Parameters<typeof encodeUp>[0]): void {
    this.#line.send(encodeUp(message));
  }

  #onMessage(message: ReceivedDown): void {
    if (isNotice(message)) return;
    const request = this.#open.get(message.id);
    this.#open.delete(message.id);
    if (message.ok) request?.resolve(message.result);
    else request?.reject(HoldfastError.fromBody(message.error));
  }

  #ended(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (!this.#isOpen) this.#onReady(notReached(this.#address));
    for (const request of this.#open.values()) request.reject(connectionLost());
    this.#open.clear();
  }
}

/** Ordered frames over a real WebSocket. `terminate`: nobody waits for a frozen node to agree. */
const webSockets = (handshakeTimeoutMs: number): Transport => ({
  connect: (address, handlers) => {
    const socket = new WebSocket(`ws://${address}/v1/ws`, {
      perMessageDeflate: false,
      handshakeTimeout: handshakeTimeoutMs,
    });
    let isOver = false;
    socket.on('open', () => handlers.onOpen());
    socket.on('message', (message) => {
      if (!isOver) handlers.onFrame(message as Buffer);
    });
    socket.on('close', () => {
      if (!isOver) handlers.onClose(new Error(`the connection to ${address} ended`));
      isOver = true;
    });
    // Reported by the close that follows.
    socket.on('error', () => undefined);
    return {
      send: (bytes) => socket.send(bytes),
      close: () => {
        isOver = true;
        socket.terminate();
      },
    };
  },
});

const connectionLost = (): HoldfastError =>
  new HoldfastError('CONNECTION_LOST', 'the connection to the node was lost');

/** Nothing was sent, so nothing can have happened. */
const notReached = (address: string): HoldfastError =>
  new HoldfastError('NO_NODE_REACHABLE', `the node at ${address} does not take connections`);
