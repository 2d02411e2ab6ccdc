/** Making, dropping and listing collections. */
import { z } from 'zod';
import {
  collectionNameSchema,
  readOptionsShape,
  requestBaseShape,
  safePositiveSchema,
  safeUnsignedSchema,
  sessionStampSchema,
} from './common.ts';
import {
  DIMENSION_MAX,
  DROP_RETENTION_MS_MAX,
  EF_MAX,
  HNSW_M_MAX,
  SHARD_COUNT_MAX,
} from './limits.ts';
import { payloadIndexesSchema } from './payload-index.ts';

export const metricSchema = z.enum(['l2', 'cosine', 'innerProduct']);
export type Metric = z.infer<typeof metricSchema>;

const dimensionSchema = z.int().min(1).max(DIMENSION_MAX);
const shardCountSchema = z.int().min(1).max(SHARD_COUNT_MAX);
const mSchema = z.int().min(2).max(HNSW_M_MAX);
const efSchema = z.int().min(1).max(EF_MAX);
const hnswSchema = z.strictObject({ m: mSchema, efConstruction: efSchema, efSearch: efSchema });
/** What is left out gets the default. */
const hnswRequestSchema = z.strictObject({
  m: mSchema.exactOptional(),
  efConstruction: efSchema.exactOptional(),
  efSearch: efSchema.exactOptional(),
});
/** Parameters of the graph: links per node, beam width while building and while searching. */
export type HnswParameters = Readonly<z.infer<typeof hnswSchema>>;

const graphEngineSchema = z
  .enum(['auto', 'hnswlib', 'usearch'])
  .describe('auto: the faster of those the node can load. A wish: a node without it uses another.');
const graphPrecisionSchema = z
  .enum(['f32', 'bf16'])
  .describe('How graphs store vectors; scores are exact at either. bf16 needs usearch.');
const graphSchema = z.strictObject({ engine: graphEngineSchema, precision: graphPrecisionSchema });
/** What is left out gets the default. */
const graphRequestSchema = z
  .strictObject({
    engine: graphEngineSchema.exactOptional(),
    precision: graphPrecisionSchema.exactOptional(),
  })
  .refine((graph) => !(graph.engine === 'hnswlib' && graph.precision === 'bf16'), {
    path: ['precision'],
    error: 'must be f32 with engine hnswlib; leave the engine out for bf16',
  });
/** Which library keeps the graph, and at which precision: a local matter of each node. */
export type GraphParameters = Readonly<z.infer<typeof graphSchema>>;

/** What `createCollection` uses where the request says nothing. */
export const HNSW_DEFAULTS: HnswParameters = { m: 16, efConstruction: 128, efSearch: 64 };
/**
 * bf16 halves the memory of a graph, but vectors that differ only in their last digits become one:
 * a choice for the owner of the data.
 */
export const GRAPH_DEFAULTS: GraphParameters = { engine: 'auto', precision: 'f32' };
/** Two shards use both cores of a small machine; more is the caller's choice. */
export const SHARD_COUNT_DEFAULT = 2;

/** Of the blocks of data files; every file says which one it has, so mixed ones stay readable. */
export const checksumAlgorithmSchema = z.enum(['crc32c', 'xxhash3', 'sha256']);
export type ChecksumAlgorithmName = z.infer<typeof checksumAlgorithmSchema>;
/** Finds every error a disk makes at the least cost; sha256 where a rule asks for it. */
export const CHECKSUM_ALGORITHM_DEFAULT: ChecksumAlgorithmName = 'xxhash3';

export const collectionDescriptionSchema = z.strictObject({
  name: collectionNameSchema,
  dimension: dimensionSchema,
  metric: metricSchema,
  shardCount: shardCountSchema,
  hnsw: hnswSchema,
  graph: graphSchema,
  checksumAlgorithm: checksumAlgorithmSchema.describe('Of files written from now on.'),
  payloadIndexes: payloadIndexesSchema,
  createdIndex: safePositiveSchema.describe('Log index of the entry that created it.'),
});
export type CollectionDescription = Readonly<z.infer<typeof collectionDescriptionSchema>>;

export const createCollectionSchema = z
  .strictObject({
    ...requestBaseShape,
    kind: z.literal('createCollection'),
    session: sessionStampSchema.exactOptional(),
    name: collectionNameSchema,
    dimension: dimensionSchema,
    metric: metricSchema,
    shardCount: shardCountSchema.exactOptional(),
    hnsw: hnswRequestSchema.exactOptional(),
    graph: graphRequestSchema.exactOptional(),
    checksumAlgorithm: checksumAlgorithmSchema.exactOptional(),
    payloadIndexes: payloadIndexesSchema
      .exactOptional()
      .describe('With ifNotExists an equal collection has at least these.'),
    ifNotExists: z
      .boolean()
      .exactOptional()
      .describe('True: an equal collection that exists is the answer, not an error.'),
    isHidden: z
      .boolean()
      .exactOptional()
      .describe(
        'True: for points that are restored. Nobody sees it, writes name its uid, and the name is ' +
          'only taken when it is published; see finishCollection.',
      ),
  })
  .refine((request) => request.isHidden !== true || request.ifNotExists !== true, {
    path: ['ifNotExists'],
    error: 'must be left out with isHidden',
  })
  .describe('Creates a collection.');
export type CreateCollectionRequest = Readonly<z.infer<typeof createCollectionSchema>>;

export const createCollectionResultSchema = z.strictObject({
  index: safePositiveSchema,
  term: safePositiveSchema,
  collection: collectionDescriptionSchema,
});
export type CreateCollectionResult = Readonly<z.infer<typeof createCollectionResultSchema>>;

export const dropCollectionSchema = z
  .strictObject({
    ...requestBaseShape,
    kind: z.literal('dropCollection'),
    session: sessionStampSchema.exactOptional(),
    name: collectionNameSchema,
    retentionMs: z
      .int()
      .min(0)
      .max(DROP_RETENTION_MS_MAX)
      .exactOptional()
      .describe('So long it can be undeleted; 0: it is gone at once. Default: as the node is set.'),
  })
  .describe('Drops a collection and all its points. Its name is free at once.');
export type DropCollectionRequest = Readonly<z.infer<typeof dropCollectionSchema>>;

export const dropCollectionResultSchema = z.strictObject({
  index: safePositiveSchema,
  term: safePositiveSchema,
  isDropped: z.boolean().describe('False: there was no such collection.'),
  hidden: z
    .strictObject({ uid: safePositiveSchema, purgeAtMs: z.number() })
    .exactOptional()
    .describe('What undeleteCollection needs, and until when. Absent: the points are gone.'),
});
export type DropCollectionResult = Readonly<z.infer<typeof dropCollectionResultSchema>>;

export const updateCollectionSchema = z
  .strictObject({
    ...requestBaseShape,
    kind: z.literal('updateCollection'),
    session: sessionStampSchema.exactOptional(),
    name: collectionNameSchema,
    checksumAlgorithm: checksumAlgorithmSchema,
  })
  .describe('Changes the checksum algorithm of files that are written from now on.');
export type UpdateCollectionRequest = Readonly<z.infer<typeof updateCollectionSchema>>;

export const updateCollectionResultSchema = createCollectionResultSchema;
export type UpdateCollectionResult = CreateCollectionResult;

export const listCollectionsSchema = z
  .strictObject({
    ...requestBaseShape,
    ...readOptionsShape,
    kind: z.literal('listCollections'),
    includeDeleted: z.boolean().exactOptional().describe('True: hidden ones too, apart.'),
  })
  .refine((request) => request.maxStalenessMs === undefined || request.consistency === 'stale', {
    path: ['maxStalenessMs'],
    error: 'must be left out unless consistency is stale',
  })
  .describe('Lists all collections.');
export type ListCollectionsRequest = Readonly<z.infer<typeof listCollectionsSchema>>;

export const hiddenCollectionSchema = z.strictObject({
  collection: collectionDescriptionSchema.describe('Its name may belong to another one by now.'),
  state: z
    .enum(['dropped', 'restoring', 'ready'])
    .describe('dropped: can be undeleted. restoring: takes points. ready: can be published.'),
  sinceMs: z.number().describe('Log time, ms since 1970: when it was dropped, or begun.'),
  purgeAtMs: z.number().describe('Log time from which on its points are let go.'),
});
export type HiddenCollectionDescription = Readonly<z.infer<typeof hiddenCollectionSchema>>;

export const listCollectionsResultSchema = z.strictObject({
  collections: z.array(collectionDescriptionSchema),
  hidden: z.array(hiddenCollectionSchema).exactOptional().describe('If they were asked for.'),
  appliedIndex: safeUnsignedSchema,
});
export type ListCollectionsResult = Readonly<z.infer<typeof listCollectionsResultSchema>>;
