/**
 * A TCP relay on loopback that can be told to misbehave. Bytes are never reordered: TCP hides that.
 * They are changed only by a shape that says so. Modes apply to open connections too, from the next
 * byte on.
 */
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { assert, type Random, SeededRandom, unreachable } from '@holdfast/base';
import { Conveyor } from './conveyor.ts';
import { FrameTamper } from './frame-tamper.ts';
import type { LinkShape, ProxyMode } from './link-mode.ts';
import { resetSocket } from './reset-socket.ts';

export interface ProxyTarget {
  readonly host: string;
  readonly port: number;
}

export interface ProxyOptions {
  /** Default: of the kernel's choice. */
  readonly port?: number;
  /** True: connections are WebSockets, and corruption hits the inside of their messages. */
  readonly hasFrames?: boolean;
  /** For the chances of shapes; default 1. */
  readonly seed?: number;
}

/** What was done so far, all connections together. */
export interface ProxyCounts {
  readonly resets: number;
  readonly corruptions: number;
  readonly replays: number;
}

export class TcpProxy {
  readonly #server: Server;
  readonly #target: ProxyTarget;
  readonly #hasFrames: boolean;
  readonly #random: Random;
  readonly #sockets = new Set<Socket>();
  readonly #conveyors = new Set<Conveyor>();
  #mode: ProxyMode = { kind: 'pass' };
  #droppedBytes = 0;
  #hasSwallowed = false;
  #resets = 0;
  #corruptions = 0;
  #replays = 0;

  private constructor(target: ProxyTarget, options: ProxyOptions) {
    this.#target = target;
    this.#hasFrames = options.hasFrames ?? false;
    this.#random = new SeededRandom(options.seed ?? 1);
    this.#server = createServer({ allowHalfOpen: true }, (client) => this.#relay(client));
  }

  /** Listens on loopback. */
  static async listen(target: ProxyTarget, options: ProxyOptions = {}): Promise<TcpProxy> {
    const proxy = new TcpProxy(target, options);
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once('error', reject);
      proxy.#server.listen(options.port ?? 0, '127.0.0.1', resolve);
    });
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    assert(address !== null && typeof address === 'object', 'the proxy listens on TCP');
    return address.port;
  }

  get mode(): ProxyMode {
    return this.#mode;
  }

  /** Bytes of requests or answers that a one-way mode swallowed so far. */
  get droppedBytes(): number {
    return this.#droppedBytes;
  }

  get counts(): ProxyCounts {
    return { resets: this.#resets, corruptions: this.#corruptions, replays: this.#replays };
  }

  setMode(mode: ProxyMode): void {
    if (isSwallowing(mode)) {
      for (const conveyor of this.#conveyors) if (conveyor.clear()) this.#hasSwallowed = true;
    }
    const isBroken = mode.kind === 'cut' || (this.#hasSwallowed && !isSwallowing(mode));
    this.#mode = mode;
    if (!isBroken) return;
    this.#hasSwallowed = false;
    this.resetConnections();
  }

  /** Every open connection ends at once with a reset; new ones are made as the mode says. */
  resetConnections(): void {
    for (const conveyor of this.#conveyors) conveyor.clear();
    for (const socket of this.#sockets) resetSocket(socket);
  }

  async stop(): Promise<void> {
    for (const conveyor of this.#conveyors) conveyor.clear();
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #relay(client: Socket): void {
    if (this.#mode.kind === 'cut') {
      client.on('error', () => client.destroy());
      resetSocket(client);
      return;
    }
    const upstream = createConnection({ ...this.#target, allowHalfOpen: true });
    const tamper = this.#hasFrames ? new FrameTamper(this.#random) : null;
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      const conveyor = new Conveyor(from, to);
      const isReply = from === upstream;
      this.#sockets.add(from);
      this.#conveyors.add(conveyor);
      from.setNoDelay(true);
      from.on('data', (chunk: Buffer) => {
        this.#forward(chunk, { from, to, conveyor, isReply, tamper: isReply ? null : tamper });
      });
      // Through a cut cable nobody hears a connection end either.
      from.on('end', () => {
        if (this.#mode.kind === 'silence') this.#hasSwallowed = true;
        else conveyor.end();
      });
      from.on('error', () => this.#onBroken(to));
      from.on('close', () => {
        this.#sockets.delete(from);
        this.#conveyors.delete(conveyor);
        // An orderly end has been passed on; whoever is left after any other learns it here.
        if (!from.readableEnded) this.#onBroken(to);
      });
    }
  }

  #onBroken(other: Socket): void {
    if (this.#mode.kind === 'silence') this.#hasSwallowed = true;
    else if (!other.destroyed) resetSocket(other);
  }

  #forward(chunk: Buffer, way: Way): void {
    // Frames are followed in every mode, so that a shape finds them in the middle of a connection.
    const spans = way.tamper?.follow(chunk) ?? null;
    const mode = this.#mode;
    switch (mode.kind) {
      case 'pass':
        way.conveyor.push(chunk, 0, null);
        return;
      case 'cut':
        return;
      case 'dropReplies':
      case 'dropRequests':
        if (way.isReply === (mode.kind === 'dropReplies')) this.#swallow(chunk);
        else way.conveyor.push(chunk, 0, null);
        return;
      case 'silence':
        this.#hasSwallowed = true;
        return;
      case 'delay':
        way.conveyor.push(chunk, mode.delayMs, null);
        return;
      case 'shape':
        this.#forwardShaped(chunk, spans, way, mode.shape);
        return;
      default:
        unreachable(mode);
    }
  }

  /** What is missing in a stream makes the rest of it worthless: it is reset at the next mode. */
  #swallow(chunk: Buffer): void {
    this.#droppedBytes += chunk.byteLength;
    this.#hasSwallowed = true;
  }

  #forwardShaped(chunk: Buffer, spans: Spans, way: Way, shape: LinkShape): void {
    if (this.#random.nextFloat() < shape.resetChance) {
      this.#resets += 1;
      resetSocket(way.from);
      resetSocket(way.to);
      return;
    }
    let bytes = chunk;
    if (way.tamper !== null && spans !== null) {
      const tampered = way.tamper.tamper(chunk, spans, shape);
      this.#corruptions += tampered.corruptions;
      this.#replays += tampered.replays;
      bytes = tampered.bytes;
    } else if (!this.#hasFrames && this.#random.nextFloat() < shape.corruptChance) {
      this.#corruptions += 1;
      const at = this.#random.nextBelow(bytes.length);
      bytes = Buffer.from(bytes);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << this.#random.nextBelow(8));
    }
    const delayMs = shape.delayMs + this.#random.nextFloat() * shape.jitterMs;
    way.conveyor.push(bytes, delayMs, shape.bytesPerSecondMax);
  }
}

type Spans = ReturnType<FrameTamper['follow']> | null;

/** One direction of one connection. */
interface Way {
  readonly from: Socket;
  readonly to: Socket;
  readonly conveyor: Conveyor;
  readonly isReply: boolean;
  /** Of requests on links with frames. */
  readonly tamper: FrameTamper | null;
}

const isSwallowing = ({ kind }: ProxyMode): boolean =>
  kind === 'silence' || kind === 'dropReplies' || kind === 'dropRequests';
