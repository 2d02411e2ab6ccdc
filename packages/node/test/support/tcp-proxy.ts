/** A TCP proxy that a test can make corrupt bytes or cut connections. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { must } from '@holdfast/base';
import type { Endpoint } from '../../src/config/endpoint.ts';

export class TcpProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Sees every chunk from the dialling side, may change it in place; `drop` swallows it. */
  onForward: (chunk: Buffer) => 'drop' | undefined = () => undefined;
  #endpoint: Endpoint | null = null;
  target: Endpoint | null = null;
  isRefusing = false;
  refusedCount = 0;

  constructor() {
    this.#server = createServer((incoming) => this.#onConnection(incoming));
  }

  async start(): Promise<Endpoint> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    const address = this.#server.address();
    if (typeof address !== 'object' || address === null) throw new Error('not listening');
    this.#endpoint = { host: '127.0.0.1', port: address.port };
    return this.#endpoint;
  }

  /** Where it listens. Only after start. */
  get endpoint(): Endpoint {
    return must(this.#endpoint, 'the proxy has not started');
  }

  cutAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async stop(): Promise<void> {
    this.cutAll();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #onConnection(incoming: Socket): void {
    if (this.isRefusing) {
      this.refusedCount += 1;
      incoming.destroy();
      return;
    }
    const outgoing = connect(must(this.target));
    for (const socket of [incoming, outgoing]) {
      this.#sockets.add(socket);
      socket.setNoDelay();
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        this.#sockets.delete(socket);
        incoming.destroy();
        outgoing.destroy();
      });
    }
    incoming.on('data', (chunk: Buffer) => {
      if (this.onForward(chunk) !== 'drop') outgoing.write(chunk);
    });
    outgoing.on('data', (chunk: Buffer) => incoming.write(chunk));
  }
}
