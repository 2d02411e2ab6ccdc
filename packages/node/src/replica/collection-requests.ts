/**
 * What clients ask about collections as a whole: names, drops that can be taken back, and
 * collections that are restored hidden. How long a dropped one is kept is decided here, on the
 * leader, and goes into the entry: apply knows no setting and no clock.
 */
import { HoldfastError, unreachable } from '@holdfast/base';
import type {
  CreateCollectionRequest,
  DigestCollectionRequest,
  DropCollectionRequest,
  FinishCollectionRequest,
  PublishCollectionsRequest,
  PurgeCollectionRequest,
  RenameCollectionRequest,
  ResultBody,
  UndeleteCollectionRequest,
} from '@holdfast/protocol';
import {
  CHECKSUM_ALGORITHM_DEFAULT,
  GRAPH_DEFAULTS,
  HNSW_DEFAULTS,
  SHARD_COUNT_DEFAULT,
} from '@holdfast/protocol';
import type { CollectionDefinition } from '@holdfast/shard-worker';
import type { CollectionSpec, Command } from '../state/command.ts';
import { collectionNotFound } from './answers.ts';
import type { ContentDigest } from './content-digest.ts';
import { digestContent } from './content-digest.ts';
import type { ExecutorReplica } from './executor-replica.ts';
import type { WriteRequests } from './write-requests.ts';

/**
 * A restore that nobody finished, or published, takes memory for so long: enough for one that runs
 * over a weekend and is looked at after it.
 */
const HIDDEN_RETENTION_MS = 7 * 24 * 3_600_000;

export type CollectionRequest =
  | CreateCollectionRequest
  | DropCollectionRequest
  | UndeleteCollectionRequest
  | RenameCollectionRequest
  | PurgeCollectionRequest
  | DigestCollectionRequest
  | FinishCollectionRequest
  | PublishCollectionsRequest;

export class CollectionRequests {
  readonly #replica: ExecutorReplica;
  readonly #writes: WriteRequests;

  constructor(replica: ExecutorReplica, writes: WriteRequests) {
    this.#replica = replica;
    this.#writes = writes;
  }

  execute(request: CollectionRequest, deadlineMs: number): Promise<ResultBody> {
    switch (request.kind) {
      case 'createCollection':
        return this.#create(request, deadlineMs);
      case 'dropCollection':
        return this.#drop(request, deadlineMs);
      case 'undeleteCollection':
        return this.#undelete(request, deadlineMs);
      case 'renameCollection':
        return this.#rename(request, deadlineMs);
      case 'purgeCollection':
        return this.#purge(request, deadlineMs);
      case 'digestCollection':
        return this.#digest(request, deadlineMs);
      case 'finishCollection':
        return this.#finish(request, deadlineMs);
      case 'publishCollections':
        return this.#publish(request, deadlineMs);
      default:
        return unreachable(request);
    }
  }

  #create(request: CreateCollectionRequest, deadlineMs: number): Promise<ResultBody> {
    const spec = this.#specOf(request);
    if (request.isHidden === true) {
      const command = { kind: 'createHiddenCollection', spec } as const;
      const body = ['createHiddenCollection', JSON.stringify({ spec })];
      return this.#writes.write(
        { ...command, retentionMs: HIDDEN_RETENTION_MS },
        request.session,
        body,
        deadlineMs,
      );
    }
    const ifNotExists = request.ifNotExists ?? false;
    const body = ['createCollection', JSON.stringify({ spec, ifNotExists })];
    const command: Command = { kind: 'createCollection', spec, ifNotExists };
    return this.#writes.write(command, request.session, body, deadlineMs);
  }

  #drop({ name, retentionMs, session }: DropCollectionRequest, deadlineMs: number) {
    const keptMs = retentionMs ?? this.#replica.dropRetentionMs;
    const command: Command =
      keptMs === 0
        ? { kind: 'dropCollection', name }
        : { kind: 'hideCollection', name, retentionMs: keptMs };
    // What was asked: another leader may have another setting, and a repeat is the same request.
    const asked = retentionMs === undefined ? [] : [String(retentionMs)];
    return this.#writes.write(command, session, ['dropCollection', name, ...asked], deadlineMs);
  }

  #undelete({ name, session, uid }: UndeleteCollectionRequest, deadlineMs: number) {
    const command = { kind: 'undeleteCollection', uid, name: name ?? null } as const;
    const body = ['undeleteCollection', String(uid), name ?? ''];
    return this.#writes.write(command, session, body, deadlineMs);
  }

  #rename({ name, newName, session }: RenameCollectionRequest, deadlineMs: number) {
    const command = { kind: 'renameCollection', name, newName } as const;
    return this.#writes.write(command, session, ['renameCollection', name, newName], deadlineMs);
  }

  #purge({ session, uid }: PurgeCollectionRequest, deadlineMs: number): Promise<ResultBody> {
    const command = { kind: 'purgeCollection', uid, cutoffMs: null } as const;
    return this.#writes.write(command, session, ['purgeCollection', String(uid)], deadlineMs);
  }

  #publish({ session, uids }: PublishCollectionsRequest, deadlineMs: number): Promise<ResultBody> {
    const body = ['publishCollections', uids.join(' ')];
    return this.#writes.write({ kind: 'publishCollections', uids }, session, body, deadlineMs);
  }

  /** What was written is read back and compared before anything is proposed. */
  async #finish(request: FinishCollectionRequest, deadlineMs: number): Promise<ResultBody> {
    await this.#replica.whenLeaderReady(deadlineMs);
    const { digest, pointCount, session, uid } = request;
    const body = ['finishCollection', String(uid), String(pointCount), digest];
    const { catalogue, sessions } = this.#replica.meta;
    const isRepeat = session !== undefined && sessions.knows(session.id, session.sequence);
    if (!isRepeat) {
      const hidden = catalogue.hidden(uid);
      if (hidden === undefined || hidden.hiding.state === 'dropped') throw noRestored(uid);
      const found = await digestContent(this.#replica, hidden.definition, deadlineMs);
      if (found.pointCount !== pointCount || found.digest !== digest)
        throw notEqual(hidden.definition, { pointCount, digest }, found);
    }
    return this.#writes.write({ kind: 'finishCollection', uid }, session, body, deadlineMs);
  }

  async #digest(request: DigestCollectionRequest, deadlineMs: number): Promise<ResultBody> {
    await this.#replica.linearizable(deadlineMs);
    const { catalogue } = this.#replica.meta;
    const { collection, uid } = request;
    const definition = uid === undefined ? catalogue.byName(collection) : catalogue.byUid(uid);
    if (definition === undefined || definition.name !== collection)
      throw collectionNotFound(collection);
    return { ...(await digestContent(this.#replica, definition, deadlineMs)) };
  }

  #specOf(request: CreateCollectionRequest): CollectionSpec {
    const { name, dimension, metric } = request;
    return {
      name,
      dimension,
      metric,
      shardCount: request.shardCount ?? SHARD_COUNT_DEFAULT,
      hnsw: {
        m: request.hnsw?.m ?? HNSW_DEFAULTS.m,
        efConstruction: request.hnsw?.efConstruction ?? HNSW_DEFAULTS.efConstruction,
        efSearch: request.hnsw?.efSearch ?? HNSW_DEFAULTS.efSearch,
      },
      graph: {
        engine: request.graph?.engine ?? GRAPH_DEFAULTS.engine,
        precision: request.graph?.precision ?? GRAPH_DEFAULTS.precision,
      },
      sealRowCount: this.#replica.sealLimits.sealRowCount,
      sealSizeBytes: this.#replica.sealLimits.sealSizeBytes,
      checksumAlgorithm: request.checksumAlgorithm ?? CHECKSUM_ALGORITHM_DEFAULT,
      ...(request.payloadIndexes === undefined ? {} : { payloadIndexes: request.payloadIndexes }),
    };
  }
}

const noRestored = (uid: number): HoldfastError =>
  new HoldfastError(
    'COLLECTION_NOT_FOUND',
    `no collection with the uid ${uid} is being restored; it was purged, or is published`,
    { details: { uid } },
  );

function notEqual(
  { name, uid }: CollectionDefinition,
  wanted: Omit<ContentDigest, 'appliedIndex'>,
  found: ContentDigest,
): HoldfastError {
  const message =
    `the restored ${name} has ${found.pointCount} points with digest ${found.digest}, its source ` +
    `${wanted.pointCount} with ${wanted.digest}: purge it, and restore it again`;
  const details = { uid, pointCount: found.pointCount, digest: found.digest };
  return new HoldfastError('COLLECTION_NOT_READY', message, { details });
}
