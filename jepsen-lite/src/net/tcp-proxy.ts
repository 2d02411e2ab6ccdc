/**
 * A TCP relay on loopback that can be told to misbehave. Bytes are never changed or reordered: it
 * models a network, and TCP hides those. Modes apply to open connections too, from the next byte
 * on.
 */
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { assert, unreachable } from '@holdfast/base';

export type ProxyMode =
  | { readonly kind: 'pass' }
  /** Open connections are reset, new ones too. */
  | { readonly kind: 'cut' }
  /** Every byte waits, in both directions, in order. */
  | { readonly kind: 'delay'; readonly delayMs: number }
  /** Requests arrive, answers vanish; the connection looks alive. */
  | { readonly kind: 'dropReplies' }
  /**
   * Nothing passes either way, and nobody is told: what a cut cable looks like. Connections that
   * lost bytes are reset when the mode changes.
   */
  | { readonly kind: 'silence' };

export interface ProxyTarget {
  readonly host: string;
  readonly port: number;
}

/** A delayed chunk count above this means that the test, not the network, is broken. */
const DELAYED_CHUNK_COUNT_MAX = 100_000;

export class TcpProxy {
  readonly #server: Server;
  readonly #target: ProxyTarget;
  readonly #sockets = new Set<Socket>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #mode: ProxyMode = { kind: 'pass' };
  #droppedBytes = 0;
  #hasSwallowed = false;

  private constructor(target: ProxyTarget) {
    this.#target = target;
    this.#server = createServer((client) => this.#relay(client));
  }

  /** Listens on a port of the kernel's choice, or on `port`. */
  static async listen(target: ProxyTarget, port = 0): Promise<TcpProxy> {
    const proxy = new TcpProxy(target);
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once('error', reject);
      proxy.#server.listen(port, '127.0.0.1', resolve);
    });
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    assert(address !== null && typeof address === 'object', 'the proxy listens on TCP');
    return address.port;
  }

  /** Bytes of answers that were swallowed so far. */
  get droppedBytes(): number {
    return this.#droppedBytes;
  }

  setMode(mode: ProxyMode): void {
    const isBroken = mode.kind === 'cut' || (this.#hasSwallowed && mode.kind !== 'silence');
    this.#mode = mode;
    if (!isBroken) return;
    this.#hasSwallowed = false;
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #relay(client: Socket): void {
    if (this.#mode.kind === 'cut') {
      client.resetAndDestroy();
      return;
    }
    const upstream = createConnection(this.#target);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.#sockets.add(from);
      from.setNoDelay(true);
      from.on('data', (chunk: Buffer) => this.#forward(chunk, to, from === upstream));
      // The other end learns of the loss by its own socket; a reset needs no second report.
      from.on('error', () => to.destroy());
      from.on('close', () => {
        this.#sockets.delete(from);
        // Through a cut cable nobody hears a connection end either.
        if (this.#mode.kind === 'silence') this.#hasSwallowed = true;
        else to.destroy();
      });
    }
  }

  #forward(chunk: Buffer, to: Socket, isReply: boolean): void {
    const mode = this.#mode;
    switch (mode.kind) {
      case 'pass':
        if (!to.destroyed) to.write(chunk);
        return;
      case 'cut':
        return;
      case 'dropReplies':
        if (isReply) this.#droppedBytes += chunk.byteLength;
        else if (!to.destroyed) to.write(chunk);
        return;
      case 'silence':
        this.#hasSwallowed = true;
        return;
      case 'delay':
        this.#forwardLater(chunk, to, mode.delayMs);
        return;
      default:
        unreachable(mode);
    }
  }

  /** Timers of equal delay fire in the order in which they were set, so order is kept. */
  #forwardLater(chunk: Buffer, to: Socket, delayMs: number): void {
    assert(this.#timers.size < DELAYED_CHUNK_COUNT_MAX, 'too many delayed chunks');
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (!to.destroyed) to.write(chunk);
    }, delayMs);
    this.#timers.add(timer);
  }
}
