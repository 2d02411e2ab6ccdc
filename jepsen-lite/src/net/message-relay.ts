/**
 * A WebSocket relay between clients and one node that sees whole messages. A filter may swallow an
 * answer after the node gave it, that is after the write is committed and applied, and then reset
 * the connection: the client cannot know whether its write happened, but the test can.
 */
import type { AddressInfo } from 'node:net';
import { type RawData, WebSocket, WebSocketServer } from 'ws';

/** `cut` swallows the message and resets both sides. */
export type RelayDecision = 'pass' | 'cut';

/** One per connection. The bytes are borrowed. */
export interface RelayFilter {
  onRequest(message: Uint8Array): RelayDecision;
  onReply(message: Uint8Array): RelayDecision;
}

/** As large as the server's own limit, so that the relay refuses nothing by itself. */
const FRAME_SIZE_BYTES_MAX = 64 << 20;
/** Messages a client may send before the relay's own connection to the node is open. */
const EARLY_MESSAGE_COUNT_MAX = 4_096;

const PASS_ALL: RelayFilter = { onRequest: () => 'pass', onReply: () => 'pass' };

export class MessageRelay {
  readonly #server: WebSocketServer;
  readonly #targetUrl: string;
  readonly #makeFilter: () => RelayFilter;

  private constructor(targetUrl: string, makeFilter: () => RelayFilter) {
    this.#targetUrl = targetUrl;
    this.#makeFilter = makeFilter;
    this.#server = new WebSocketServer({
      host: '127.0.0.1',
      port: 0,
      perMessageDeflate: false,
      maxPayload: FRAME_SIZE_BYTES_MAX,
    });
    this.#server.on('connection', (client) => this.#relay(client));
  }

  /** Relays to the client port of the node at `address` (`host:port`). */
  static async listen(
    address: string,
    makeFilter: () => RelayFilter = () => PASS_ALL,
  ): Promise<MessageRelay> {
    const relay = new MessageRelay(`ws://${address}/v1/ws`, makeFilter);
    await new Promise<void>((resolve, reject) => {
      relay.#server.once('listening', resolve);
      relay.#server.once('error', reject);
    });
    return relay;
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    for (const client of this.#server.clients) client.terminate();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #relay(client: WebSocket): void {
    const filter = this.#makeFilter();
    const upstream = new WebSocket(this.#targetUrl, {
      perMessageDeflate: false,
      maxPayload: FRAME_SIZE_BYTES_MAX,
    });
    const cut = () => {
      client.terminate();
      upstream.terminate();
    };
    const early: RawData[] = [];
    client.on('message', (message) => {
      if (filter.onRequest(message as Buffer) === 'cut') cut();
      else if (upstream.readyState === WebSocket.OPEN) upstream.send(message, { binary: true });
      else if (early.length < EARLY_MESSAGE_COUNT_MAX) early.push(message);
      else cut();
    });
    upstream.on('open', () => {
      for (const message of early.splice(0)) upstream.send(message, { binary: true });
    });
    upstream.on('message', (message) => {
      // After a cut, messages that were already read may still come: nobody is there to see them.
      if (client.readyState !== WebSocket.OPEN) return;
      if (filter.onReply(message as Buffer) === 'cut') cut();
      else client.send(message, { binary: true });
    });
    client.on('close', () => upstream.terminate());
    upstream.on('close', () => client.terminate());
    // Both are reported by the close that follows.
    client.on('error', () => upstream.terminate());
    upstream.on('error', () => client.terminate());
  }
}
