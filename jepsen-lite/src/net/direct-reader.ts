/**
 * Requests asked of one chosen node, leader or not, and of no other. The client library sends its
 * requests to the leader and repeats them; the promise is that every node answers what it may and
 * refuses the rest, also one that was cut off or stood still, so the test asks every node.
 */
import { HoldfastError } from '@holdfast/base';
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

/** One connection to one node; made at the first request, and again after it broke. */
export class DirectReader implements NodeAsker {
  readonly #address: string;
  readonly #timeoutMs: number;
  #connection: Promise<NodeConnection> | null = null;

  constructor(address: string, timeoutMs: number) {
    this.#address = address;
    this.#timeoutMs = timeoutMs;
  }

  async ask<Kind extends RequestKind>(
    kind: Kind,
    fields: RequestFields<Kind>,
  ): Promise<ResultOf<Kind>> {
    this.#connection ??= NodeConnection.open(this.#address, this.#timeoutMs);
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
  readonly #socket: WebSocket;
  readonly #timeoutMs: number;
  readonly #open = new Map<number, OpenRequest>();
  #nextId = 1;

  private constructor(socket: WebSocket, timeoutMs: number) {
    this.#socket = socket;
    this.#timeoutMs = timeoutMs;
    socket.on('message', (message) => this.#onMessage(decodeDown(message as Buffer)));
    socket.on('close', () => this.#failAll());
    // Reported by the close that follows.
    socket.on('error', () => undefined);
  }

  static open(address: string, timeoutMs: number): Promise<NodeConnection> {
    const socket = new WebSocket(`ws://${address}/v1/ws`, {
      perMessageDeflate: false,
      handshakeTimeout: timeoutMs,
    });
    const connection = new NodeConnection(socket, timeoutMs);
    return new Promise((resolve, reject) => {
      socket.once('close', () => reject(notReached(address)));
      socket.once('open', () => {
        socket.send(encodeUp({ kind: 'hello', protocolVersions: [1], client: 'direct-reader' }));
        resolve(connection);
      });
    });
  }

  ask<Kind extends RequestKind>(kind: Kind, fields: RequestFields<Kind>): Promise<unknown> {
    if (this.#socket.readyState !== WebSocket.OPEN) {
      return Promise.reject(notReached(this.#socket.url));
    }
    const requestId = this.#nextId++;
    return new Promise((resolve, reject) => {
      // A frozen node answers nothing and closes nothing.
      const timer = setTimeout(() => this.#socket.terminate(), this.#timeoutMs);
      const settle = () => clearTimeout(timer);
      this.#open.set(requestId, {
        resolve: (result) => {
          settle();
          resolve(result);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      });
      const request = { kind, id: requestId, timeoutMs: this.#timeoutMs, ...fields };
      this.#socket.send(encodeUp(request as Parameters<typeof encodeUp>[0]));
    });
  }

  close(): void {
    this.#socket.terminate();
  }

  #onMessage(message: ReceivedDown): void {
    if (isNotice(message)) return;
    const request = this.#open.get(message.id);
    this.#open.delete(message.id);
    if (message.ok) request?.resolve(message.result);
    else request?.reject(HoldfastError.fromBody(message.error));
  }

  #failAll(): void {
    for (const request of this.#open.values()) request.reject(connectionLost());
    this.#open.clear();
  }
}

const connectionLost = (): HoldfastError =>
  new HoldfastError('CONNECTION_LOST', 'the connection to the node was lost');

/** Nothing was sent, so nothing can have happened. */
const notReached = (address: string): HoldfastError =>
  new HoldfastError('NO_NODE_REACHABLE', `the node at ${address} does not take connections`);
