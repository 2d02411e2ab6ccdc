/**
 * The network between client libraries and the client ports of simulated nodes: real frames and
 * the server's real Connection, no sockets. Frames arrive in order after a delay. A killed process
 * resets its connections at once; after a power cut nobody says anything, and the client notices
 * only when it has heard nothing for a while.
 *
 * `connect` has the shape of the client library's Transport.
 */
import { EventEmitter } from 'node:events';
import type { Random } from '@holdfast/base';
import type { ConnectionSocket, RawSocket } from '../server/connection-socket.ts';
import { pooled } from './pooled.ts';
import type { SimProcess } from './sim-process.ts';
import type { SimScheduler } from './sim-scheduler.ts';

export interface SimClientHandlers {
  onOpen(): void;
  onFrame(bytes: Uint8Array): void;
  onClose(cause: Error): void;
}

export interface SimClientEnd {
  send(bytes: Uint8Array): void;
  close(): void;
}

/** A client port that listens: whoever connects is handed to `accept`, in the node's process. */
interface Listener {
  readonly process: SimProcess;
  readonly accept: (socket: ConnectionSocket, rawSocket: RawSocket) => void;
}

/** A client hears of a silent end after its library's silence limit, about this much. */
const SILENCE_MS_MIN = 2_000;
const SILENCE_MS_MAX = 6_000;

export class SimClientNetwork {
  readonly #scheduler: SimScheduler;
  readonly #random: Random;
  readonly #listeners = new Map<string, Listener>();
  readonly #links = new Map<string, Set<SimLink>>();
  readonly #cuts = new Set<string>();
  /** Each frame takes up to this many whole ms. */
  delayMsMax = 1;

  constructor(scheduler: SimScheduler, random: Random) {
    this.#scheduler = scheduler;
    this.#random = random;
  }

  listen(address: string, listener: Listener): void {
    this.#listeners.set(address, listener);
  }

  /** The process behind `address` is gone. A silent end is that of a machine without power. */
  silence(address: string, isSilent: boolean): void {
    this.#listeners.delete(address);
    this.#endLinks(address, isSilent);
  }

  /** Breaks every connection to `address` and lets nobody connect. */
  cut(address: string): void {
    this.#cuts.add(address);
    this.#endLinks(address, false);
  }

  mend(address: string): void {
    this.#cuts.delete(address);
  }

  /** Breaks every connection to `address`; clients may connect again. */
  reset(address: string): void {
    this.#endLinks(address, false);
  }

  heal(): void {
    this.#cuts.clear();
  }

  connect(address: string, handlers: SimClientHandlers): SimClientEnd {
    const link = new SimLink(
      handlers,
      (step) => this.#later(step),
      () => {
        this.#links.get(address)?.delete(link);
      },
    );
    this.#later(() => {
      const listener = this.#listeners.get(address);
      if (listener === undefined || this.#cuts.has(address)) {
        link.refuse(`nobody listens at ${address}`);
        return;
      }
      const known = this.#links.get(address) ?? new Set<SimLink>();
      this.#links.set(address, known);
      known.add(link);
      link.open(listener);
    });
    return link.clientEnd;
  }

  #endLinks(address: string, isSilent: boolean): void {
    const links = this.#links.get(address);
    this.#links.delete(address);
    for (const link of links ?? []) {
      const silenceMs = SILENCE_MS_MIN + this.#random.nextBelow(SILENCE_MS_MAX - SILENCE_MS_MIN);
      link.breakOff(isSilent ? silenceMs : 0, this.#scheduler);
    }
  }

  #later(step: () => void): void {
    this.#scheduler.clock.after(this.#random.nextBelow(this.delayMsMax + 1), step);
  }
}

type Later = (step: () => void) => void;

/** One direction of a link: steps happen in the order in which they were sent. */
class Line {
  readonly #later: Later;
  readonly #steps: (() => void)[] = [];

  constructor(later: Later) {
    this.#later = later;
  }

  send(step: () => void): void {
    this.#steps.push(step);
    this.#later(() => this.#steps.shift()?.());
  }
}

class SimLink {
  readonly #handlers: SimClientHandlers;
  readonly #up: Line;
  readonly #down: Line;
  readonly #onEnd: () => void;
  #socket: MemorySocket | null = null;
  #process: SimProcess | null = null;
  #isClientOpen = true;
  #isServerOpen = true;

  readonly clientEnd: SimClientEnd = {
    send: (bytes) => {
      const copy = pooled(bytes);
      this.#up.send(() => {
        const { socket, process } = this.#server();
        if (socket !== null) process?.run(() => socket.receive(copy));
      });
    },
    close: () => {
      this.#isClientOpen = false;
      this.#up.send(() => this.#closeServer());
    },
  };

  constructor(handlers: SimClientHandlers, later: Later, onEnd: () => void) {
    this.#handlers = handlers;
    this.#up = new Line(later);
    this.#down = new Line(later);
    this.#onEnd = onEnd;
  }

  refuse(reason: string): void {
    this.#closeClient(reason);
  }

  open(listener: Listener): void {
    if (!this.#isClientOpen) return;
    const socket = new MemorySocket({
      onSend: (bytes) => this.#down.send(() => this.#deliver(bytes)),
      onClose: (reason) => {
        this.#down.send(() => this.#closeClient(reason));
        this.#up.send(() => this.#closeServer());
      },
    });
    this.#socket = socket;
    this.#process = listener.process;
    this.#down.send(() => {
      if (this.#isClientOpen) this.#handlers.onOpen();
    });
    listener.process.run(() => listener.accept(socket, socket.raw));
  }

  /** The server's end is gone without a word; the client's end notices after `noticeMs`. */
  breakOff(noticeMs: number, scheduler: SimScheduler): void {
    this.#isServerOpen = false;
    const process = this.#process;
    const socket = this.#socket;
    if (socket !== null) process?.run(() => socket.ended());
    scheduler.clock.after(noticeMs, () => this.#closeClient('the connection broke'));
  }

  #server(): { readonly socket: MemorySocket | null; readonly process: SimProcess | null } {
    return { socket: this.#isServerOpen ? this.#socket : null, process: this.#process };
  }

  #deliver(bytes: Uint8Array): void {
    if (this.#isClientOpen && this.#isServerOpen) this.#handlers.onFrame(pooled(bytes));
  }

  #closeClient(reason: string): void {
    if (!this.#isClientOpen) return;
    this.#isClientOpen = false;
    this.#handlers.onClose(new Error(reason));
  }

  #closeServer(): void {
    const { socket, process } = this.#server();
    this.#isServerOpen = false;
    this.#onEnd();
    if (socket !== null) process?.run(() => socket.ended());
  }
}

interface MemorySocketEnds {
  onSend(frame: Uint8Array): void;
  onClose(reason: string): void;
}

/** `readyState` of a WebSocket (RFC 6455 has no numbers; the browser interface has). */
const OPEN = 1;
const CLOSING = 2;
const CLOSED = 3;

class MemorySocket extends EventEmitter implements ConnectionSocket {
  readonly raw = new EventEmitter();
  readonly #ends: MemorySocketEnds;
  binaryType: 'nodebuffer' | 'arraybuffer' | 'fragments' = 'nodebuffer';
  oversizeNotice: (() => Uint8Array) | undefined = undefined;
  readyState = OPEN;
  readonly bufferedAmount = 0;

  constructor(ends: MemorySocketEnds) {
    super();
    this.#ends = ends;
  }

  receive(frame: Buffer): void {
    if (this.readyState === CLOSED) return;
    this.raw.emit('data', frame);
    this.emit('message', frame, true);
  }

  sendFrame(frame: Uint8Array): void {
    if (this.readyState === OPEN) this.#ends.onSend(frame.slice());
  }

  pause(): void {}

  resume(): void {}

  close(_code?: number, reason = 'closed'): void {
    if (this.readyState !== OPEN) return;
    this.readyState = CLOSING;
    this.#ends.onClose(reason);
  }

  terminate(): void {
    this.close();
  }

  ended(): void {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSED;
    this.emit('close');
  }
}
