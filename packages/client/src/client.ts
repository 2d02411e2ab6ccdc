/** The public face: one client per cluster, shared by the whole program. */
import { HoldfastError } from '@holdfast/base';
import type {
  ChecksumAlgorithmName,
  CollectionDescription,
  CreateCollectionResult,
  DropCollectionResult,
  GraphParameters,
  HnswParameters,
  LeaderHint,
  ListCollectionsResult,
  Metric,
  PayloadIndex,
  ReadOptions,
  RequestKind,
  ResultOf,
  StatusResult,
  UpdateCollectionRequest,
  UpdateCollectionResult,
} from '@holdfast/protocol';
import {
  COLLECTION_NAME_PATTERN,
  checkUp,
  INFLIGHT_REQUEST_COUNT_DEFAULT,
  REQUEST_TIMEOUT_MS_DEFAULT,
  SUPPORTED_PROTOCOL_VERSIONS,
} from '@holdfast/protocol';
import { Admin } from './admin.ts';
import { Call } from './call.ts';
import { Collection } from './collection.ts';
import { Collections } from './collections.ts';
import { Gate } from './gate.ts';
import { NodePool } from './node-pool.ts';
import type { ConnectOptions, RequestOptions } from './options.ts';
import { argumentInvalid, checkConnectOptions, timeoutOf } from './options.ts';
import type { RequestPlan, Target } from './request-runner.ts';
import { RequestRunner, unreachableError } from './request-runner.ts';
import { SYSTEM_CLOCK, SYSTEM_RANDOM, SYSTEM_TIMERS } from './system.ts';
import { WsTransport } from './ws-transport.ts';

/** What `closeSession` may cost a `close()`; an unclosed session expires by itself. */
const CLOSE_SESSION_TIMEOUT_MS = 500;
/** Room for session requests, which do not queue behind writes that wait for them. */
const RESERVED_INFLIGHT_COUNT = 4;

export interface ClientEvents {
  /** Another leader, or null while none is known. */
  readonly leader: { readonly leader: LeaderHint | null; readonly term: number };
  readonly connected: { readonly nodeId: string; readonly address: string };
  readonly disconnected: {
    /** Null when the node never introduced itself. */
    readonly nodeId: string | null;
    readonly address: string;
    readonly error: HoldfastError;
  };
}

export interface CreateCollectionOptions extends RequestOptions {
  readonly name: string;
  readonly dimension: number;
  readonly metric: Metric;
  readonly shardCount?: number;
  readonly hnsw?: Partial<HnswParameters>;
  /** Of the blocks of the collection's data files. Default: xxhash3. */
  readonly checksumAlgorithm?: ChecksumAlgorithmName;
  /** Engine and precision of the graphs; scores are exact whatever they are. */
  readonly graph?: Partial<GraphParameters>;
  /** Payload keys to index, at most 32; more can be declared later. */
  readonly payloadIndexes?: PayloadIndex[];
  /** True: an equal collection that exists is the answer, not an error. */
  readonly ifNotExists?: boolean;
}

export interface DropCollectionOptions extends RequestOptions {
  /** So long it can be undeleted; 0: it is gone at once. Default: as the cluster is set. */
  readonly retentionMs?: number;
}

type Listeners = {
  readonly [Name in keyof ClientEvents]: Set<(event: ClientEvents[Name]) => void>;
};

export class HoldfastClient {
  /** Members of the cluster, and changes of them. */
  readonly admin = new Admin((plan, options) => this.#run(plan, options));
  /** Names, undelete, and collections that are restored hidden. */
  readonly collections = new Collections((plan, options) => this.#run(plan, options));
  readonly #timeoutMs: number;
  readonly #parts: Required<Pick<ConnectOptions, 'clock' | 'timers' | 'random'>>;
  readonly #pool: NodePool;
  readonly #gate = new Gate(INFLIGHT_REQUEST_COUNT_DEFAULT - RESERVED_INFLIGHT_COUNT);
  readonly #runner: RequestRunner;
  readonly #listeners: Listeners = {
    leader: new Set(),
    connected: new Set(),
    disconnected: new Set(),
  };
  #isClosed = false;

  private constructor(options: ConnectOptions) {
    const clock = options.clock ?? SYSTEM_CLOCK;
    const timers = options.timers ?? SYSTEM_TIMERS;
    const random = options.random ?? SYSTEM_RANDOM;
    this.#parts = { clock, timers, random };
    this.#timeoutMs = timeoutOf(options, REQUEST_TIMEOUT_MS_DEFAULT);
    this.#pool = new NodePool({
      addresses: options.nodes,
      followsMembers: options.followsMembers ?? true,
      hello: {
        kind: 'hello',
        protocolVersions: [...SUPPORTED_PROTOCOL_VERSIONS],
        client: options.clientName ?? 'holdfast-js',
        ...(options.apiKey === undefined ? {} : { apiKey: options.apiKey }),
      },
      epochMin: options.epochMin ?? 0,
      transport: options.transport ?? new WsTransport(clock, timers),
      timers,
      random,
      events: {
        onLeader: (leader, term) => this.#emit('leader', { leader, term }),
        onConnected: (nodeId, address) => this.#emit('connected', { nodeId, address }),
        onDisconnected: (nodeId, address, error) =>
          this.#emit('disconnected', { nodeId, address, error }),
        onWelcome: ({ limits }) =>
          this.#gate.lowerLimit(limits.inflightRequestCountMax - RESERVED_INFLIGHT_COUNT),
      },
    });
    const usesSession = options.usesSession ?? true;
    const { pool, gate } = { pool: this.#pool, gate: this.#gate };
    this.#runner = new RequestRunner({ clock, timers, random, pool, gate, usesSession });
  }

  /**
   * Resolves when one node has welcomed the client; the others are connected in the background.
   * @throws HoldfastError ARGUMENT_INVALID, NO_NODE_REACHABLE, or what a node refused with
   */
  static async connect(options: ConnectOptions): Promise<HoldfastClient> {
    checkConnectOptions(options);
    const client = new HoldfastClient(options);
    try {
      await client.#waitForFirstNode();
    } catch (error) {
      await client.close();
      throw error;
    }
    return client;
  }

  /**
   * The highest cluster epoch seen: it rises when the cluster is recovered from a lost quorum. Keep
   * it and pass it as `epochMin` to refuse given-up members from the start.
   */
  get epoch(): number {
    return this.#pool.epoch;
  }

  /** The node that leads, as far as this client knows. */
  get leader(): LeaderHint | null {
    return this.#pool.leader;
  }

  /** Points of one collection. Costs nothing; the collection need not exist yet. */
  collection(name: string): Collection {
    checkName(name);
    return new Collection(name, (plan, options) => this.#run(plan, options));
  }

  async createCollection(options: CreateCollectionOptions): Promise<CreateCollectionResult> {
    const { timeoutMs: _timeoutMs, signal: _signal, ...definition } = options;
    const checked = checkUp({ id: 0, kind: 'createCollection', ...definition });
    if (checked.kind !== 'createCollection') throw argumentInvalid('options', 'a collection');
    const { id: _id, ...message } = checked;
    return this.#run(
      {
        kind: 'createCollection',
        target: { kind: 'leader' },
        isWrite: true,
        message: (stamp, timeoutMs) => ({
          ...message,
          timeoutMs,
          ...(stamp === null ? {} : { session: stamp }),
        }),
      },
      options,
    );
  }

  /**
   * Its name is free at once. `hidden` of the result says how, and until when, it can be undeleted.
   * Dropping what does not exist answers `isDropped: false`.
   */
  async dropCollection(
    name: string,
    options: DropCollectionOptions = {},
  ): Promise<DropCollectionResult> {
    const { retentionMs } = options;
    const fields = { name, ...(retentionMs === undefined ? {} : { retentionMs }) };
    checkUp({ id: 0, kind: 'dropCollection', ...fields });
    return this.#run(
      {
        kind: 'dropCollection',
        target: { kind: 'leader' },
        isWrite: true,
        message: (stamp, timeoutMs) => ({
          kind: 'dropCollection',
          ...fields,
          timeoutMs,
          ...(stamp === null ? {} : { session: stamp }),
        }),
      },
      options,
    );
  }

  /** Changes what files that are written from now on are checksummed with; older ones stay. */
  async updateCollection(
    name: string,
    changes: Pick<UpdateCollectionRequest, 'checksumAlgorithm'>,
    options: RequestOptions = {},
  ): Promise<UpdateCollectionResult> {
    const { checksumAlgorithm } = changes;
    checkUp({ id: 0, kind: 'updateCollection', name, checksumAlgorithm });
    return this.#run(
      {
        kind: 'updateCollection',
        target: { kind: 'leader' },
        isWrite: true,
        message: (stamp, timeoutMs) => ({
          ...{ kind: 'updateCollection', name, checksumAlgorithm, timeoutMs },
          ...(stamp === null ? {} : { session: stamp }),
        }),
      },
      options,
    );
  }

  async listCollections(
    options: RequestOptions & ReadOptions = {},
  ): Promise<readonly CollectionDescription[]> {
    const { timeoutMs: _timeoutMs, signal: _signal, ...readOptions } = options;
    checkUp({ id: 0, kind: 'listCollections', ...readOptions });
    const result: ListCollectionsResult = await this.#run(
      {
        kind: 'listCollections',
        target: { kind: readOptions.consistency === 'stale' ? 'any' : 'leader' },
        isWrite: false,
        message: (_stamp, timeoutMs) => ({ kind: 'listCollections', ...readOptions, timeoutMs }),
      },
      options,
    );
    return result.collections;
  }

  /** Status of `node` (node id or address, one this client is connected to), or of any. */
  async status(node?: string, options: RequestOptions = {}): Promise<StatusResult> {
    const connection = node === undefined ? null : this.#pool.find(node);
    if (node !== undefined && connection === null) {
      throw argumentInvalid('node', 'the id or address of a node of this client');
    }
    const target: Target = connection === null ? { kind: 'any' } : { kind: 'node', connection };
    return this.#run(
      {
        kind: 'status',
        target,
        isWrite: false,
        message: (_stamp, timeoutMs) => ({ kind: 'status', timeoutMs }),
      },
      options,
    );
  }

  /** Returns how to stop listening. Listeners must not throw. */
  on<Name extends keyof ClientEvents>(
    name: Name,
    listener: (event: ClientEvents[Name]) => void,
  ): () => void {
    this.#listeners[name].add(listener);
    return () => this.#listeners[name].delete(listener);
  }

  /** Ends calls under way with CLIENT_CLOSED, closes the session if that is quick, disconnects. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { session } = this.#runner;
    this.#runner.close();
    if (session !== null) await this.#closeSession(session.id);
    this.#pool.stop(new HoldfastError('CLIENT_CLOSED', 'the client was closed'));
    for (const listeners of Object.values(this.#listeners)) listeners.clear();
  }

  #run<Kind extends RequestKind>(
    plan: RequestPlan<Kind>,
    options: RequestOptions,
  ): Promise<ResultOf<Kind>> {
    const timeoutMs = timeoutOf(options, this.#timeoutMs);
    const { signal } = options;
    return this.#runner.run(plan, { timeoutMs, ...(signal === undefined ? {} : { signal }) });
  }

  async #waitForFirstNode(): Promise<void> {
    const call = new Call(this.#parts.clock, this.#parts.timers, { timeoutMs: this.#timeoutMs });
    const isDecided = (): boolean => this.#pool.hasReady || this.#refusal() !== null;
    this.#pool.start();
    try {
      if (!isDecided()) {
        await call.wait<void>(({ resolve }) => {
          const undo = this.#pool.subscribe(() => {
            if (!isDecided()) return;
            undo();
            resolve();
          });
          return undo;
        });
      }
    } catch (cause) {
      throw unreachableError(this.#pool, cause);
    } finally {
      call.end();
    }
    const refusal = this.#refusal();
    if (!this.#pool.hasReady && refusal !== null) throw refusal;
  }

  /** A refusal that asking again will not change: a wrong key, no common version. */
  #refusal(): HoldfastError | null {
    for (const error of this.#pool.failures.values()) {
      if (error.code === 'UNAUTHENTICATED' || error.code === 'PROTOCOL_UNSUPPORTED') return error;
    }
    return null;
  }

  /** Best effort, once: nobody waits for a session that is left behind. */
  async #closeSession(sessionId: number): Promise<void> {
    const connection = this.#pool.pickLeader();
    if (connection === null) return;
    const { clock, timers } = this.#parts;
    const call = new Call(clock, timers, { timeoutMs: CLOSE_SESSION_TIMEOUT_MS });
    await call
      .wait<void>(({ resolve }) => {
        const done = (): void => resolve();
        const pending = { onResult: done, onError: done };
        const id = connection.send({ kind: 'closeSession', sessionId }, pending);
        return () => connection.abandon(id);
      })
      .catch(() => undefined); // not closed in time: the session expires by itself
    call.end();
  }

  #emit<Name extends keyof ClientEvents>(name: Name, event: ClientEvents[Name]): void {
    for (const listener of [...this.#listeners[name]]) listener(event);
  }
}

function checkName(name: string): void {
  if (typeof name === 'string' && COLLECTION_NAME_PATTERN.test(name)) return;
  throw argumentInvalid(
    'name',
    '1 to 128 characters of a-z A-Z 0-9 . _ -, first a letter or digit',
  );
}
