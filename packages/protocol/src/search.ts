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
import type { Filter } from './filter.ts';
import { filterInto, filterSchema } from './filter.ts';
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
    filter: filterSchema.exactOptional().describe('Only points that match it.'),
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
  /** Only points that match it. */
  readonly filter?: Filter;
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

export const filterPlanSchema = z.strictObject({
  matchedRowCount: safeUnsignedSchema.describe('Rows that match; an estimate by graphShardCount.'),
  evaluatedRowCount: safeUnsignedSchema.describe('Rows whose payload was read to decide.'),
  indexedShardCount: safeUnsignedSchema.describe('Shards where an index narrowed the rows.'),
  exactShardCount: safeUnsignedSchema.describe('Shards that compared the matching rows.'),
  graphShardCount: safeUnsignedSchema.describe('Shards that asked the graph for more and chose.'),
  fallbackShardCount: safeUnsignedSchema.describe(
    'Shards where the graph gave fewer than k, so that the matching rows were compared.',
  ),
});
export type FilterPlan = Readonly<z.infer<typeof filterPlanSchema>>;

export const searchPlanSchema = z.strictObject({
  graphRowCount: safeUnsignedSchema.describe('Rows covered by graphs.'),
  exactRowCount: safeUnsignedSchema.describe('Rows compared one by one.'),
  shardCount: safeUnsignedSchema,
  filter: filterPlanSchema.exactOptional().describe('Of a search with a filter.'),
});
export type SearchPlan = Readonly<z.infer<typeof searchPlanSchema>>;

export const SEARCH_LAYERS = ['graph', 'tail'] as const;

export const degradedLayerSchema = z.strictObject({
  layer: z
    .enum(SEARCH_LAYERS)
    .describe(
      'tail: the newest points of the shard were not all compared in time. ' +
        'graph: it was too slow lately and left out, every point was compared instead.',
    ),
  shard: safeUnsignedSchema,
});
export type DegradedLayer = Readonly<z.infer<typeof degradedLayerSchema>>;

export const searchResultSchema = z.strictObject({
  hits: z.array(searchHitSchema),
  appliedIndex: safeUnsignedSchema,
  plan: searchPlanSchema,
  degraded: z
    .array(degradedLayerSchema)
    .describe('What was left out of the answer, shard by shard; empty when nothing was.'),
});

export interface SearchResult {
  readonly hits: readonly SearchHit[];
  readonly appliedIndex: number;
  readonly plan: SearchPlan;
  readonly degraded: readonly DegradedLayer[];
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
  'filter',
  'withVector',
  'withPayload',
]);
const K_RANGE = { min: 1, max: SEARCH_K_MAX };
const EF_RANGE = { min: 1, max: EF_MAX };

/** @throws HoldfastError REQUEST_INVALID, VECTOR_INVALID, FILTER_INVALID */
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
  filterInto(request, fields);
  return request;
}
