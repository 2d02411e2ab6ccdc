/**
 * All client connections of a node: admission, pushes to everyone, deadlines, orderly goodbye.
 * It is handed upgraded sockets by the HTTP server and owns them from then on.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Clock, Logger, TimerHandle, Timers } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import { encodeDown, type KnownNode, type LeaderHint } from '@holdfast/protocol';
import { WebSocketServer } from 'ws';
import type { LeaderChange, NodeService } from '../service-api.ts';
import type { Admission } from './admission.ts';
import type { ApiKeyGuard } from './api-key.ts';
import { Connection, type ConnectionContext, type ConnectionLimits } from './connection.ts';
import type { ConnectionSocket, RawSocket } from './connection-socket.ts';
import { CorkedSocket } from './corked-socket.ts';
import type { Metrics } from './metrics.ts';
import { RequestHandler } from './request-handler.ts';

export interface ClientServerOptions {
  readonly service: NodeService;
  readonly admission: Admission;
  readonly guard: ApiKeyGuard;
  readonly metrics: Metrics;
  readonly limits: ConnectionLimits & { readonly shutdownTimeoutMs: number };
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
}

/** Deadlines are looked at this often; an answer may be late by as much. */
const DEADLINE_SWEEP_MS = 100;
/** How often the drain looks whether the last request has been answered. */
const DRAIN_POLL_MS = 10;
/** After the goodbyes, how long clients may take to close their side. */
const CLOSE_TIMEOUT_MS = 1_000;

export class ClientServer {
  readonly #options: ClientServerOptions;
  readonly #webSockets: WebSocketServer;
  readonly #connections = new Set<Connection>();
  readonly #context: ConnectionContext;
  #sweepTimer: TimerHandle | null = null;
  #onAllClosed: (() => void) | null = null;

  constructor(options: ClientServerOptions) {
    this.#options = options;
    const { service, admission, guard, metrics, limits, clock, timers, logger } = options;
    this.#webSockets = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      maxPayload: limits.frameSizeBytesMax,
      skipUTF8Validation: true,
      clientTracking: false,
      WebSocket: CorkedSocket as never,
    });
    const { clusterId, nodeId, epoch } = service.status();
    this.#context = {
      ...{ limits, admission, guard, metrics, clock, timers, logger },
      identity: { clusterId, nodeId, epoch },
      handler: new RequestHandler({ service, clock, logger, metrics }),
      clusterView: () => {
        const { leader, term, confIndex } = service.status();
        return { leader: this.#hintOf(leader), term, nodes: this.#knownNodes(), confIndex };
      },
      onClosed: (connection) => this.#onClosed(connection),
    };
    service.onLeaderChange((change) => this.#onLeaderChange(change));
    service.onMembersChange(() => this.#onMembersChange());
  }

  start(): void {
    this.#scheduleSweep();
  }

  /** Finishes the WebSocket handshake of an upgrade request. */
  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      this.accept(webSocket as unknown as CorkedSocket, socket);
    });
  }

  /** Takes over a socket whose WebSocket handshake is done. */
  accept(socket: ConnectionSocket, rawSocket: RawSocket): void {
    const refusal = this.#options.admission.admitConnection();
    if (refusal !== null) this.#turnAway(socket, refusal);
    else this.#connections.add(new Connection(socket, rawSocket, this.#context));
  }

  /**
   * New requests are refused SHUTTING_DOWN, those under way may finish within shutdownTimeoutMs,
   * then every client is told goodbye. Resolves when no connection is left.
   */
  async stop(): Promise<void> {
    const { admission, limits, clock, logger } = this.#options;
    admission.drain();
    const endMs = clock.monotonicMs() + limits.shutdownTimeoutMs;
    while (admission.inflightCount > 0 && clock.monotonicMs() < endMs) {
      await this.#delay(DRAIN_POLL_MS);
    }
    if (admission.inflightCount > 0) {
      const inflightCount = admission.inflightCount;
      logger.warn({ inflightCount }, 'requests were still under way at the end of the drain');
    }
    const error = new HoldfastError(
      'SHUTTING_DOWN',
      'this node is shutting down; use another node',
    );
    for (const connection of this.#connections) connection.goodbye(error);
    await this.#closeAll();
    this.#sweepTimer?.cancel();
    this.#webSockets.close();
  }

  async #closeAll(): Promise<void> {
    if (this.#connections.size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = this.#options.timers.after(CLOSE_TIMEOUT_MS, () => {
        for (const connection of this.#connections) connection.terminate();
      });
      this.#onAllClosed = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  #onClosed(connection: Connection): void {
    this.#connections.delete(connection);
    if (this.#connections.size === 0) this.#onAllClosed?.();
  }

  /** The connection is over the limit: it gets its reason and is not counted. */
  #turnAway(socket: ConnectionSocket, error: HoldfastError): void {
    this.#options.metrics.connectionClosed(error.code);
    socket.on('error', () => socket.terminate());
    socket.sendFrame(encodeDown({ kind: 'refused', error: error.toBody() }));
    socket.close(1013, error.code);
    const timer = this.#options.timers.after(CLOSE_TIMEOUT_MS, () => socket.terminate());
    socket.on('close', () => timer.cancel());
  }

  #onLeaderChange({ leader, term }: LeaderChange): void {
    const message = { kind: 'leaderChanged', leader: this.#hintOf(leader), term } as const;
    for (const connection of this.#connections) connection.push(message);
  }

  #onMembersChange(): void {
    const { confIndex } = this.#options.service.status();
    const message = { kind: 'membersChanged', nodes: this.#knownNodes(), confIndex } as const;
    for (const connection of this.#connections) connection.push(message);
  }

  #knownNodes(): KnownNode[] {
    return this.#options.service
      .members()
      .map(({ nodeId, publicAddress }) => ({ nodeId, address: publicAddress ?? '' }));
  }

  #hintOf(leader: string | null): LeaderHint | null {
    if (leader === null) return null;
    const member = this.#options.service.members().find(({ nodeId }) => nodeId === leader);
    return { nodeId: leader, address: member?.publicAddress ?? '' };
  }

  #scheduleSweep(): void {
    this.#sweepTimer = this.#options.timers.after(DEADLINE_SWEEP_MS, () => {
      const nowMs = this.#options.clock.monotonicMs();
      for (const connection of this.#connections) connection.sweepDeadlines(nowMs);
      this.#scheduleSweep();
    });
  }

  #delay(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#options.timers.after(delayMs, resolve);
    });
  }
}
