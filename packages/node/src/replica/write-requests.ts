/**
 * Writes of clients: only the leader, once it has applied its own first entry (before that it does
 * not know which collections exist). Everything non-deterministic is resolved here, before
 * proposing: the collection's uid, defaults, the time stamp.
 */
import { sessionId } from '@holdfast/base';
import type {
  CreatePayloadIndexRequest,
  DeleteByFilterRequest,
  DeleteRequest,
  DropPayloadIndexRequest,
  Filter,
  ResultBody,
  UpsertRequest,
  SessionStamp as WireSessionStamp,
} from '@holdfast/protocol';
import { DELETE_BY_FILTER_LIMIT_MAX } from '@holdfast/protocol';
import type { CollectionDefinition, PointOp } from '@holdfast/shard-worker';
import { encodePointOps } from '@holdfast/shard-worker';
import { xxh3_64 } from '@holdfast/storage';
import { lanesOf, mergeScroll } from '../routing/scatter-gather.ts';
import type { Command, CommandEnvelope } from '../state/command.ts';
import { encodeCommand } from '../state/command.ts';
import { collectionNotFound, dimensionMismatch, writeAnswer } from './answers.ts';
import type { ExecutorReplica } from './executor-replica.ts';

/** No entry has index 0, so no collection is named by it. */
const NO_COLLECTION_UID = 0;

const UTF8 = new TextEncoder();

interface TargetedWrite {
  readonly collection: string;
  readonly uid?: number;
  readonly session?: WireSessionStamp | undefined;
}

export class WriteRequests {
  readonly #replica: ExecutorReplica;

  constructor(replica: ExecutorReplica) {
    this.#replica = replica;
  }

  async upsert(request: UpsertRequest, deadlineMs: number): Promise<ResultBody> {
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

  async delete(request: DeleteRequest, deadlineMs: number): Promise<ResultBody> {
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

  /**
   * The filter is resolved here, once: what goes into the log are ids with the versions they were
   * found with. The read before it is linearizable, so every write acknowledged before this request
   * began is seen, also by a leader that was deposed and elected again in between.
   */
  async deleteByFilter(request: DeleteByFilterRequest, deadlineMs: number): Promise<ResultBody> {
    await this.#replica.whenLeaderReady(deadlineMs);
    const limit = request.limit ?? DELETE_BY_FILTER_LIMIT_MAX;
    const { collection, filter } = request;
    let definition = this.#writeTarget(request);
    let ops: readonly PointOp[] = [];
    if (definition !== null) {
      await this.#replica.linearizable(deadlineMs);
      // Another collection may have the name by now.
      definition = this.#writeTarget(request);
      if (definition !== null) ops = await this.#matching(definition, filter, limit, deadlineMs);
    }
    const command: Command = {
      kind: 'write',
      uid: definition?.uid ?? NO_COLLECTION_UID,
      ops: encodePointOps(ops),
    };
    // What was asked, not what was found: a repeat may find other points and is the same request.
    const body = ['deleteByFilter', collection, JSON.stringify({ filter, limit })];
    return this.write(command, request.session, body, deadlineMs);
  }

  async createPayloadIndex(
    request: CreatePayloadIndexRequest,
    deadlineMs: number,
  ): Promise<ResultBody> {
    await this.#replica.whenLeaderReady(deadlineMs);
    const { collection, key, type, session } = request;
    const uid = this.#writeTarget(request)?.uid ?? NO_COLLECTION_UID;
    const command: Command = { kind: 'createPayloadIndex', uid, payloadIndex: { key, type } };
    const body = ['createPayloadIndex', collection, key, type];
    return this.write(command, session, body, deadlineMs);
  }

  async dropPayloadIndex(
    request: DropPayloadIndexRequest,
    deadlineMs: number,
  ): Promise<ResultBody> {
    await this.#replica.whenLeaderReady(deadlineMs);
    const { collection, key, session } = request;
    const uid = this.#writeTarget(request)?.uid ?? NO_COLLECTION_UID;
    const command: Command = { kind: 'dropPayloadIndex', uid, key };
    return this.write(command, session, ['dropPayloadIndex', collection, key], deadlineMs);
  }

  /** Deletes of the first `limit` points that match, each only as it is now. */
  async #matching(
    definition: CollectionDefinition,
    filter: Filter,
    limit: number,
    deadlineMs: number,
  ): Promise<readonly PointOp[]> {
    const { host, lanes } = this.#replica;
    const { results } = await lanes.read(lanesOf(host, definition), deadlineMs, () => ({
      kind: 'scroll',
      uid: definition.uid,
      filter,
      after: null,
      limit,
      withVector: false,
      withPayload: false,
    }));
    return mergeScroll(results, limit).points.map(({ id, version }) => ({
      type: 'delete',
      id,
      condition: { kind: 'ifUnchanged', version },
    }));
  }

  /** `body` is what makes a repeat of a session's sequence the same request. */
  async write(
    command: Command,
    session: WireSessionStamp | undefined,
    body: readonly (string | Uint8Array)[],
    deadlineMs: number,
  ): Promise<ResultBody> {
    await this.#replica.whenLeaderReady(deadlineMs);
    this.#replica.gate.checkLeader();
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
    const request = session === undefined ? null : `${session.id}/${session.sequence}`;
    const origin = { kind: typeof body[0] === 'string' ? body[0] : command.kind, request };
    const result = await this.#replica.propose(encodeCommand(envelope), deadlineMs, origin);
    this.#replica.gate.checkAnswer();
    return writeAnswer(result, typeof body[0] === 'string' ? body[0] : command.kind);
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
    const named = 'uid' in request ? [String(request.uid)] : [];
    const body = [request.kind, request.collection, encoded, ...named];
    return this.write(command, request.session, body, deadlineMs);
  }

  /**
   * The collection that a write goes to; null when the log must answer it without one. A write of
   * a session that already took effect is owed its first answer, also after its collection was
   * dropped or made anew, and a refusal must be recorded, or a late copy of the request could
   * still be executed.
   */
  #writeTarget({ collection, session, uid }: TargetedWrite): CollectionDefinition | null {
    if (session === undefined) {
      const definition = this.#named(collection, uid);
      if (definition === undefined) throw collectionNotFound(collection);
      return definition;
    }
    if (this.#replica.meta.sessions.knows(session.id, session.sequence)) return null;
    return this.#named(collection, uid) ?? null;
  }

  /** A hidden collection is found by its uid only, and only while it takes points. */
  #named(name: string, uid: number | undefined): CollectionDefinition | undefined {
    const { catalogue } = this.#replica.meta;
    const definition = uid === undefined ? catalogue.byName(name) : catalogue.writable(uid);
    return definition?.name === name ? definition : undefined;
  }
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
