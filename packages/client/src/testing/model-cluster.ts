/**
 * A model of a cluster for testing clients: nodes that answer the real protocol over a transport,
 * one replicated log, and a session table as the servers keep it. Commit is instantaneous in log
 * order; what goes wrong around it is chosen by `faults`. Every write counts its executions, which
 * is what the properties are about.
 *
 * Over 400 lines because the model is read against the real server as one piece.
 */
import type { ErrorCode, Random, Timers } from '@holdfast/base';
import { HoldfastError, unreachable } from '@holdfast/base';
import type {
  Down,
  KnownNode,
  LeaderHint,
  PointId,
  Request,
  ResultBody,
  StoredPoint,
  WriteKind,
} from '@holdfast/protocol';
import {
  CHECKSUM_ALGORITHM_DEFAULT,
  decodeUp,
  encodeDown,
  GRAPH_DEFAULTS,
  HNSW_DEFAULTS,
  PROTOCOL_VERSION,
  parsePayload,
  SCROLL_LIMIT_DEFAULT,
  SHARD_COUNT_DEFAULT,
} from '@holdfast/protocol';
import type { FakeServer, FakeServerEnd } from './fake-transport.ts';

export type ModelFault =
  /** Nothing goes wrong. */
  | 'none'
  /** The request vanishes and the connection ends. */
  | 'requestLost'
  /** The write commits; the answer vanishes and the connection ends. */
  | 'replyLost'
  /** Answered LEADERSHIP_LOST at once; commits later or never. */
  | 'leadershipLostCommitsLater'
  | 'leadershipLostNeverCommits'
  /** Answered REQUEST_TIMEOUT; commits later. */
  | 'timeoutCommitsLater'
  /** Nobody answers; the connection stays. Commits or not. */
  | 'silentCommits'
  | 'silentDrops'
  /** Definite refusals before anything is proposed. */
  | 'overloaded'
  | 'notLeader'
  | 'noLeader'
  /** A lagging node refuses from old state: definite for the attempt, wrong about earlier ones. */
  | 'refusedBeforePropose'
  | 'internal';

export interface ModelClusterOptions {
  readonly timers: Timers;
  readonly random: Random;
  /** A FakeTransport, or LoopbackServers for real sockets. */
  readonly transport: { listen(address: string, server: FakeServer | null): void };
  /** One node per address; default three. */
  readonly addresses?: readonly string[];
  readonly clusterId?: string;
  /** Asked once per write or openSession that reaches the leader. */
  readonly faults?: () => ModelFault;
}

/** The model does not know updates of collections, and nothing of hidden ones. */
type UnknownKind =
  | 'updateCollection'
  | 'undeleteCollection'
  | 'renameCollection'
  | 'purgeCollection'
  | 'finishCollection'
  | 'publishCollections';
type WriteRequest = Extract<Request, { kind: Exclude<WriteKind, UnknownKind> }>;
type Outcome =
  | { readonly ok: true; readonly result: ResultBody }
  | { readonly ok: false; readonly error: HoldfastError };

interface ModelSession {
  ackedThrough: number;
  readonly results: Map<number, { readonly body: string; readonly outcome: Outcome }>;
}

const ADDRESSES_DEFAULT = ['127.0.0.1:7101', '127.0.0.1:7102', '127.0.0.1:7103'];

interface ModelNode {
  readonly nodeId: string;
  readonly address: string;
  readonly ends: Set<FakeServerEnd>;
  isUp: boolean;
  /** Raised by hand: what a recovery does to the members it keeps. */
  epoch: number;
}

export class ModelCluster {
  readonly #options: ModelClusterOptions;
  readonly #nodes: readonly ModelNode[];
  readonly #sessions = new Map<number, ModelSession>();
  /** One collection: whatever its name is. */
  readonly #points = new Map<PointId, StoredPoint & { readonly vector: Float32Array }>();
  /** Point id -> how often an upsert of it took effect. */
  readonly executionCounts = new Map<number | string, number>();
  #leaderAt: number | null = 0;
  #term = 1;
  #index = 0;
  #members: { readonly nodes: KnownNode[]; readonly confIndex: number };
  receivedCount = 0;

  constructor(options: ModelClusterOptions) {
    this.#options = options;
    this.#nodes = (options.addresses ?? ADDRESSES_DEFAULT).map((address, i) => ({
      nodeId: `n${i + 1}`,
      address,
      epoch: 1,
      ends: new Set<FakeServerEnd>(),
      isUp: true,
    }));
    const nodes = this.#nodes.map(({ nodeId, address }) => ({ nodeId, address }));
    this.#members = { nodes, confIndex: 0 };
    for (const node of this.#nodes) this.#listen(node);
  }

  get addresses(): readonly string[] {
    return this.#nodes.map((node) => node.address);
  }

  get leader(): LeaderHint | null {
    const node = this.#leaderAt === null ? undefined : this.#nodes[this.#leaderAt];
    return node === undefined ? null : { nodeId: node.nodeId, address: node.address };
  }

  get sessionCount(): number {
    return this.#sessions.size;
  }

  /** Null: the election goes on. */
  elect(nodeAt: number | null): void {
    this.#leaderAt = nodeAt;
    this.#term += 1;
    for (const node of this.#nodes) this.#announce(node);
  }

  /** The cluster has these members now; the nodes push it. */
  setMembers(members: readonly LeaderHint[], confIndex: number): void {
    this.#members = {
      nodes: members.map(({ nodeId, address }) => ({ nodeId, address })),
      confIndex,
    };
    for (const node of this.#nodes) {
      for (const end of node.ends) this.#send(end, { kind: 'membersChanged', ...this.#members });
    }
  }

  /** As SIGKILL: connections end, nobody listens. */
  kill(nodeAt: number): void {
    const node = this.#node(nodeAt);
    node.isUp = false;
    this.#options.transport.listen(node.address, null);
    for (const end of [...node.ends]) end.cut('the node was killed');
  }

  restart(nodeAt: number): void {
    const node = this.#node(nodeAt);
    node.isUp = true;
    this.#listen(node);
  }

  /** What `cluster recover` does to a member it keeps, and what joining does to the others. */
  setEpoch(nodeAt: number, epoch: number): void {
    this.#node(nodeAt).epoch = epoch;
  }

  cutAllConnections(): void {
    for (const node of this.#nodes) for (const end of [...node.ends]) end.cut('cut by the test');
  }

  expireSessions(): void {
    this.#sessions.clear();
  }

  #node(nodeAt: number): ModelNode {
    const node = this.#nodes[nodeAt];
    if (node === undefined) throw new Error(`no node ${nodeAt}`);
    return node;
  }

  #listen(node: ModelNode): void {
    const server: FakeServer = {
      onConnect: (end) => {
        node.ends.add(end);
        return {
          onFrame: (bytes) => this.#onFrame(node, end, bytes),
          onClose: () => node.ends.delete(end),
        };
      },
    };
    this.#options.transport.listen(node.address, server);
  }

  #announce(node: ModelNode): void {
    const notice = { kind: 'leaderChanged', leader: this.leader, term: this.#term } as const;
    for (const end of node.ends) this.#send(end, notice);
  }

  #send(end: FakeServerEnd, message: Down): void {
    end.send(encodeDown(message));
  }

  #onFrame(node: ModelNode, end: FakeServerEnd, bytes: Uint8Array): void {
    const message = decodeUp(bytes);
    if (message.kind === 'hello') {
      this.#send(end, {
        kind: 'welcome',
        protocolVersion: PROTOCOL_VERSION,
        clusterId: this.#options.clusterId ?? 'c'.repeat(32),
        nodeId: node.nodeId,
        epoch: node.epoch,
        leader: this.leader,
        term: this.#term,
        ...this.#members,
        limits: {
          frameSizeBytesMax: 16 * 1024 * 1024,
          batchPointCountMax: 1_000,
          inflightRequestCountMax: 256,
        },
      });
      return;
    }
    this.receivedCount += 1;
    this.#onRequest(node, end, message);
  }

  #onRequest(node: ModelNode, end: FakeServerEnd, request: Request): void {
    const outcome = this.#outcomeOf(node, end, request);
    if (outcome === null) return;
    const { id } = request;
    if (outcome.ok) this.#send(end, { id, ok: true, result: outcome.result });
    else this.#send(end, { id, ok: false, error: outcome.error.toBody() });
  }

  /** Null: nobody answers. */
  #outcomeOf(node: ModelNode, end: FakeServerEnd, request: Request): Outcome | null {
    const { leader } = this;
    if (request.kind === 'status') return { ok: true, result: this.#status(node) };
    if (leader === null) return refusal('NO_LEADER');
    if (leader.nodeId !== node.nodeId) return refusal('NOT_LEADER', { leader, term: this.#term });
    const fault = this.#options.faults?.() ?? 'none';
    switch (fault) {
      case 'none':
        return this.#commit(request);
      case 'requestLost':
        end.cut('request lost');
        return null;
      case 'replyLost':
        this.#commit(request);
        end.cut('reply lost');
        return null;
      case 'leadershipLostCommitsLater':
        this.#commitLater(request);
        return refusal('LEADERSHIP_LOST');
      case 'leadershipLostNeverCommits':
        return refusal('LEADERSHIP_LOST');
      case 'timeoutCommitsLater':
        this.#commitLater(request);
        return refusal('REQUEST_TIMEOUT');
      case 'silentCommits':
        this.#commit(request);
        return null;
      case 'silentDrops':
        return null;
      case 'overloaded':
        return refusal('OVERLOADED', { retryAfterMs: 5 });
      case 'notLeader':
        return refusal('NOT_LEADER', { leader: null });
      case 'noLeader':
        return refusal('NO_LEADER');
      case 'refusedBeforePropose':
        return refusal('COLLECTION_NOT_FOUND');
      case 'internal':
        return refusal('INTERNAL');
      default:
        return unreachable(fault);
    }
  }

  #commitLater(request: Request): void {
    const delayMs = this.#options.random.nextFloat() * 400;
    this.#options.timers.after(delayMs, () => this.#commit(request));
  }

  /** One log entry: admitted by the session table, then executed. */
  #commit(request: Request): Outcome {
    this.#index += 1;
    switch (request.kind) {
      case 'openSession':
        this.#sessions.set(this.#index, { ackedThrough: 0, results: new Map() });
        return { ok: true, result: { sessionId: this.#index } };
      case 'closeSession':
        this.#sessions.delete(request.sessionId);
        return { ok: true, result: {} };
      case 'upsert':
      case 'delete':
      case 'createCollection':
      case 'dropCollection':
      case 'createPayloadIndex':
      case 'dropPayloadIndex':
      case 'deleteByFilter':
        return this.#admit(request);
      default:
        return { ok: true, result: this.#read(request) };
    }
  }

  #read(request: Exclude<Request, WriteRequest>): ResultBody {
    const appliedIndex = this.#index;
    switch (request.kind) {
      case 'count':
        return { count: this.#points.size, appliedIndex };
      case 'get': {
        const points = request.ids.map((id) => this.#points.get(id));
        return { points: points.filter((point) => point !== undefined), appliedIndex };
      }
      case 'search': {
        const hits = [...this.#points.values()].map((point) => ({
          ...point,
          score: squaredDistance(point.vector, request.vector),
        }));
        hits.sort((left, right) => left.score - right.score);
        const plan = { graphRowCount: 0, exactRowCount: hits.length, shardCount: 1 };
        return { hits: hits.slice(0, request.k), appliedIndex, plan, degraded: [] };
      }
      case 'scroll': {
        const { after = -1, limit = SCROLL_LIMIT_DEFAULT } = request;
        const all = [...this.#points.values()].filter(({ id }) => Number(id) > Number(after));
        all.sort((left, right) => Number(left.id) - Number(right.id));
        const points = all.slice(0, limit);
        const next = points.length < all.length ? (points.at(-1)?.id ?? null) : null;
        return { points, next, appliedIndex };
      }
      default:
        return { collections: [], appliedIndex };
    }
  }

  /** The model knows points by number and of filters only `has_id`. */
  #deleteByFilter({ filter, limit }: Extract<WriteRequest, { kind: 'deleteByFilter' }>) {
    const ids = (filter.must ?? []).flatMap((each) => ('has_id' in each ? each.has_id : []));
    const found = ids.filter((id) => this.#points.has(id)).slice(0, limit);
    for (const id of found) this.#points.delete(id);
    const at = { index: this.#index, term: this.#term };
    return { ...at, deletedCount: found.length, skippedCount: 0 };
  }

  #admit(request: WriteRequest): Outcome {
    const stamp = request.session;
    if (stamp === undefined) return this.#execute(request);
    const session = this.#sessions.get(stamp.id);
    if (session === undefined) return this.#failed('SESSION_EXPIRED');
    session.ackedThrough = Math.max(session.ackedThrough, stamp.ackedThrough);
    for (const sequence of session.results.keys()) {
      if (sequence <= session.ackedThrough) session.results.delete(sequence);
    }
    const { id: _id, timeoutMs: _timeoutMs, session: _session, ...content } = request;
    const body = JSON.stringify(content);
    const known = session.results.get(stamp.sequence);
    if (known !== undefined) {
      return known.body === body ? known.outcome : this.#failed('SEQUENCE_REUSED');
    }
    if (stamp.sequence <= session.ackedThrough) return this.#failed('SEQUENCE_REUSED');
    if (session.results.size >= 1_024) return this.#failed('SESSION_WINDOW_FULL');
    const outcome = this.#execute(request);
    session.results.set(stamp.sequence, { body, outcome });
    return outcome;
  }

  #execute(request: WriteRequest): Outcome {
    const written = { index: this.#index, term: this.#term };
    if (request.kind === 'delete') {
      const deleted = request.points.filter((point) => this.#points.delete(point.id));
      return { ok: true, result: { ...written, deletedCount: deleted.length } };
    }
    if (request.kind === 'dropCollection') {
      return { ok: true, result: { ...written, isDropped: true } };
    }
    if (request.kind === 'createCollection') {
      const { name, dimension, metric, shardCount = SHARD_COUNT_DEFAULT } = request;
      const hnsw = { ...HNSW_DEFAULTS, ...request.hnsw };
      const graph = { ...GRAPH_DEFAULTS, ...request.graph };
      const createdIndex = this.#index;
      const checksumAlgorithm = request.checksumAlgorithm ?? CHECKSUM_ALGORITHM_DEFAULT;
      const payloadIndexes = request.payloadIndexes ?? [];
      const collection = {
        ...{ name, dimension, metric, shardCount, hnsw, graph, checksumAlgorithm },
        ...{ payloadIndexes, createdIndex },
      };
      return { ok: true, result: { ...written, collection } };
    }
    if (request.kind === 'createPayloadIndex')
      return { ok: true, result: { ...written, isCreated: true } };
    if (request.kind === 'dropPayloadIndex')
      return { ok: true, result: { ...written, isDropped: true } };
    if (request.kind === 'deleteByFilter')
      return { ok: true, result: this.#deleteByFilter(request) };
    for (const point of request.points) {
      const version = this.#points.get(point.id)?.version;
      const holds =
        (point.ifAbsent !== true || version === undefined) &&
        (point.ifVersion === undefined || point.ifVersion === version);
      if (!holds) return this.#failed('VERSION_CONFLICT');
    }
    for (const point of request.points) {
      const { id, vector, payload } = point;
      this.#points.set(id, {
        id,
        version: this.#index,
        vector: vector.slice(),
        ...(payload === undefined ? {} : { payload: parsePayload(payload) }),
      });
      this.executionCounts.set(point.id, (this.executionCounts.get(point.id) ?? 0) + 1);
    }
    return { ok: true, result: written };
  }

  #failed(code: ErrorCode): Outcome {
    const details = { index: this.#index };
    return { ok: false, error: new HoldfastError(code, `model: ${code}`, { details }) };
  }

  #status(node: ModelNode): ResultBody {
    return {
      nodeId: node.nodeId,
      role: this.leader?.nodeId === node.nodeId ? 'leader' : 'follower',
      term: this.#term,
      leader: this.leader,
      commitIndex: this.#index,
      appliedIndex: this.#index,
    };
  }
}

/** Before anything was proposed: without the log index that a recorded answer has. */
function refusal(code: ErrorCode, details: Readonly<Record<string, unknown>> = {}): Outcome {
  return { ok: false, error: new HoldfastError(code, `model: ${code}`, { details }) };
}

function squaredDistance(left: Float32Array, right: Float32Array): number {
  return left.reduce((sum, value, i) => sum + (value - (right[i] ?? 0)) ** 2, 0);
}
