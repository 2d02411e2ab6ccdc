/**
 * Linearizable reads asked of one chosen node, leader or not. The client library sends its reads to
 * the leader; the promise is that every node may answer them, so the test asks every node.
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
  type StoredPoint,
} from '@holdfast/protocol';
import { WebSocket } from 'ws';

interface OpenRead {
  resolve(point: StoredPoint | null): void;
  reject(error: Error): void;
}

/** One connection to one node; made at the first read, and again after it broke. */
export class DirectReader {
  readonly #address: string;
  readonly #timeoutMs: number;
  #connection: Promise<NodeConnection> | null = null;

  constructor(address: string, timeoutMs: number) {
    this.#address = address;
    this.#timeoutMs = timeoutMs;
  }

  /** @throws HoldfastError what the node refused with, or CONNECTION_LOST; a read has no effect */
  async get(
    collection: string,
    id: PointId,
    consistency: Consistency = 'linearizable',
    wanted: { readonly withVector?: boolean } = {},
  ): Promise<StoredPoint | null> {
    this.#connection ??= NodeConnection.open(this.#address, this.#timeoutMs);
    try {
      const connection = await this.#connection;
      return await connection.get(collection, id, consistency, wanted);
    } catch (thrown) {
      const isBroken = thrown instanceof HoldfastError && thrown.code === 'CONNECTION_LOST';
      if (isBroken) this.#connection = null;
      throw thrown;
    }
  }

  async close(): Promise<void> {
    const connection = await this.#connection?.catch(() => null);
    connection?.close();
  }
}

class NodeConnection {
  readonly #socket: WebSocket;
  readonly #timeoutMs: number;
  readonly #open = new Map<number, OpenRead>();
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
      socket.once('close', () => reject(connectionLost()));
      socket.once('open', () => {
        socket.send(encodeUp({ kind: 'hello', protocolVersions: [1], client: 'direct-reader' }));
        resolve(connection);
      });
    });
  }

  get(
    collection: string,
    id: PointId,
    consistency: Consistency,
    wanted: { readonly withVector?: boolean },
  ): Promise<StoredPoint | null> {
    if (this.#socket.readyState !== WebSocket.OPEN) return Promise.reject(connectionLost());
    const requestId = this.#nextId++;
    return new Promise((resolve, reject) => {
      // A frozen node answers nothing and closes nothing.
      const timer = setTimeout(() => this.#socket.terminate(), this.#timeoutMs);
      const settle = () => clearTimeout(timer);
      this.#open.set(requestId, {
        resolve: (point) => {
          settle();
          resolve(point);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      });
      const request = {
        kind: 'get',
        collection,
        ids: [id],
        withPayload: true,
        ...wanted,
        consistency,
      } as const;
      this.#socket.send(encodeUp({ id: requestId, timeoutMs: this.#timeoutMs, ...request }));
    });
  }

  close(): void {
    this.#socket.terminate();
  }

  #onMessage(message: ReceivedDown): void {
    if (isNotice(message)) return;
    const read = this.#open.get(message.id);
    this.#open.delete(message.id);
    if (message.ok) read?.resolve(decodeResult('get', message.result).points[0] ?? null);
    else read?.reject(HoldfastError.fromBody(message.error));
  }

  #failAll(): void {
    for (const read of this.#open.values()) read.reject(connectionLost());
    this.#open.clear();
  }
}

const connectionLost = (): HoldfastError =>
  new HoldfastError('CONNECTION_LOST', 'the connection to the node was lost');
