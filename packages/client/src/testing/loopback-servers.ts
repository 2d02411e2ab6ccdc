/** Real WebSocket servers on loopback in front of FakeServers, for tests of the real transport. */
import type { AddressInfo } from 'node:net';
import type { WebSocket } from 'ws';
import { WebSocketServer } from 'ws';
import { CLIENT_WS_PATH } from '../ws-transport.ts';
import type { FakeServer } from './fake-transport.ts';

export class LoopbackServers {
  readonly addresses: readonly string[];
  readonly #listeners: readonly WebSocketServer[];
  readonly #servers = new Map<string, FakeServer>();

  private constructor(listeners: readonly WebSocketServer[]) {
    this.#listeners = listeners;
    this.addresses = listeners.map(
      (listener) => `127.0.0.1:${(listener.address() as AddressInfo).port}`,
    );
    for (const [i, listener] of listeners.entries()) {
      const address = this.addresses[i] ?? '';
      listener.on('connection', (webSocket) => this.#accept(address, webSocket));
    }
  }

  /** Listens on `count` free ports. */
  static async start(count: number): Promise<LoopbackServers> {
    const starting = Array.from(
      { length: count },
      () =>
        new Promise<WebSocketServer>((resolve, reject) => {
          const listener: WebSocketServer = new WebSocketServer(
            { host: '127.0.0.1', port: 0, path: CLIENT_WS_PATH, perMessageDeflate: false },
            () => resolve(listener),
          );
          listener.on('error', reject);
        }),
    );
    return new LoopbackServers(await Promise.all(starting));
  }

  /** Null: connections to `address` end at once. */
  listen(address: string, server: FakeServer | null): void {
    if (server === null) this.#servers.delete(address);
    else this.#servers.set(address, server);
  }

  async stop(): Promise<void> {
    for (const listener of this.#listeners) {
      for (const webSocket of listener.clients) webSocket.terminate();
      await new Promise<void>((resolve) => listener.close(() => resolve()));
    }
  }

  #accept(address: string, webSocket: WebSocket): void {
    const server = this.#servers.get(address);
    if (server === undefined) {
      webSocket.terminate();
      return;
    }
    const handlers = server.onConnect({
      get isOpen() {
        return webSocket.readyState === webSocket.OPEN;
      },
      send: (bytes) => webSocket.send(bytes),
      cut: () => webSocket.terminate(),
    });
    webSocket.on('message', (data) => handlers.onFrame(data as Buffer));
    webSocket.on('close', () => handlers.onClose());
  }
}
