/** Nearest neighbours of one vector. */
import { z } from 'zod';
import type { Draft, Fields } from './check.ts';
import { booleanAt, integerAt, refuseUnknown } from './check.ts';
import type { ReadOptions, RequestBase } from './common.ts';
import {
  collectionNameAt,
  collectionNameSchema,
  draftRequest,
  readOptionsInto,
  readOptionsShape,
  requestBaseShape,
  safeUnsignedSchema,
} from './common.ts';
import type { StoredPoint, WithOptions } from './get.ts';
import { storedPointSchema, withOptionsInto, withShape } from './get.ts';
import { EF_MAX, SEARCH_K_MAX } from './limits.ts';
import { vectorAt, vectorSchema } from './vector.ts';

export const searchSchema = z
  .strictObject({
    ...requestBaseShape,
    ...readOptionsShape,
    ...withShape,
    kind: z.literal('search'),
    collection: collectionNameSchema,
    vector: vectorSchema,
    k: z.int().min(1).max(SEARCH_K_MAX),
    ef: z
      .int()
      .min(1)
      .max(EF_MAX)
      .exactOptional()
      .describe('Beam width; default is the efSearch of the collection, at least k.'),
    exact: z.boolean().exactOptional().describe('True: compare with every point, no graph.'),
  })
  .refine((request) => request.maxStalenessMs === undefined || request.consistency === 'stale')
  .describe('Finds the k nearest points. Ordered by score, best first, then by id.');

export interface SearchRequest extends RequestBase, ReadOptions, WithOptions {
  readonly kind: 'search';
  readonly collection: string;
  readonly vector: Float32Array;
  readonly k: number;
  readonly ef?: number;
  readonly exact?: boolean;
}

export const searchHitSchema = storedPointSchema.extend({
  score: z
    .number()
    .describe(
      'l2: Euclidean distance, smaller is nearer; cosine, innerProduct: similarity, larger is nearer.',
    ),
});

export interface SearchHit extends StoredPoint {
  /** l2: distance, smaller is nearer; cosine and innerProduct: similarity, larger is nearer. */
  readonly score: number;
}

export const searchPlanSchema = z.strictObject({
  graphRowCount: safeUnsignedSchema.describe('Rows covered by graphs.'),
  exactRowCount: safeUnsignedSchema.describe('Rows compared one by one.'),
  shardCount: safeUnsignedSchema,
});
export type SearchPlan = Readonly<z.infer<typeof searchPlanSchema>>;

export const searchResultSchema = z.strictObject({
  hits: z.array(searchHitSchema),
  appliedIndex: safeUnsignedSchema,
  plan: searchPlanSchema,
  degraded: z.array(z.string()).describe('Shards that could not answer; empty when complete.'),
});

export interface SearchResult {
  readonly hits: readonly SearchHit[];
  readonly appliedIndex: number;
  readonly plan: SearchPlan;
  readonly degraded: readonly string[];
}

const FIELDS: ReadonlySet<string> = new Set([
  'id',
  'kind',
  'timeoutMs',
  'consistency',
  'maxStalenessMs',
  'collection',
  'vector',
  'k',
  'ef',
  'exact',
  'withVector',
  'withPayload',
]);
const K_RANGE = { min: 1, max: SEARCH_K_MAX };
const EF_RANGE = { min: 1, max: EF_MAX };

/** @throws HoldfastError REQUEST_INVALID, VECTOR_INVALID */
export function checkSearch(fields: Fields): SearchRequest {
  refuseUnknown(fields, FIELDS, '');
  const draft = draftRequest(fields, 'search');
  readOptionsInto(draft, fields);
  withOptionsInto(draft, fields);
  const request: Draft<SearchRequest> = Object.assign(draft, {
    collection: collectionNameAt(fields.collection, 'collection'),
    vector: vectorAt(fields.vector, 'vector'),
    k: integerAt(fields.k, K_RANGE, 'k'),
  });
  const { ef, exact } = fields;
  if (ef !== undefined) request.ef = integerAt(ef, EF_RANGE, 'ef');
  if (exact !== undefined) request.exact = booleanAt(exact, 'exact');
  return request;
}
