/** Get points by id, and count points. */
import { z } from 'zod';
import type { Draft, Fields } from './check.ts';
import { booleanAt, checkItem, invalid, listAt, refuseUnknown } from './check.ts';
import type { ReadOptions, RequestBase } from './common.ts';
import {
  collectionNameAt,
  collectionNameSchema,
  draftRequest,
  readOptionsInto,
  readOptionsShape,
  requestBaseShape,
  safePositiveSchema,
  safeUnsignedSchema,
} from './common.ts';
import type { Filter } from './filter.ts';
import { filterInto, filterSchema } from './filter.ts';
import { GET_ID_COUNT_MAX } from './limits.ts';
import type { JsonObject } from './payload.ts';
import { payloadSchema } from './payload.ts';
import type { PointId } from './point-id.ts';
import { pointIdAt, pointIdSchema } from './point-id.ts';
import { vectorSchema } from './vector.ts';

export const isStalenessPlaced = (request: {
  readonly consistency?: string | undefined;
  readonly maxStalenessMs?: number | undefined;
}): boolean => request.maxStalenessMs === undefined || request.consistency === 'stale';

/** What comes back with each point of a get or search. */
export const withShape = {
  withVector: z.boolean().exactOptional().describe('Answer vectors too. Default false.'),
  withPayload: z.boolean().exactOptional().describe('Answer payloads too. Default true.'),
};

export interface WithOptions {
  /** Default false. */
  readonly withVector?: boolean;
  /** Default true. */
  readonly withPayload?: boolean;
}

export const getSchema = z
  .strictObject({
    ...requestBaseShape,
    ...readOptionsShape,
    ...withShape,
    kind: z.literal('get'),
    collection: collectionNameSchema,
    ids: z.array(pointIdSchema).min(1).max(GET_ID_COUNT_MAX),
  })
  .refine(isStalenessPlaced)
  .describe('Reads points by id; ids that do not exist are left out of the answer.');

export interface GetRequest extends RequestBase, ReadOptions, WithOptions {
  readonly kind: 'get';
  readonly collection: string;
  readonly ids: readonly PointId[];
}

export const storedPointSchema = z.strictObject({
  id: pointIdSchema,
  version: safePositiveSchema,
  vector: vectorSchema.exactOptional(),
  payload: payloadSchema.exactOptional(),
});

export interface StoredPoint {
  readonly id: PointId;
  /** Log index of its last write. */
  readonly version: number;
  readonly vector?: Float32Array;
  readonly payload?: JsonObject;
}

export const getResultSchema = z.strictObject({
  points: z.array(storedPointSchema),
  appliedIndex: safeUnsignedSchema,
});

export interface GetResult {
  readonly points: readonly StoredPoint[];
  readonly appliedIndex: number;
}

export const countSchema = z
  .strictObject({
    ...requestBaseShape,
    ...readOptionsShape,
    kind: z.literal('count'),
    collection: collectionNameSchema,
    filter: filterSchema.exactOptional().describe('Only points that match it.'),
  })
  .refine(isStalenessPlaced)
  .describe('Counts the points of a collection, or those that match a filter. Always exact.');

export interface CountRequest extends RequestBase, ReadOptions {
  readonly kind: 'count';
  readonly collection: string;
  /** Only points that match it. */
  readonly filter?: Filter;
}

export const countResultSchema = z.strictObject({
  count: safeUnsignedSchema,
  appliedIndex: safeUnsignedSchema,
});

export interface CountResult {
  readonly count: number;
  readonly appliedIndex: number;
}

const READ_FIELDS = ['id', 'kind', 'timeoutMs', 'consistency', 'maxStalenessMs', 'collection'];
const COUNT_FIELDS: ReadonlySet<string> = new Set([...READ_FIELDS, 'filter']);
const GET_FIELDS: ReadonlySet<string> = new Set([
  ...READ_FIELDS,
  'ids',
  'withVector',
  'withPayload',
]);

/** @throws HoldfastError REQUEST_INVALID, POINT_ID_INVALID */
export function checkGet(fields: Fields): GetRequest {
  refuseUnknown(fields, GET_FIELDS, '');
  const list = listAt(fields.ids, 'ids');
  if (list.length === 0 || list.length > GET_ID_COUNT_MAX) {
    throw invalid('ids', `a list of 1 to ${GET_ID_COUNT_MAX}; split the request`);
  }
  const draft = draftRequest(fields, 'get');
  readOptionsInto(draft, fields);
  withOptionsInto(draft, fields);
  return Object.assign(draft, {
    collection: collectionNameAt(fields.collection, 'collection'),
    ids: list.map((_, i) => checkItem(list, i, 'ids', (id) => pointIdAt(id, ''))),
  });
}

/** @throws HoldfastError REQUEST_INVALID, FILTER_INVALID */
export function checkCount(fields: Fields): CountRequest {
  refuseUnknown(fields, COUNT_FIELDS, '');
  const draft = draftRequest(fields, 'count');
  readOptionsInto(draft, fields);
  const request: Draft<CountRequest> = Object.assign(draft, {
    collection: collectionNameAt(fields.collection, 'collection'),
  });
  filterInto(request, fields);
  return request;
}

export function withOptionsInto(draft: Draft<WithOptions>, fields: Fields): void {
  const { withVector, withPayload } = fields;
  if (withVector !== undefined) draft.withVector = booleanAt(withVector, 'withVector');
  if (withPayload !== undefined) draft.withPayload = booleanAt(withPayload, 'withPayload');
}
