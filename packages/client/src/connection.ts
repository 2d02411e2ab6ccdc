/**
 * Runs the state machine of one node's connection: performs its effects, feeds it the events of
 * transport and timer, and matches answers to requests. It decides nothing by itself.
 */
import type { Random, TimerHandle, Timers } from '@holdfast/base';
import { assert, HoldfastError, toHoldfastError, unreachable } from '@holdfast/base';
import type {
  Hello,
  LeaderHint,
  MembersChanged,
  OutgoingRequest,
  ReceivedDown,
  ServerNotice,
  Welcome,
} from '@holdfast/protocol';
import { decodeDown, encodeUp, isNotice } from '@holdfast/protocol';
import type { ConnectionEffect, ConnectionEvent } from './connection-state.ts';
import { INITIAL_CONNECTION_STATE, nextConnectionState } from './connection-state.ts';
import type { PendingRequest } from './request-tracker.ts';
import { RequestTracker } from './request-tracker.ts';
import { reconnectDelayMs } from './retry-policy.ts';
import type { Transport, TransportConnection } from './transport.ts';

/** From dialling to welcome. Generous beside a round trip, short beside a request's deadline. */
export const HANDSHAKE_TIMEOUT_MS = 3_000;

/** A request without its id: the connection gives it one. */
export type Sendable = OutgoingRequest extends infer Each
  ? Each extends OutgoingRequest
    ? Omit<Each, 'id'>
    : never
  : never;

/** The members a node knows of, with the configuration that says so. */
export type MembersView = Pick<MembersChanged, 'nodes' | 'confIndex'>;

export interface ConnectionHandlers {
  /** A reason makes the connection hang up: for example the node is of another cluster. */
  onWelcome(connection: Connection, welcome: Welcome): HoldfastError | null;
  onDown(connection: Connection, error: HoldfastError): void;
  onMembers(members: MembersView): void;
  onLeader(heard: { readonly leader: LeaderHint | null; readonly term: number }): void;
}

export interface ConnectionOptions {
  readonly address: string;
  readonly hello: Hello;
  readonly transport: Transport;
  readonly timers: Timers;
  readonly random: Random;
  readonly handlers: ConnectionHandlers;
}

export class Connection {
  readonly address: string;
  readonly #options: ConnectionOptions;
  readonly #tracker = new RequestTracker();
  #state = INITIAL_CONNECTION_STATE;
  #wire: TransportConnection | null = null;
  #timer: TimerHandle | null = null;
  #nodeId: string | null = null;

  constructor(options: ConnectionOptions) {
    this.address = options.address;
    this.#options = options;
  }

  get isReady(): boolean {
    return this.#state.kind === 'ready';
  }

  /** Known from the first welcome on, also while disconnected. */
  get nodeId(): string | null {
    return this.#nodeId;
  }

  get pendingCount(): number {
    return this.#tracker.size;
  }

  /** Connects; while it waits for its back-off, connects at once. */
  start(): void {
    this.#feed({ kind: 'start' });
  }

  stop(error: HoldfastError): void {
    this.#feed({ kind: 'stop', error });
  }

  /** Sends at once and returns the id for `abandon`. @throws HoldfastError FRAME_TOO_LARGE */
  send(request: Sendable, pending: PendingRequest): number {
    assert(this.isReady && this.#wire !== null, 'connection is not ready', {
      address: this.address,
    });
    const id = this.#tracker.add(pending);
    try {
      this.#wire.send(encodeUp({ id, ...request } as OutgoingRequest));
    } catch (error) {
      this.#tracker.abandon(id);
      throw error;
    }
    return id;
  }

  abandon(id: number): void {
    this.#tracker.abandon(id);
  }

  /** The node must not be believed any more; it is tried again after the back-off. */
  breakOff(error: HoldfastError): void {
    if (this.isReady) this.#feed({ kind: 'broken', error });
  }

  /** The node no longer leads: what waits here is asked again elsewhere. */
  failPending(error: HoldfastError): void {
    this.#tracker.failAll(error);
  }

  #feed(event: ConnectionEvent): void {
    const { state, effects } = nextConnectionState(this.#state, event);
    this.#state = state;
    for (const effect of effects) this.#perform(effect);
  }

  #perform(effect: ConnectionEffect): void {
    switch (effect.kind) {
      case 'dial':
        this.#dial();
        break;
      case 'sendHello':
        this.#wire?.send(encodeUp(this.#options.hello));
        break;
      case 'hangUp':
        this.#wire?.close();
        this.#wire = null;
        break;
      case 'armHandshakeTimer':
        this.#arm(HANDSHAKE_TIMEOUT_MS);
        break;
      case 'armBackoffTimer':
        this.#arm(reconnectDelayMs(effect.attempt, this.#options.random.nextFloat()));
        break;
      case 'disarmTimer':
        this.#timer?.cancel();
        this.#timer = null;
        break;
      case 'announceReady':
        break; // the welcome is announced by #onWelcome, which has it
      case 'announceDown':
        this.#announceDown(effect.error);
        break;
      default:
        unreachable(effect);
    }
  }

  #dial(): void {
    let wire: TransportConnection | null = null;
    const isCurrent = (): boolean => wire !== null && this.#wire === wire;
    wire = this.#options.transport.connect(this.address, {
      onOpen: () => {
        if (isCurrent()) this.#feed({ kind: 'opened' });
      },
      onFrame: (bytes) => {
        if (isCurrent()) this.#onFrame(bytes);
      },
      onClose: (cause) => {
        if (!isCurrent()) return;
        this.#wire = null;
        this.#feed({ kind: 'lost', error: this.#lost(`was lost: ${cause.message}`, cause) });
      },
    });
    this.#wire = wire;
  }

  #arm(delayMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.#options.timers.after(delayMs, () => {
      this.#timer = null;
      this.#feed({ kind: 'timeout', error: this.#lost('did not answer the handshake in time') });
    });
  }

  #announceDown(error: HoldfastError): void {
    this.#options.handlers.onDown(this, error);
    const lost =
      error.code === 'CONNECTION_LOST' ? error : this.#lost(`ended: ${error.message}`, error);
    this.#tracker.failAll(lost);
  }

  #onFrame(bytes: Uint8Array): void {
    let message: ReceivedDown;
    try {
      message = decodeDown(bytes);
    } catch (thrown) {
      this.#feed({ kind: 'broken', error: toHoldfastError(thrown) });
      return;
    }
    if (isNotice(message)) this.#onNotice(message);
    else if (this.isReady) this.#tracker.settle(message);
    else this.#feedBroken('answered before its welcome');
  }

  #onNotice(notice: ServerNotice): void {
    switch (notice.kind) {
      case 'welcome':
        if (this.#state.kind === 'greeting') this.#onWelcome(notice);
        else this.#feedBroken('sent a second welcome');
        break;
      case 'refused':
      case 'goodbye':
        this.#feed({ kind: 'refused', error: HoldfastError.fromBody(notice.error) });
        break;
      case 'leaderChanged':
        this.#options.handlers.onLeader(notice);
        break;
      case 'membersChanged':
        this.#options.handlers.onMembers(notice);
        break;
      default:
        unreachable(notice);
    }
  }

  #onWelcome(welcome: Welcome): void {
    if (!this.#options.hello.protocolVersions.includes(welcome.protocolVersion)) {
      this.#feedBroken(`chose protocol version ${welcome.protocolVersion}, which was not offered`);
      return;
    }
    this.#nodeId = welcome.nodeId;
    this.#feed({ kind: 'welcomed' });
    const refusal = this.#options.handlers.onWelcome(this, welcome);
    if (refusal !== null) this.#feed({ kind: 'broken', error: refusal });
  }

  #feedBroken(what: string): void {
    const error = new HoldfastError('RESPONSE_MALFORMED', `node ${this.address} ${what}`);
    this.#feed({ kind: 'broken', error });
  }

  #lost(what: string, cause?: unknown): HoldfastError {
    return new HoldfastError('CONNECTION_LOST', `connection to ${this.address} ${what}`, {
      details: { address: this.address },
      ...(cause === undefined ? {} : { cause }),
    });
  }
}
