/** From what apply and the lanes gave to what a client is told. Messages are made here only. */
import type { ErrorCode } from '@holdfast/base';
import { HoldfastError, unreachable } from '@holdfast/base';
import type {
  CollectionDescription,
  HiddenCollectionDescription,
  LeaderHint,
  ResultBody,
} from '@holdfast/protocol';
import type { CollectionDefinition } from '@holdfast/shard-worker';
import type { WalWrites } from '@holdfast/storage';
import type { ApplyResult, ApplyValue } from '../state/apply-result.ts';
import type { HiddenCollection } from '../state/hiding.ts';

/** As often as the log itself looks whether its disk has room again. */
const WRITES_BLOCKED_RETRY_MS = 250;

/** @throws HoldfastError when the result is a refusal: definite, recorded in the log */
export function writeAnswer(result: ApplyResult, what: string): ResultBody {
  if (!result.ok) throw refusal(result, what);
  const { index, term, value } = result;
  switch (value.kind) {
    case 'sessionOpened':
      return { sessionId: value.sessionId };
    case 'sessionClosed':
    case 'sessionsExpired':
    case 'verified':
    case 'sealed':
    case 'siteChanged':
      return {};
    case 'collectionCreated':
    case 'collectionUpdated':
      return { index, term, collection: describeCollection(value.definition) };
    case 'collectionDropped': {
      const { hidden, isDropped } = value;
      return { index, term, isDropped, ...(hidden === undefined ? {} : { hidden }) };
    }
    case 'collectionPurged':
      return { index, term, isPurged: value.isPurged };
    case 'collectionsPublished':
      return { index, term, collections: value.definitions.map(describeCollection) };
    case 'payloadIndexCreated':
      return { index, term, isCreated: value.isCreated };
    case 'payloadIndexDropped':
      return { index, term, isDropped: value.isDropped };
    case 'written':
      return writtenAnswer({ index, term }, value, what);
    default:
      return unreachable(value);
  }
}

function writtenAnswer(
  at: { readonly index: number; readonly term: number },
  { deletedCount, skippedCount }: Extract<ApplyValue, { kind: 'written' }>,
  what: string,
): ResultBody {
  if (what === 'deleteByFilter') return { ...at, deletedCount, skippedCount: skippedCount ?? 0 };
  return what === 'delete' ? { ...at, deletedCount } : at;
}

export function describeCollection(definition: CollectionDefinition): CollectionDescription {
  const { name, dimension, metric, shardCount, hnsw, graph, checksumAlgorithm, uid } = definition;
  const payloadIndexes = definition.payloadIndexes?.map((index) => ({ ...index })) ?? [];
  return {
    ...{ name, dimension, metric, shardCount, hnsw, graph, checksumAlgorithm, payloadIndexes },
    createdIndex: uid,
  };
}

export function describeHidden(hidden: HiddenCollection): HiddenCollectionDescription {
  const { state, sinceMs, purgeAtMs } = hidden.hiding;
  return { collection: describeCollection(hidden.definition), state, sinceMs, purgeAtMs };
}

export function collectionNotFound(name: string): HoldfastError {
  return new HoldfastError(
    'COLLECTION_NOT_FOUND',
    `no collection is named '${name}'; create it first`,
    { details: { collection: name } },
  );
}

const REFUSAL_TEXTS: Partial<Record<ErrorCode, string>> = {
  VERSION_CONFLICT: 'a condition did not hold; nothing of the batch was written',
  COLLECTION_NOT_FOUND: 'no collection has this name or uid (any more); see collection list',
  COLLECTION_NOT_READY: 'a restored collection was not compared with its source yet; finish it',
  COLLECTION_EXISTS: 'a collection of this name exists; drop it or choose another name',
  COLLECTION_LIMIT:
    'the cluster has reached its collection limit, hidden ones included; drop or purge one first',
  PAYLOAD_INDEX_EXISTS: 'the key has a payload index of another type; drop it first',
  PAYLOAD_INDEX_LIMIT: 'the collection has reached its limit of payload indexes; drop one first',
  SESSION_EXPIRED:
    'the session is unknown or expired; whether an earlier attempt happened is unknown',
  SESSION_LIMIT: 'the cluster has reached its session limit; close sessions or wait',
  SESSION_WINDOW_FULL: 'too many results of this session are unacknowledged',
  READ_ONLY: 'this cluster is a standby and takes no writes; write to its primary',
  FENCED: 'another cluster has taken over from this one; write to that one',
  SEQUENCE_REUSED: 'this sequence of the session was used for another request, or acknowledged',
};

function refusal(result: Extract<ApplyResult, { ok: false }>, what: string): HoldfastError {
  const { code, index, conflicts } = result;
  const details = conflicts.length === 0 ? { index } : { index, conflicts };
  return new HoldfastError(code, `${what}: ${REFUSAL_TEXTS[code] ?? code}`, { details });
}

export function dimensionMismatch(
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

/** A redirect, or the refusal when there is nobody to redirect to. */
export function notLeader(leader: LeaderHint | null): HoldfastError {
  const code: ErrorCode = leader === null ? 'NO_LEADER' : 'NOT_LEADER';
  const message =
    leader === null
      ? 'no leader is known right now; retry shortly'
      : `this node is not the leader; ask ${leader.nodeId} at ${leader.address}`;
  return new HoldfastError(code, message, { details: { leader } });
}

export function shuttingDown(): HoldfastError {
  return new HoldfastError('SHUTTING_DOWN', 'this node is shutting down; use another');
}

export function leaseDisabled(): HoldfastError {
  return new HoldfastError(
    'LEASE_DISABLED',
    'lease reads are off for this cluster; use consistency linearizable, or switch them on with ' +
      'holdfast cluster leases on',
  );
}

/** The disk refuses the log of this node; nothing was proposed. */
export function writesBlocked({ type }: WalWrites): HoldfastError {
  return new HoldfastError(
    'WRITES_BLOCKED',
    `the disk refuses the log of this node (${type}): free space or mend it; it goes on by itself`,
    { details: { type, retryAfterMs: WRITES_BLOCKED_RETRY_MS } },
  );
}

/** A wait that ended because this node cannot follow the log just now. */
export function asTooStale(error: unknown): never {
  if (!(error instanceof HoldfastError) || error.code !== 'REQUEST_TIMEOUT') throw error;
  throw new HoldfastError(
    'TOO_STALE',
    'the disk of this node is refused writes; ask another node',
    {
      cause: error,
    },
  );
}
