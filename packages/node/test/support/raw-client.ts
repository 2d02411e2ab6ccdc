/** A client that can misbehave: frames as bytes, answers as decoded maps. */
import { once } from 'node:events';
import { type Down, decodeDown, type ReceivedDown, writeMsgpack } from '@holdfast/protocol';
import { WebSocket } from 'ws';

export class RawClient {
  readonly socket: WebSocket;
  readonly #received: ReceivedDown[] = [];
  readonly #waiters: (() => void)[] = [];
  #closed: { code: number; reason: string } | null = null;

  constructor(address: string) {
    this.socket = new WebSocket(`ws://${address}/v1/ws`, { perMessageDeflate: false });
    this.socket.on('message', (data) => {
      this.#received.push(decodeDown(data as Buffer));
      this.#wake();
    });
    this.socket.on('close', (code, reason) => {
      this.#closed = { code, reason: reason.toString() };
      this.#wake();
    });
    this.socket.on('error', () => {});
  }

  /** Connected, without a hello. */
  static async open(address: string): Promise<RawClient> {
    const client = new RawClient(address);
    await once(client.socket, 'open');
    return client;
  }

  /** Connected and welcomed. */
  static async welcomed(address: string, apiKey?: string): Promise<RawClient> {
    const client = await RawClient.open(address);
    client.hello(apiKey);
    const welcome = await client.next();
    if (!('kind' in welcome) || welcome.kind !== 'welcome') throw new Error('not welcomed');
    return client;
  }

  hello(apiKey?: string, protocolVersions: readonly number[] = [1]): void {
    const key = apiKey === undefined ? {} : { apiKey };
    this.sendMap({ kind: 'hello', protocolVersions, client: 'raw', ...key });
  }

  sendMap(message: object): void {
    this.socket.send(writeMsgpack(message));
  }

  get receivedCount(): number {
    return this.#received.length;
  }

  /** The next frame; rejects when the connection is closed and nothing is left. */
  async next(): Promise<ReceivedDown> {
    await this.#until(() => this.#received.length > 0 || this.#closed !== null);
    const message = this.#received.shift();
    if (message === undefined) throw new Error(`closed: ${JSON.stringify(this.#closed)}`);
    return message;
  }

  /** The code of the next frame's error, whatever frame it is. */
  async nextErrorCode(): Promise<string> {
    const message = (await this.next()) as Partial<Record<'error', { code: string }>> &
      Partial<Down>;
    return message.error?.code ?? `no error in ${JSON.stringify(message)}`;
  }

  async closed(): Promise<{ code: number; reason: string }> {
    await this.#until(() => this.#closed !== null);
    return this.#closed!;
  }

  close(): void {
    this.socket.terminate();
  }

  async #until(isMet: () => boolean): Promise<void> {
    while (!isMet()) {
      await new Promise<void>((resolve) => {
        this.#waiters.push(resolve);
      });
    }
  }

  #wake(): void {
    for (const resolve of this.#waiters.splice(0)) resolve();
  }
}
