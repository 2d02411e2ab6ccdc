export type { ErrorCode, RetryAdvice } from '@holdfast/base';
export { ERROR_CODES, HoldfastError, keyPath } from '@holdfast/base';
export type {
  ChangeMembersResult,
  ChecksumAlgorithmName,
  CollectionDescription,
  Consistency,
  CountResult,
  CreateCollectionResult,
  CreatePayloadIndexResult,
  DegradedLayer,
  DeleteByFilterResult,
  DeletePoint,
  DeleteResult,
  DigestCollectionResult,
  DropCollectionResult,
  DropPayloadIndexResult,
  Filter,
  FilterCondition,
  FilterMatch,
  FilterPlan,
  FilterRange,
  FilterValue,
  GetResult,
  GraphParameters,
  HiddenCollectionDescription,
  HnswParameters,
  JsonObject,
  JsonValue,
  LeaderHint,
  ListMembersResult,
  MemberInfo,
  Metric,
  PayloadIndex,
  PayloadIndexType,
  PointId,
  ReadOptions,
  ScrollResult,
  SearchHit,
  SearchPlan,
  SearchResult,
  StatusResult,
  StoredPoint,
  TransferLeadershipResult,
  UpdateCollectionResult,
  UpsertResult,
  WithOptions,
} from '@holdfast/protocol';
export type { AddMemberOptions, ReplaceMemberOptions, UpdateMemberOptions } from './admin.ts';
export { Admin } from './admin.ts';
export type {
  ClientEvents,
  CreateCollectionOptions,
  DropCollectionOptions,
} from './client.ts';
export { HoldfastClient } from './client.ts';
export type {
  CountOptions,
  DeleteByFilterOptions,
  GetOptions,
  PointInput,
  ScrollOptions,
  SearchOptions,
} from './collection.ts';
export { Collection } from './collection.ts';
export type {
  DigestOptions,
  ExpectedContent,
  HiddenDefinition,
  HiddenTarget,
  UndeleteOptions,
} from './collections.ts';
export { Collections } from './collections.ts';
export type { ConnectOptions, RequestOptions } from './options.ts';
export type { Transport, TransportConnection, TransportHandlers } from './transport.ts';
export type { UpsertManyOptions, UpsertManyProgress, UpsertManyResult } from './upsert-many.ts';
