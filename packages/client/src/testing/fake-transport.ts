/**
 * A network in memory, on virtual time: frames arrive in order after a delay, and whoever holds the
 * server's end decides what is lost. No sockets, no real time.
 */
import type { Random, Timers } from '@holdfast/base';
import type { Transport, TransportConnection, TransportHandlers } from '../transport.ts';

/** The server's end of one connection. */
export interface FakeServerEnd {
  send(bytes: Uint8Array): void;
  /** Both directions end; frames under way are lost. */
  cut(reason: string): void;
  readonly isOpen: boolean;
}

export interface FakeServer {
  onConnect(end: FakeServerEnd): {
    onFrame(bytes: Uint8Array): void;
    onClose(): void;
  };
}

export interface FakeTransportOptions {
  readonly timers: Timers;
  readonly random: Random;
  /** Each frame takes up to this long; order is kept within a direction. */
  readonly delayMsMax?: number;
}

export class FakeTransport implements Transport {
  readonly #options: Required<FakeTransportOptions>;
  readonly #servers = new Map<string, FakeServer>();

  constructor(options: FakeTransportOptions) {
    this.#options = { delayMsMax: 2, ...options };
  }

  /** Null: nobody listens at `address`. */
  listen(address: string, server: FakeServer | null): void {
    if (server === null) this.#servers.delete(address);
    else this.#servers.set(address, server);
  }

  connect(address: string, handlers: TransportHandlers): TransportConnection {
    const link = new Link(this.#options, handlers);
    link.after(() => {
      const server = this.#servers.get(address);
      if (server === undefined) link.cut(`nobody listens at ${address}`);
      else link.open(server);
    });
    return link.clientEnd;
  }
}

class Link {
  readonly #options: Required<FakeTransportOptions>;
  readonly #client: TransportHandlers;
  #server: ReturnType<FakeServer['onConnect']> | null = null;
  #isEnded = false;
  readonly #upQueue: Uint8Array[] = [];
  readonly #downQueue: Uint8Array[] = [];

  readonly clientEnd: TransportConnection = {
    send: (bytes) => {
      if (this.#isEnded) return;
      this.#upQueue.push(bytes.slice());
      this.after(() => {
        const frame = this.#upQueue.shift();
        if (frame !== undefined) this.#server?.onFrame(frame);
      });
    },
    close: () => {
      if (this.#isEnded) return;
      this.#isEnded = true;
      this.#server?.onClose();
    },
  };

  constructor(options: Required<FakeTransportOptions>, client: TransportHandlers) {
    this.#options = options;
    this.#client = client;
  }

  open(server: FakeServer): void {
    const isOpen = (): boolean => !this.#isEnded;
    this.#server = server.onConnect({
      get isOpen() {
        return isOpen();
      },
      send: (bytes) => {
        if (this.#isEnded) return;
        this.#downQueue.push(bytes);
        this.after(() => {
          const frame = this.#downQueue.shift();
          if (frame !== undefined) this.#client.onFrame(frame);
        });
      },
      cut: (reason) => this.cut(reason),
    });
    this.#client.onOpen();
  }

  cut(reason: string): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#server?.onClose();
    this.#client.onClose(new Error(reason));
  }

  /** Runs `step` later, unless the link ended meanwhile. */
  after(step: () => void): void {
    const { timers, random, delayMsMax } = this.#options;
    timers.after(random.nextFloat() * delayMsMax, () => {
      if (!this.#isEnded) step();
    });
  }
}
