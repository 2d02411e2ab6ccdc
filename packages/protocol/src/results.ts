/** Which result answers which request, and the check a client runs over a result it received. */
import type { StatusResult } from './admin.ts';
import { statusResultSchema } from './admin.ts';
import type { Fields } from './check.ts';
import {
  booleanAt,
  fieldsAt,
  integerAt,
  invalid,
  listAt,
  SAFE_POSITIVE,
  SAFE_UNSIGNED,
} from './check.ts';
import type {
  DigestCollectionResult,
  FinishCollectionResult,
  PublishCollectionsResult,
  PurgeCollectionResult,
  RenameCollectionResult,
  UndeleteCollectionResult,
} from './collection-lifecycle.ts';
import {
  digestCollectionResultSchema,
  finishCollectionResultSchema,
  publishCollectionsResultSchema,
  purgeCollectionResultSchema,
  renameCollectionResultSchema,
  undeleteCollectionResultSchema,
} from './collection-lifecycle.ts';
import type {
  CreateCollectionResult,
  DropCollectionResult,
  ListCollectionsResult,
  UpdateCollectionResult,
} from './collections.ts';
import {
  createCollectionResultSchema,
  dropCollectionResultSchema,
  listCollectionsResultSchema,
  updateCollectionResultSchema,
} from './collections.ts';
import type { DeleteResult } from './delete.ts';
import type { DeleteByFilterResult } from './delete-by-filter.ts';
import type { CountResult, GetResult, StoredPoint } from './get.ts';
import type {
  ChangeMembersResult,
  ListMembersResult,
  TransferLeadershipResult,
} from './membership.ts';
import {
  changeMembersResultSchema,
  listMembersResultSchema,
  transferLeadershipResultSchema,
} from './membership.ts';
import { parse } from './parse.ts';
import type { JsonObject } from './payload.ts';
import type { CreatePayloadIndexResult, DropPayloadIndexResult } from './payload-index.ts';
import { pointIdAt } from './point-id.ts';
import type { ScrollResult } from './scroll.ts';
import type { DegradedLayer, FilterPlan, SearchHit, SearchPlan, SearchResult } from './search.ts';
import { SEARCH_LAYERS } from './search.ts';
import type { CloseSessionResult, OpenSessionResult } from './session.ts';
import type { RequestKind } from './up.ts';
import type { UpsertResult } from './upsert.ts';
import { vectorFromBytes } from './vector.ts';

export interface ResultByKind {
  readonly openSession: OpenSessionResult;
  readonly closeSession: CloseSessionResult;
  readonly createCollection: CreateCollectionResult;
  readonly dropCollection: DropCollectionResult;
  readonly updateCollection: UpdateCollectionResult;
  readonly listCollections: ListCollectionsResult;
  readonly undeleteCollection: UndeleteCollectionResult;
  readonly renameCollection: RenameCollectionResult;
  readonly purgeCollection: PurgeCollectionResult;
  readonly digestCollection: DigestCollectionResult;
  readonly finishCollection: FinishCollectionResult;
  readonly publishCollections: PublishCollectionsResult;
  readonly createPayloadIndex: CreatePayloadIndexResult;
  readonly dropPayloadIndex: DropPayloadIndexResult;
  readonly upsert: UpsertResult;
  readonly delete: DeleteResult;
  readonly deleteByFilter: DeleteByFilterResult;
  readonly get: GetResult;
  readonly search: SearchResult;
  readonly count: CountResult;
  readonly scroll: ScrollResult;
  readonly status: StatusResult;
  readonly listMembers: ListMembersResult;
  readonly addMember: ChangeMembersResult;
  readonly removeMember: ChangeMembersResult;
  readonly replaceMember: ChangeMembersResult;
  readonly promoteMember: ChangeMembersResult;
  readonly demoteMember: ChangeMembersResult;
  readonly updateMember: ChangeMembersResult;
  readonly setLeases: ChangeMembersResult;
  readonly transferLeadership: TransferLeadershipResult;
}

export type ResultOf<Kind extends RequestKind> = ResultByKind[Kind];
export type ResultBody = ResultByKind[RequestKind];

const CHECKS: { readonly [Kind in RequestKind]: (result: Fields) => ResultByKind[Kind] } = {
  openSession: (result) => ({ sessionId: positiveAt(result.sessionId, 'sessionId') }),
  closeSession: () => ({}),
  createCollection: (result) => parse(createCollectionResultSchema, result),
  dropCollection: (result) => parse(dropCollectionResultSchema, result),
  updateCollection: (result) => parse(updateCollectionResultSchema, result),
  listCollections: (result) => parse(listCollectionsResultSchema, result),
  undeleteCollection: (result) => parse(undeleteCollectionResultSchema, result),
  renameCollection: (result) => parse(renameCollectionResultSchema, result),
  purgeCollection: (result) => parse(purgeCollectionResultSchema, result),
  digestCollection: (result) => parse(digestCollectionResultSchema, result),
  finishCollection: (result) => parse(finishCollectionResultSchema, result),
  publishCollections: (result) => parse(publishCollectionsResultSchema, result),
  createPayloadIndex: (result) => ({
    ...writeResultOf(result),
    isCreated: booleanAt(result.isCreated, 'isCreated'),
  }),
  dropPayloadIndex: (result) => ({
    ...writeResultOf(result),
    isDropped: booleanAt(result.isDropped, 'isDropped'),
  }),
  upsert: (result) => writeResultOf(result),
  delete: (result) => ({
    ...writeResultOf(result),
    deletedCount: unsignedAt(result.deletedCount, 'deletedCount'),
  }),
  deleteByFilter: (result) => ({
    ...writeResultOf(result),
    deletedCount: unsignedAt(result.deletedCount, 'deletedCount'),
    skippedCount: unsignedAt(result.skippedCount, 'skippedCount'),
  }),
  get: (result) => ({
    points: listAt(result.points, 'points').map((point, i) => storedPointAt(point, `points[${i}]`)),
    appliedIndex: unsignedAt(result.appliedIndex, 'appliedIndex'),
  }),
  search: checkSearchResult,
  count: (result) => ({
    count: unsignedAt(result.count, 'count'),
    appliedIndex: unsignedAt(result.appliedIndex, 'appliedIndex'),
  }),
  scroll: (result) => ({
    points: listAt(result.points, 'points').map((point, i) => storedPointAt(point, `points[${i}]`)),
    next: result.next === null ? null : pointIdAt(result.next, 'next'),
    appliedIndex: unsignedAt(result.appliedIndex, 'appliedIndex'),
  }),
  status: (result) => parse(statusResultSchema, result),
  listMembers: (result) => parse(listMembersResultSchema, result),
  addMember: (result) => parse(changeMembersResultSchema, result),
  removeMember: (result) => parse(changeMembersResultSchema, result),
  replaceMember: (result) => parse(changeMembersResultSchema, result),
  promoteMember: (result) => parse(changeMembersResultSchema, result),
  demoteMember: (result) => parse(changeMembersResultSchema, result),
  updateMember: (result) => parse(changeMembersResultSchema, result),
  setLeases: (result) => parse(changeMembersResultSchema, result),
  transferLeadership: (result) => parse(transferLeadershipResultSchema, result),
};

/**
 * The result of a request of `kind`, checked and with vectors as Float32Array.
 * @throws HoldfastError (any code) when it is not such a result
 */
export function checkResult<Kind extends RequestKind>(kind: Kind, result: unknown): ResultOf<Kind> {
  const check: (result: Fields) => ResultOf<Kind> = CHECKS[kind];
  return check(fieldsAt(result, 'result'));
}

function writeResultOf(result: Fields): UpsertResult {
  return { index: positiveAt(result.index, 'index'), term: positiveAt(result.term, 'term') };
}

function checkSearchResult(result: Fields): SearchResult {
  return {
    hits: listAt(result.hits, 'hits').map((hit, i) => hitAt(hit, `hits[${i}]`)),
    appliedIndex: unsignedAt(result.appliedIndex, 'appliedIndex'),
    plan: planAt(result.plan),
    degraded: listAt(result.degraded, 'degraded').map(degradedAt),
  };
}

function degradedAt(value: unknown): DegradedLayer {
  const { layer, shard } = fieldsAt(value, 'degraded');
  const known = SEARCH_LAYERS.find((name) => name === layer);
  if (known === undefined) throw invalid('degraded', 'a list of layers and shards');
  return { layer: known, shard: unsignedAt(shard, 'degraded.shard') };
}

function planAt(value: unknown): SearchPlan {
  const plan = fieldsAt(value, 'plan');
  return {
    graphRowCount: unsignedAt(plan.graphRowCount, 'plan.graphRowCount'),
    exactRowCount: unsignedAt(plan.exactRowCount, 'plan.exactRowCount'),
    shardCount: unsignedAt(plan.shardCount, 'plan.shardCount'),
    ...(plan.filter === undefined ? {} : { filter: filterPlanAt(plan.filter) }),
  };
}

function filterPlanAt(value: unknown): FilterPlan {
  const plan = fieldsAt(value, 'plan.filter');
  const count = (name: keyof FilterPlan): number => unsignedAt(plan[name], `plan.filter.${name}`);
  return {
    matchedRowCount: count('matchedRowCount'),
    evaluatedRowCount: count('evaluatedRowCount'),
    indexedShardCount: count('indexedShardCount'),
    exactShardCount: count('exactShardCount'),
    graphShardCount: count('graphShardCount'),
    fallbackShardCount: count('fallbackShardCount'),
  };
}

function hitAt(value: unknown, path: string): SearchHit {
  const { score } = fieldsAt(value, path);
  if (typeof score !== 'number') throw invalid(`${path}.score`, 'a number');
  return { ...storedPointAt(value, path), score };
}

function storedPointAt(value: unknown, path: string): StoredPoint {
  const fields = fieldsAt(value, path);
  const { vector, payload } = fields;
  return {
    id: pointIdAt(fields.id, `${path}.id`),
    version: positiveAt(fields.version, `${path}.version`),
    ...(vector === undefined ? {} : { vector: answeredVectorAt(vector, `${path}.vector`) }),
    ...(payload === undefined
      ? {}
      : { payload: fieldsAt(payload, `${path}.payload`) as JsonObject }),
  };
}

/** A copy: the caller may keep one vector without keeping the whole frame. */
function answeredVectorAt(value: unknown, path: string): Float32Array {
  const vector = value instanceof Uint8Array ? vectorFromBytes(value) : null;
  if (vector === null) throw invalid(path, 'a bin of float32');
  return vector.slice();
}

const positiveAt = (value: unknown, path: string): number => integerAt(value, SAFE_POSITIVE, path);
const unsignedAt = (value: unknown, path: string): number => integerAt(value, SAFE_UNSIGNED, path);
