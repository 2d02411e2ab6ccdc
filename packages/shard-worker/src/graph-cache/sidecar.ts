/**
 * The sidecar of a saved graph: small checked JSON that says what the graph file must be, so that
 * everything about it is decided before native code sees a byte of it.
 */
import type { FileSystem } from '@holdfast/storage';
import { JsonFields, readAtomicJson, writeAtomicJson } from '@holdfast/storage';
import type { GraphBuild, GraphOptions } from '../graph/graph.ts';

const FORMAT = { format: 'holdfast-graph', version: 1 } as const;

export interface GraphSidecar {
  /** ChecksummedFileFacts.checksum of the graph file: sha256 over every byte of it. */
  readonly checksum: string;
  readonly sizeBytes: number;
  readonly timestampMs: number;
  readonly uid: number;
  readonly shard: number;
  /** Rows of the graph go no further than this entry of the log. */
  readonly logIndex: number;
  readonly engine: string;
  readonly engineVersion: string;
  readonly precision: string;
  readonly dimension: number;
  readonly metric: string;
  readonly m: number;
  readonly efConstruction: number;
  /** Live rows when it was saved. */
  readonly vectorCount: number;
  readonly labelCount: number;
  /** xxh3 of the label section: which rows, in which order. */
  readonly rowOrderDigest: string;
}

/** What must be equal for a graph to be of use here. */
export type GraphFit = Pick<
  GraphSidecar,
  | 'uid'
  | 'shard'
  | 'engine'
  | 'engineVersion'
  | 'precision'
  | 'dimension'
  | 'metric'
  | 'm'
  | 'efConstruction'
>;

export function fitOf(
  place: { readonly uid: number; readonly shard: number },
  { dimension, metric, hnsw }: GraphOptions,
  { engine, engineVersion, precision }: GraphBuild,
): GraphFit {
  const { uid, shard } = place;
  const { m, efConstruction } = hnsw;
  return { uid, shard, engine, engineVersion, precision, dimension, metric, m, efConstruction };
}

/** The first field in which a saved graph does not fit; null when it does. */
export function misfitOf(sidecar: GraphSidecar, fit: GraphFit): string | null {
  for (const name of Object.keys(fit) as (keyof GraphFit)[])
    if (sidecar[name] !== fit[name]) return name;
  return null;
}

/** @throws HoldfastError FILE_IO */
export function writeSidecar(fs: FileSystem, path: string, sidecar: GraphSidecar): void {
  writeAtomicJson(fs, path, FORMAT, sidecar);
}

/** @throws HoldfastError FILE_CORRUPT, FORMAT_UNKNOWN, FILE_IO */
export function readSidecar(fs: FileSystem, path: string): GraphSidecar {
  const fields = new JsonFields(path, readAtomicJson(fs, path, FORMAT));
  return {
    checksum: fields.matching('checksum', /^[0-9a-f]{64}$/),
    sizeBytes: fields.integer('sizeBytes'),
    timestampMs: fields.integer('timestampMs'),
    uid: fields.integer('uid'),
    shard: fields.integer('shard'),
    logIndex: fields.integer('logIndex'),
    engine: fields.text('engine'),
    engineVersion: fields.text('engineVersion'),
    precision: fields.text('precision'),
    dimension: fields.integer('dimension'),
    metric: fields.text('metric'),
    m: fields.integer('m'),
    efConstruction: fields.integer('efConstruction'),
    vectorCount: fields.integer('vectorCount'),
    labelCount: fields.integer('labelCount'),
    rowOrderDigest: fields.matching('rowOrderDigest', /^[0-9a-f]{16}$/),
  };
}
