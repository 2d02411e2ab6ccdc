/**
 * The durable list of one shard's segments at one log index: a checksummed file whose content is
 * `u32 JSON size, JSON, tombstones` with the tombstones of each segment in list order as
 * `u32 positions, f64 log indexes`. The JSON is for people and tools; everything in it is logical
 * state except paths. It names every file the shard needs, so a set of manifests is a checkpoint.
 */
import { assert, HoldfastError } from '@holdfast/base';
import type { ChecksumAlgorithm, ChecksummedFileFacts, FileSystem } from '@holdfast/storage';
import {
  ChecksummedFileReader,
  digestChecksummedFile,
  joinPath,
  writeChecksummedFile,
} from '@holdfast/storage';
import type { ShardManifestReference } from '../tasks.ts';

export const MANIFEST_VERSION = 2;

export interface ManifestFile {
  /** Relative to the data directory. */
  readonly path: string;
  readonly checksum: string;
  readonly sizeBytes: number;
}

export interface ManifestSegment extends ManifestFile {
  readonly ordinal: number;
  readonly checksumAlgorithm: ChecksumAlgorithm;
  readonly rowCount: number;
  /** Of its records: what the merge policy counts. */
  readonly contentSizeBytes: number;
  readonly tombstoneCount: number;
}

export interface ShardManifest {
  readonly version: number;
  readonly uid: number;
  readonly shard: number;
  readonly dimension: number;
  readonly appliedIndex: number;
  readonly digest: string;
  readonly liveRowCount: number;
  /** Ordinals given away so far. */
  readonly ordinalCount: number;
  /** In row order. */
  readonly segments: readonly ManifestSegment[];
  readonly growing: {
    /** Counts for sealing: rows that died since are included. */
    readonly rowCount: number;
    readonly sizeBytes: number;
    readonly liveRowCount: number;
    /** Null when no row of the growing part is live. */
    readonly file: ManifestFile | null;
  };
}

export interface Tombstones {
  readonly positions: readonly number[];
  readonly indexes: readonly number[];
}

export interface LoadedManifest {
  readonly manifest: ShardManifest;
  /** One per segment. */
  readonly tombstones: readonly Tombstones[];
}

export function writeManifest(
  fs: FileSystem,
  dataDirectory: string,
  path: string,
  { manifest, tombstones }: LoadedManifest,
  algorithm: ChecksumAlgorithm,
): ChecksummedFileFacts {
  assert(tombstones.length === manifest.segments.length, 'tombstones come per segment');
  const json = new TextEncoder().encode(JSON.stringify(manifest));
  const size = new Uint8Array(4);
  new DataView(size.buffer).setUint32(0, json.byteLength, true);
  return writeChecksummedFile(fs, joinPath(dataDirectory, path), { kind: 'manifest', algorithm }, [
    size,
    json,
    ...tombstones.map(encodeTombstones),
  ]);
}

function encodeTombstones({ positions, indexes }: Tombstones): Uint8Array {
  const bytes = new Uint8Array(positions.length * 12);
  const view = new DataView(bytes.buffer);
  positions.forEach((position, i) => {
    view.setUint32(i * 4, position, true);
    view.setFloat64(positions.length * 4 + i * 8, indexes[i]!, true);
  });
  return bytes;
}

/**
 * The manifest that `reference` names, its checksum and every field it is used by verified.
 * @throws HoldfastError CHECKPOINT_CORRUPT, FORMAT_UNKNOWN, FILE_IO
 */
export function readManifest(
  fs: FileSystem,
  dataDirectory: string,
  reference: ShardManifestReference,
): LoadedManifest {
  const path = joinPath(dataDirectory, reference.manifestPath);
  if (!fs.exists(path)) throw manifestCorrupt(path, 'it is missing');
  if (digestChecksummedFile(fs, path) !== reference.checksum)
    throw manifestCorrupt(path, 'its checksum is not the one the checkpoint names');
  const loaded = readManifestFile(fs, path);
  const { manifest } = loaded;
  if (manifest.uid !== reference.uid || manifest.shard !== reference.shard)
    throw manifestCorrupt(path, 'it belongs to another shard');
  return loaded;
}

/**
 * A manifest on its own, for tools: its blocks are verified, not that it is the one that a
 * checkpoint names.
 * @throws HoldfastError CHECKPOINT_CORRUPT, FORMAT_UNKNOWN, FILE_IO
 */
export function readManifestFile(fs: FileSystem, path: string): LoadedManifest {
  const bytes = readVerified(fs, path);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.byteLength < 4) throw manifestCorrupt(path, 'it is cut');
  const jsonEnd = 4 + view.getUint32(0, true);
  if (jsonEnd > bytes.byteLength) throw manifestCorrupt(path, 'it is cut');
  const manifest = parseManifest(new TextDecoder().decode(bytes.subarray(4, jsonEnd)), path);
  let offset = jsonEnd;
  const tombstones: Tombstones[] = [];
  for (const segment of manifest.segments) {
    const end = offset + segment.tombstoneCount * 12;
    if (end > bytes.byteLength) throw manifestCorrupt(path, 'its tombstones are cut');
    tombstones.push(decodeTombstones(view, offset, segment, path));
    offset = end;
  }
  return { manifest, tombstones };
}

function readVerified(fs: FileSystem, path: string): Uint8Array {
  try {
    const reader = ChecksummedFileReader.open(fs, path, 'manifest');
    try {
      return reader.readAll();
    } finally {
      reader.close();
    }
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'FILE_CORRUPT')
      throw manifestCorrupt(path, error.message, error);
    throw error;
  }
}

function decodeTombstones(
  view: DataView,
  offset: number,
  segment: ManifestSegment,
  path: string,
): Tombstones {
  const positions: number[] = [];
  const indexes: number[] = [];
  for (let i = 0; i < segment.tombstoneCount; i++) {
    const position = view.getUint32(offset + i * 4, true);
    if (position >= segment.rowCount) throw manifestCorrupt(path, 'a tombstone is out of range');
    positions.push(position);
    indexes.push(view.getFloat64(offset + segment.tombstoneCount * 4 + i * 8, true));
  }
  return { positions, indexes };
}

function parseManifest(text: string, path: string): ShardManifest {
  let manifest: ShardManifest;
  try {
    manifest = JSON.parse(text) as ShardManifest;
  } catch (cause) {
    throw manifestCorrupt(path, 'its JSON does not parse', cause);
  }
  if (manifest.version !== MANIFEST_VERSION)
    throw new HoldfastError(
      'FORMAT_UNKNOWN',
      `${path} has manifest version ${manifest.version}, this node knows ${MANIFEST_VERSION}; ` +
        (manifest.version === 1
          ? 'version 1 was never released: start this node with an empty data directory.'
          : 'upgrade it.'),
      { details: { path, version: manifest.version } },
    );
  return manifest;
}

export function manifestCorrupt(path: string, what: string, cause?: unknown): HoldfastError {
  return new HoldfastError(
    'CHECKPOINT_CORRUPT',
    `${path} cannot be used: ${what}. Restore this node from a healthy replica.`,
    { details: { path, what }, ...(cause === undefined ? {} : { cause }) },
  );
}
