/**
 * The public port of a node: HTTP pages and client WebSockets on one listener.
 * Order of stop: no new connections, requests drained, goodbye, listener closed.
 */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Clock, Logger, Timers } from '@holdfast/base';
import { assert } from '@holdfast/base';
import { getRequestListener } from '@hono/node-server';
import type { RestoredRecord } from '../backup/restore/restored-record.ts';
import type { RestoresService } from '../backup/restore/restores-api.ts';
import { type Endpoint, formatEndpoint } from '../config/endpoint.ts';
import type { NodeConfig } from '../config/options.ts';
import type { NodeService, PeerTransportStats } from '../service-api.ts';
import { Admission, CONNECTION_GROWTH_MAX } from './admission.ts';
import { ApiKeyGuard } from './api-key.ts';
import { ClientServer } from './client-server.ts';
import { connectionsExhausted } from './connection-room.ts';
import { CLIENT_WEBSOCKET_PATH, createHttpRoutes } from './http-routes.ts';
import { checkBind, listen } from './listen.ts';
import { Metrics } from './metrics.ts';

/** The settings of the node that this server needs. */
export type PublicServerConfig = Pick<
  NodeConfig,
  | 'listen'
  | 'allowRemote'
  | 'maxConnections'
  | 'frameSizeBytesMax'
  | 'inflightRequestCountMaxPerConnection'
  | 'inflightRequestCountMax'
  | 'sendBufferSizeBytesMax'
  | 'slowReaderTimeoutMs'
  | 'handshakeTimeoutMs'
  | 'shutdownTimeoutMs'
>;

export interface PublicServerOptions {
  readonly config: PublicServerConfig;
  /** Null: clients need no key. */
  readonly apiKey: string | null;
  readonly service: NodeService;
  /** What the data directory was restored from; null: it was not. */
  readonly restored?: RestoredRecord | null;
  /** Restores of collections; null: no store is set. */
  readonly restores?: RestoresService | null;
  readonly peerStats?: () => PeerTransportStats;
  /** False for nodes that share their process with others. */
  readonly hasProcessMetrics: boolean;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
}

/** Scrapes, probes and refused WebSockets on top of the admitted connections. */
const EXTRA_SOCKET_COUNT_MAX = 256;
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;

export class PublicServer {
  readonly name = 'public server';
  readonly #options: PublicServerOptions;
  readonly #http: Server;
  readonly #clients: ClientServer;
  #endpoint: Endpoint | null = null;

  constructor(options: PublicServerOptions) {
    this.#options = options;
    const { config, apiKey, service, clock, timers, logger } = options;
    const guard = new ApiKeyGuard(apiKey);
    const admission: Admission = new Admission(config, () =>
      service.care?.recover(connectionsExhausted(admission)),
    );
    const { peerStats, hasProcessMetrics, restored = null, restores = null } = options;
    const metrics = new Metrics({
      ...{ service, admission, hasProcessMetrics, restored },
      ...(peerStats === undefined ? {} : { peerStats }),
    });
    const common = { service, admission, guard, metrics, clock, timers, logger };
    this.#clients = new ClientServer({ ...common, limits: config });
    const routes = createHttpRoutes({
      ...{ service, guard, metrics, clock, logger, restored, restores },
    });
    this.#http = createServer(
      { headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS },
      getRequestListener(routes.fetch, { overrideGlobalObjects: false }),
    );
    this.#http.maxConnections =
      CONNECTION_GROWTH_MAX * config.maxConnections + EXTRA_SOCKET_COUNT_MAX;
    this.#http.on('upgrade', (request, socket, head) => this.#onUpgrade(request, socket, head));
  }

  /** Bound address as `host:port`. Only after start. */
  get address(): string {
    assert(this.#endpoint !== null, 'the public server has not started');
    return formatEndpoint(this.#endpoint);
  }

  /** @throws HoldfastError ADDRESS_IN_USE, BIND_REFUSED */
  async start(): Promise<void> {
    const { config, apiKey } = this.#options;
    checkBind(config.listen, { hasApiKey: apiKey !== null, allowRemote: config.allowRemote });
    this.#endpoint = await listen(this.#http, config.listen);
    this.#clients.start();
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#http.close(() => resolve());
    });
    this.#http.closeIdleConnections();
    await this.#clients.stop();
    this.#http.closeAllConnections();
    await closed;
  }

  #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', (error) => {
      this.#options.logger.debug({ err: error }, 'a socket failed during its upgrade');
    });
    const path = (request.url ?? '').split('?')[0];
    if (path === CLIENT_WEBSOCKET_PATH) {
      this.#clients.handleUpgrade(request, socket, head);
      return;
    }
    const text = `connect to ${CLIENT_WEBSOCKET_PATH}`;
    socket.end(
      'HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: ' +
        `${text.length}\r\n\r\n${text}`,
    );
  }
}
