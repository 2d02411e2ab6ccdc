/**
 * From a validated client request to the replicated state and back.
 *
 * Writes: only the leader, once it has applied its own first entry (before that it does not know
 * which collections exist). Everything non-deterministic is resolved here, before proposing: the
 * collection's uid, defaults, the time stamp. Reads: any replica, after the read gate opened.
 */
import type { ErrorCode, LogIndex } from '@holdfast/base';
import { HoldfastError, sessionId, unreachable } from '@holdfast/base';
import type {
  Consistency,
  CountRequest,
  CreateCollectionRequest,
  DeleteRequest,
  GetRequest,
  LeaderHint,
  Request,
  ResultBody,
  SearchHit,
  SearchRequest,
  StoredPoint,
  UpsertRequest,
  SessionStamp as WireSessionStamp,
} from '@holdfast/protocol';
import {
  HNSW_DEFAULTS,
  parsePayload,
  SHARD_COUNT_DEFAULT,
  STALENESS_MS_DEFAULT,
} from '@holdfast/protocol';
import type {
  CollectionDefinition,
  SearchHit as LaneHit,
  Metric,
  PointOp,
  PointRecord,
  SearchQuery,
  ShardHost,
} from '@holdfast/shard-worker';
import { encodePointOps } from '@holdfast/shard-worker';
import { xxh3_64 } from '@holdfast/storage';
import type { LaneReader } from '../routing/lane-reader.ts';
import type { LaneAnswers } from '../routing/scatter-gather.ts';
import {
  idsByLane,
  lanesOf,
  mergeCount,
  mergeGet,
  mergeSearch,
} from '../routing/scatter-gather.ts';
import type { ExecuteContext, NodeStatus } from '../service-api.ts';
import type { ApplyResult } from '../state/apply-result.ts';
import type { Command, CommandEnvelope } from '../state/command.ts';
import { encodeCommand } from '../state/command.ts';
import type { MetaMachine } from '../state/meta-machine.ts';
import { collectionNotFound, describeCollection, writeAnswer } from './answers.ts';

/** A growing segment is sealed at this many rows or bytes, as counted by apply. */
export const SEAL_ROW_COUNT = 65_536;
export const SEAL_SIZE_BYTES = 64 * 1024 * 1024;

/** No entry has index 0, so no collection is named by it. */
const NO_COLLECTION_UID = 0;

const UTF8 = new TextEncoder();

/** What the executor needs of its replica. */
export interface ExecutorReplica {
  readonly host: ShardHost;
  readonly lanes: LaneReader;
  readonly meta: MetaMachine;
  readonly isLeaseAllowed: boolean;
  nextStampMs(): number;
  /** Resolves when this node is a leader that may propose; rejects NOT_LEADER, NO_LEADER. */
  whenLeaderReady(deadlineMs: number): Promise<void>;
  propose(bytes: Uint8Array, deadlineMs: number): Promise<ApplyResult>;
  linearizable(deadlineMs: number): Promise<LogIndex>;
  stalenessMs(): number;
  leaderHint(): LeaderHint | null;
  status(): NodeStatus;
}

export class RequestExecutor {
  readonly #replica: ExecutorReplica;

  constructor(replica: ExecutorReplica) {
    this.#replica = replica;
  }

  async execute(request: Request, context: ExecuteContext): Promise<ResultBody> {
    const { deadlineMs } = context;
    switch (request.kind) {
      case 'openSession':
        return this.#write({ kind: 'openSession' }, undefined, [], deadlineMs);
      case 'closeSession': {
        const command: Command = {
          kind: 'closeSession',
          sessionId: sessionId(request.sessionId),
        };
        return this.#write(command, undefined, [], deadlineMs);
      }
      case 'createCollection':
        return this.#createCollection(request, deadlineMs);
      case 'dropCollection':
        return this.#write(
          { kind: 'dropCollection', name: request.name },
          request.session,
          ['dropCollection', request.name],
          deadlineMs,
        );
      case 'upsert':
        return this.#upsert(request, deadlineMs);
      case 'delete':
        return this.#delete(request, deadlineMs);
      case 'get':
        return this.#get(request, deadlineMs);
      case 'search':
        return this.#search(request, deadlineMs);
      case 'count':
        return this.#count(request, deadlineMs);
      case 'listCollections': {
        const index = await this.#gate(request, deadlineMs);
        const collections = this.#replica.meta.catalogue.all().map(describeCollection);
        return { collections, appliedIndex: index };
      }
      case 'status': {
        const { nodeId, role, term, commitIndex, appliedIndex } = this.#replica.status();
        const leader = this.#replica.leaderHint();
        return { nodeId, role, term, leader, commitIndex, appliedIndex };
      }
      default:
        return unreachable(request);
    }
  }

  #createCollection(request: CreateCollectionRequest, deadlineMs: number): Promise<ResultBody> {
    const { name, dimension, metric } = request;
    const spec = {
      name,
      dimension,
      metric,
      shardCount: request.shardCount ?? SHARD_COUNT_DEFAULT,
      hnsw: {
        m: request.hnsw?.m ?? HNSW_DEFAULTS.m,
        efConstruction: request.hnsw?.efConstruction ?? HNSW_DEFAULTS.efConstruction,
        efSearch: request.hnsw?.efSearch ?? HNSW_DEFAULTS.efSearch,
      },
      sealRowCount: SEAL_ROW_COUNT,
      sealSizeBytes: SEAL_SIZE_BYTES,
    };
    const ifNotExists = request.ifNotExists ?? false;
    const body = ['createCollection', JSON.stringify({ spec, ifNotExists })];
    return this.#write(
      { kind: 'createCollection', spec, ifNotExists },
      request.session,
      body,
      deadlineMs,
    );
  }

  async #upsert(request: UpsertRequest, deadlineMs: number): Promise<ResultBody> {
    await this.#replica.whenLeaderReady(deadlineMs);
    const definition = this.#writeTarget(request);
    const ops = request.points.map((point, position): PointOp => {
      if (definition !== null && point.vector.length !== definition.dimension) {
        throw dimensionMismatch(definition, point.vector.length, `points[${position}].vector`);
      }
      const { id, vector, payload, ifVersion, ifAbsent } = point;
      const condition =
        ifVersion !== undefined
          ? ({ kind: 'ifVersion', version: ifVersion } as const)
          : ifAbsent === true
            ? ({ kind: 'ifAbsent' } as const)
            : ({ kind: 'none' } as const);
      return { type: 'upsert', id, vector, payload: payload ?? null, condition };
    });
    return this.#writePoints(request, definition, ops, deadlineMs);
  }

  async #delete(request: DeleteRequest, deadlineMs: number): Promise<ResultBody> {
    await this.#replica.whenLeaderReady(deadlineMs);
    const definition = this.#writeTarget(request);
    const ops = request.points.map(({ id, ifVersion }): PointOp => {
      const condition =
        ifVersion === undefined
          ? ({ kind: 'none' } as const)
          : ({ kind: 'ifVersion', version: ifVersion } as const);
      return { type: 'delete', id, condition };
    });
    return this.#writePoints(request, definition, ops, deadlineMs);
  }

  #writePoints(
    request: UpsertRequest | DeleteRequest,
    definition: CollectionDefinition | null,
    ops: readonly PointOp[],
    deadlineMs: number,
  ): Promise<ResultBody> {
    const encoded = encodePointOps(ops);
    const uid = definition?.uid ?? NO_COLLECTION_UID;
    const command: Command = { kind: 'write', uid, ops: encoded };
    // The name, not the uid: a repeat after drop and re-create is still the same request.
    const body = [request.kind, request.collection, encoded];
    return this.#write(command, request.session, body, deadlineMs);
  }

  async #write(
    command: Command,
    session: WireSessionStamp | undefined,
    body: readonly (string | Uint8Array)[],
    deadlineMs: number,
  ): Promise<ResultBody> {
    await this.#replica.whenLeaderReady(deadlineMs);
    const envelope: CommandEnvelope = {
      timestampMs: this.#replica.nextStampMs(),
      session:
        session === undefined
          ? null
          : {
              id: sessionId(session.id),
              sequence: session.sequence,
              ackedThrough: session.ackedThrough,
            },
      bodyHash: session === undefined ? 0n : hashBody(body),
      command,
    };
    const result = await this.#replica.propose(encodeCommand(envelope), deadlineMs);
    return writeAnswer(result, typeof body[0] === 'string' ? body[0] : command.kind);
  }

  async #get(request: GetRequest, deadlineMs: number): Promise<ResultBody> {
    const { host, lanes } = this.#replica;
    const { index, results } = await this.#read(request, deadlineMs, (definition) => {
      const byLane = idsByLane(host, definition, request.ids);
      return lanes.read([...byLane.keys()], (lane) => ({
        kind: 'get',
        uid: definition.uid,
        ids: byLane.get(lane) ?? [],
        withVector: request.withVector ?? false,
        withPayload: request.withPayload ?? true,
      }));
    });
    return { points: mergeGet(results, request.ids).map(storedPoint), appliedIndex: index };
  }

  async #count(request: CountRequest, deadlineMs: number): Promise<ResultBody> {
    const { host, lanes } = this.#replica;
    const { index, results } = await this.#read(request, deadlineMs, (definition) =>
      lanes.read(lanesOf(host, definition), () => ({ kind: 'count', uid: definition.uid })),
    );
    return { count: mergeCount(results), appliedIndex: index };
  }

  async #search(request: SearchRequest, deadlineMs: number): Promise<ResultBody> {
    const { host, lanes } = this.#replica;
    let metric: Metric = 'l2';
    const { index, results } = await this.#read(request, deadlineMs, (definition) => {
      if (request.vector.length !== definition.dimension) {
        throw dimensionMismatch(definition, request.vector.length, 'vector');
      }
      metric = definition.metric;
      const query = searchQuery(request, definition.uid);
      return lanes.read(lanesOf(host, definition), () => ({ kind: 'search', query }));
    });
    const { hits, plans } = mergeSearch(results, metric, request.k);
    let graphRowCount = 0;
    let exactRowCount = 0;
    for (const plan of plans) {
      graphRowCount += plan.graphRowCount;
      exactRowCount += plan.exactRowCount;
    }
    return {
      hits: hits.map(searchHit),
      appliedIndex: index,
      plan: { graphRowCount, exactRowCount, shardCount: plans.length },
      degraded: [],
    };
  }

  /**
   * Runs `post` on the lanes when the read may see their state.
   *
   * A linearizable read looks at the lanes at once, while a quorum confirms the leader: what it saw
   * counts if it is at least the state that was confirmed. Only otherwise, or when the collection
   * is not known here yet, it looks again after the confirmation. This takes the round trip off
   * the path of a read without weakening it: an answer leaves only after the confirmation.
   */
  async #read(
    request: ReadRequest,
    deadlineMs: number,
    post: (definition: CollectionDefinition) => Promise<LaneAnswers>,
  ): Promise<LaneAnswers> {
    const isLinearizable = (request.consistency ?? 'linearizable') === 'linearizable';
    const definition = this.#replica.meta.catalogue.byName(request.collection);
    if (isLinearizable && definition !== undefined) {
      const early = orNull(() => post(definition));
      const confirmedIndex = await this.#replica.linearizable(deadlineMs);
      const answers = await early;
      if (answers !== null && answers.index >= confirmedIndex) return answers;
    } else {
      await this.#gate(request, deadlineMs);
    }
    return post(this.#collection(request.collection));
  }

  /** Resolves when a read of this consistency may look at the state of this replica. */
  async #gate(
    request: { readonly consistency?: Consistency; readonly maxStalenessMs?: number },
    deadlineMs: number,
  ): Promise<LogIndex> {
    switch (request.consistency) {
      case undefined:
      case 'linearizable':
        return this.#replica.linearizable(deadlineMs);
      case 'lease':
        if (this.#replica.isLeaseAllowed) return this.#replica.linearizable(deadlineMs);
        throw new HoldfastError(
          'LEASE_DISABLED',
          'lease reads are off for this cluster; use consistency linearizable',
        );
      case 'stale': {
        const allowedMs = request.maxStalenessMs ?? STALENESS_MS_DEFAULT;
        const stalenessMs = this.#replica.stalenessMs();
        if (stalenessMs <= allowedMs) return this.#replica.meta.appliedIndex;
        throw new HoldfastError(
          'TOO_STALE',
          `this replica may be ${describeMs(stalenessMs)} behind; ask another node or allow more`,
          { details: { maxStalenessMs: allowedMs } },
        );
      }
      default:
        return unreachable(request.consistency);
    }
  }

  /**
   * The collection that a write goes to; null when the log must answer it without one. A write of
   * a session that already took effect is owed its first answer, also after its collection was
   * dropped or made anew, and a refusal must be recorded, or a late copy of the request could
   * still be executed.
   */
  #writeTarget({
    collection,
    session,
  }: UpsertRequest | DeleteRequest): CollectionDefinition | null {
    if (session === undefined) return this.#collection(collection);
    const { catalogue, sessions } = this.#replica.meta;
    if (sessions.knows(session.id, session.sequence)) return null;
    return catalogue.byName(collection) ?? null;
  }

  #collection(name: string): CollectionDefinition {
    const definition = this.#replica.meta.catalogue.byName(name);
    if (definition === undefined) throw collectionNotFound(name);
    return definition;
  }
}

/** A read that failed too early to count is made again, and fails again if it must. */
function orNull(read: () => Promise<LaneAnswers>): Promise<LaneAnswers | null> {
  try {
    return read().catch(() => null);
  } catch {
    return Promise.resolve(null);
  }
}

type ReadRequest = GetRequest | CountRequest | SearchRequest;

function searchQuery(request: SearchRequest, uid: number): SearchQuery {
  return {
    uid,
    vector: request.vector,
    k: request.k,
    ef: request.ef ?? null,
    isExact: request.exact ?? false,
    withPayload: request.withPayload ?? true,
    withVector: request.withVector ?? false,
  };
}

export function notLeader(leader: LeaderHint | null): HoldfastError {
  const code: ErrorCode = leader === null ? 'NO_LEADER' : 'NOT_LEADER';
  const message =
    leader === null
      ? 'no leader is known right now; retry shortly'
      : `this node is not the leader; ask ${leader.nodeId} at ${leader.address}`;
  return new HoldfastError(code, message, { details: { leader } });
}

function storedPoint(record: PointRecord): StoredPoint {
  const { id, version, vector, payload } = record;
  if (vector === null) {
    return payload === null ? { id, version } : { id, version, payload: parsePayload(payload) };
  }
  if (payload === null) return { id, version, vector };
  return { id, version, vector, payload: parsePayload(payload) };
}

/** Made ten times per search: plain hits are built without a detour. */
function searchHit(hit: LaneHit): SearchHit {
  const { id, version, vector, payload, score } = hit;
  if (vector === null && payload === null) return { id, version, score };
  return { ...storedPoint(hit), score };
}

/** Lengths keep ('ab', 'c') and ('a', 'bc') apart. */
function hashBody(parts: readonly (string | Uint8Array)[]): bigint {
  const chunks: Uint8Array[] = [];
  const lengths = new Uint32Array(parts.length);
  parts.forEach((part, position) => {
    const bytes = typeof part === 'string' ? UTF8.encode(part) : part;
    lengths[position] = bytes.byteLength;
    chunks.push(bytes);
  });
  chunks.push(new Uint8Array(lengths.buffer));
  const hash = xxh3_64(chunks);
  return new DataView(hash.buffer, hash.byteOffset, hash.byteLength).getBigUint64(0, true);
}

function dimensionMismatch(
  definition: CollectionDefinition,
  found: number,
  path: string,
): HoldfastError {
  const { name, dimension } = definition;
  return new HoldfastError(
    'DIMENSION_MISMATCH',
    `${path}: has ${found} components, collection '${name}' has dimension ${dimension}`,
    { details: { path, dimension, found } },
  );
}

const describeMs = (ms: number): string =>
  Number.isFinite(ms) ? `${Math.ceil(ms)} ms` : 'any time';
