/** The data model that lanes know. Validated at the edge by the protocol package. */
import type { ChecksumAlgorithm } from '@holdfast/storage';

export type Metric = 'l2' | 'cosine' | 'innerProduct';

export interface HnswOptions {
  readonly m: number;
  readonly efConstruction: number;
  readonly efSearch: number;
}

export type GraphEngineName = 'hnswlib' | 'usearch';
/** How graphs store vectors to find candidates; scores always come from the f32 rows. */
export type GraphPrecision = 'f32' | 'bf16';

/**
 * What the collection asks for. Graphs are local caches, so a node that cannot load the engine
 * takes the other one and says so in its statistics.
 */
export interface GraphChoice {
  readonly engine: GraphEngineName | 'auto';
  readonly precision: GraphPrecision;
}

export type PayloadIndexType = 'keyword' | 'integer' | 'float' | 'bool' | 'datetime';

export interface PayloadIndexDefinition {
  /** Key path as in filters; at most one index each. */
  readonly key: string;
  readonly type: PayloadIndexType;
}

/** A collection as the log defines it: equal on every replica. */
export interface CollectionDefinition {
  /** Log index of the entry that created it: never reused, names its folder. */
  readonly uid: number;
  readonly name: string;
  readonly dimension: number;
  readonly metric: Metric;
  readonly shardCount: number;
  readonly hnsw: HnswOptions;
  readonly graph: GraphChoice;
  /** A growing segment is sealed by apply when it holds this many rows ... */
  readonly sealRowCount: number;
  /** ... or this many bytes of rows, whichever comes first. */
  readonly sealSizeBytes: number;
  /** Of the blocks of files sealed from now on; each file says which one it has. */
  readonly checksumAlgorithm: ChecksumAlgorithm;
  /** Absent: none. What is declared is logical; the indexes are each node's own. */
  readonly payloadIndexes?: readonly PayloadIndexDefinition[];
}

/** Unsigned integer up to 2^53 - 1, or a lower-case UUID string. */
export type PointId = number | string;

export interface PointRecord {
  readonly id: PointId;
  /** Log index of the write that made this version. */
  readonly version: number;
  readonly vector: Float32Array | null;
  /** Canonical JSON (UTF-8), null when not asked for. */
  readonly payload: Uint8Array | null;
}
