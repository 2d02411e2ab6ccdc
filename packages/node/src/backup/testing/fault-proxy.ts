/**
 * An HTTP proxy in front of a real store, which does to requests what networks and loaded servers
 * do: answers with an error itself, cuts the connection in the middle of a body either way,
 * carries a request out and loses the answer, damages bytes, or lets them through slowly. What is
 * not touched is passed on as it came, so signatures hold.
 */
import { once } from 'node:events';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer, request } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';

export interface ProxiedRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
}

export type Fault =
  | { readonly kind: 'pass' }
  | { readonly kind: 'answer'; readonly status: number; readonly code: string }
  /** The connection of the client breaks after so many bytes of the request. */
  | { readonly kind: 'cutRequest'; readonly afterSizeBytes: number }
  /** A bit of the first byte of the body arrives as another one. */
  | { readonly kind: 'flipRequest' }
  /** The connection of the client breaks after so many bytes of the answer. */
  | { readonly kind: 'cutAnswer'; readonly afterSizeBytes: number }
  /** The server carries the request out; the client never hears of it. */
  | { readonly kind: 'loseAnswer' }
  /** The request goes through at this pace. */
  | { readonly kind: 'slow'; readonly bytesPerMs: number };

const PASS: Fault = { kind: 'pass' };

export class FaultProxy {
  readonly requests: ProxiedRequest[] = [];
  /** Asked for every request. */
  decide: (request: ProxiedRequest) => Fault = () => PASS;
  readonly #server: Server;
  readonly #targetPort: number;

  constructor(targetPort: number) {
    this.#targetPort = targetPort;
    this.#server = createServer((incoming, answer) => this.#onRequest(incoming, answer, false));
    this.#server.on('checkContinue', (incoming, answer) => this.#onRequest(incoming, answer, true));
  }

  async start(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    const address = this.#server.address();
    if (typeof address !== 'object' || address === null) throw new Error('not listening');
    return `http://127.0.0.1:${address.port}`;
  }

  async stop(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  /** The first `count` requests that match get the fault, later ones pass. */
  failFirst(count: number, matches: (request: ProxiedRequest) => boolean, fault: Fault): void {
    let leftCount = count;
    this.decide = (asked) => {
      if (leftCount <= 0 || !matches(asked)) return PASS;
      leftCount -= 1;
      return fault;
    };
  }

  #onRequest(incoming: IncomingMessage, answer: ServerResponse, isWaiting: boolean): void {
    const asked = { method: incoming.method ?? '', path: incoming.url ?? '' };
    this.requests.push(asked);
    const fault = this.decide(asked);
    // whatever breaks is what this proxy is for
    void this.#treat(incoming, answer, isWaiting, fault).catch(() => answer.destroy());
  }

  async #treat(
    incoming: IncomingMessage,
    answer: ServerResponse,
    isWaiting: boolean,
    fault: Fault,
  ): Promise<void> {
    if (fault.kind === 'answer') {
      if (isWaiting) answer.writeContinue();
      for await (const _ of incoming);
      answer.writeHead(fault.status, { 'content-type': 'application/xml' });
      answer.end(`<Error><Code>${fault.code}</Code><Message>by the test</Message></Error>`);
      return;
    }
    const { expect: _expect, ...headers } = incoming.headers;
    const outgoing = request({
      ...{ host: '127.0.0.1', port: this.#targetPort, method: incoming.method },
      ...{ path: incoming.url, headers, setHost: false },
    });
    const answered = once(outgoing, 'response');
    answered.catch(() => answer.destroy());
    answer.on('close', () => outgoing.destroy());
    if (isWaiting) answer.writeContinue();
    await this.#forwardBody(incoming, outgoing, answer, fault);
    const [response] = (await answered) as [IncomingMessage];
    await this.#forwardAnswer(response, answer, fault);
  }

  async #forwardBody(
    incoming: IncomingMessage,
    outgoing: ReturnType<typeof request>,
    answer: ServerResponse,
    fault: Fault,
  ): Promise<void> {
    let sizeBytes = 0;
    for await (const chunk of incoming as AsyncIterable<Buffer>) {
      sizeBytes += chunk.byteLength;
      if (fault.kind === 'cutRequest' && sizeBytes > fault.afterSizeBytes) {
        answer.destroy();
        outgoing.destroy();
        throw new Error('cut');
      }
      if (fault.kind === 'flipRequest' && sizeBytes === chunk.byteLength) chunk[0]! ^= 1;
      if (fault.kind === 'slow') await pause(chunk.byteLength / fault.bytesPerMs);
      if (!outgoing.write(chunk)) await once(outgoing, 'drain');
    }
    outgoing.end();
  }

  async #forwardAnswer(
    response: IncomingMessage,
    answer: ServerResponse,
    fault: Fault,
  ): Promise<void> {
    if (fault.kind === 'loseAnswer') {
      for await (const _ of response);
      answer.destroy();
      return;
    }
    answer.writeHead(response.statusCode ?? 502, response.headers);
    let sizeBytes = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      const leftSizeBytes =
        fault.kind === 'cutAnswer' ? fault.afterSizeBytes - sizeBytes : Infinity;
      sizeBytes += chunk.byteLength;
      if (chunk.byteLength > leftSizeBytes) {
        await new Promise((resolve) => answer.write(chunk.subarray(0, leftSizeBytes), resolve));
        answer.destroy();
        response.destroy();
        return;
      }
      if (!answer.write(chunk)) await once(answer, 'drain');
    }
    answer.end();
  }
}
