export type { ErrorCode, RetryAdvice } from '@holdfast/base';
export { ERROR_CODES, HoldfastError } from '@holdfast/base';
export type {
  CollectionDescription,
  Consistency,
  CountResult,
  CreateCollectionResult,
  DeletePoint,
  DeleteResult,
  DropCollectionResult,
  GetResult,
  HnswParameters,
  JsonObject,
  JsonValue,
  LeaderHint,
  Metric,
  PointId,
  ReadOptions,
  SearchHit,
  SearchPlan,
  SearchResult,
  StatusResult,
  StoredPoint,
  UpsertResult,
  WithOptions,
} from '@holdfast/protocol';
export type { ClientEvents, CreateCollectionOptions } from './client.ts';
export { HoldfastClient } from './client.ts';
export type { GetOptions, PointInput, SearchOptions } from './collection.ts';
export { Collection } from './collection.ts';
export type { ConnectOptions, RequestOptions } from './options.ts';
export type { Transport, TransportConnection, TransportHandlers } from './transport.ts';
export type { UpsertManyOptions, UpsertManyProgress, UpsertManyResult } from './upsert-many.ts';
