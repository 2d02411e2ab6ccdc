/**
 * A shard to disk and back. Writing: sealed segments that are not on disk yet, the live rows of the
 * growing part, then the manifest that names them; nothing counts before the node's CHECKPOINT root
 * names the manifest, and no file of an earlier checkpoint is touched. Reading: every checksum is
 * verified, the digest is recomputed from the rows and compared with the manifest's, and a file
 * that disagrees in anything is refused, never repaired here.
 */
import type { LogIndex } from '@holdfast/base';
import { assert, HoldfastError } from '@holdfast/base';
import type { FileSystem } from '@holdfast/storage';
import { isFileIoError, joinPath } from '@holdfast/storage';
import { Shard } from '../engine/shard.ts';
import type { GraphFactory } from '../graph/graph.ts';
import type { CollectionDefinition } from '../model.ts';
import { hashIdBytes } from '../point-id.ts';
import type { ShardManifestReference } from '../tasks.ts';
import type { SegmentFile } from './ledger.ts';
import { SealedSegment } from './ledger.ts';
import type { LoadedManifest, ManifestSegment, Tombstones } from './manifest.ts';
import { MANIFEST_VERSION, manifestCorrupt, readManifest, writeManifest } from './manifest.ts';
import { growingPath, manifestPath, segmentPath, shardDirectory } from './paths.ts';
import { readRowsFile } from './reader.ts';
import { writeRowsFile } from './writer.ts';

export interface CheckpointPlace {
  readonly fs: FileSystem;
  readonly dataDirectory: string;
}

/** @throws HoldfastError FILE_IO; the shard and every earlier checkpoint are as before */
export function writeShardCheckpoint(
  place: CheckpointPlace,
  shard: Shard,
  appliedIndex: LogIndex,
  checkpointId: string,
): ShardManifestReference {
  const { fs, dataDirectory } = place;
  const { uid, dimension } = shard.definition;
  ensureDirectory(place, shard);
  const segments = shard.ledger.sealed.map((segment) => {
    segment.file ??= writeSegment(place, shard, segment);
    return describeSegment(segment, segment.file);
  });
  const growing = shard.ledger.growingLiveRows(shard.rows);
  const growingFile =
    growing.length === 0 ? null : writeGrowing(place, shard, growing, checkpointId);
  const loaded: LoadedManifest = {
    manifest: {
      version: MANIFEST_VERSION,
      uid,
      shard: shard.shard,
      dimension,
      appliedIndex,
      digest: shard.digest.toHex(),
      liveRowCount: shard.rows.liveCount,
      sealedCount: shard.ledger.sealedCount,
      segments,
      growing: {
        rowCount: shard.ledger.growingRowCount,
        sizeBytes: shard.ledger.growingSizeBytes,
        liveRowCount: growing.length,
        file: growingFile,
      },
    },
    tombstones: shard.ledger.sealed.map((segment) => ({
      positions: segment.tombstonePositions,
      indexes: segment.tombstoneIndexes,
    })),
  };
  const path = manifestPath(uid, shard.shard, checkpointId);
  const { checksum } = writeManifest(fs, dataDirectory, path, loaded);
  return { uid, shard: shard.shard, manifestPath: path, checksum };
}

/** Shards whose folder is known to survive a power cut. */
const shardsWithDirectory = new WeakSet<Shard>();

/**
 * Once per shard and process, level by level and even when the folder is there: the process that
 * made it may have died before its name was durable.
 */
function ensureDirectory({ fs, dataDirectory }: CheckpointPlace, shard: Shard): void {
  if (shardsWithDirectory.has(shard)) return;
  const parts = shardDirectory(shard.definition.uid, shard.shard).split('/');
  let path = dataDirectory;
  for (const part of parts) {
    path = joinPath(path, part);
    makeShared(fs, path);
  }
  shardsWithDirectory.add(shard);
}

/** Another lane may make the same folder between the look and the making; then it is there. */
function makeShared(fs: FileSystem, path: string): void {
  try {
    fs.makeDirectory(path);
  } catch (error) {
    if (!isFileIoError(error, 'EEXIST')) throw error;
    fs.makeDirectory(path);
  }
}

function writeSegment(place: CheckpointPlace, shard: Shard, segment: SealedSegment): SegmentFile {
  const path = segmentPath(shard.definition.uid, shard.shard, segment.ordinal);
  assert(segment.rows.length === segment.rowCount, 'an unwritten segment has all its rows', {
    path,
  });
  const file = { kind: 'segment', path } as const;
  const facts = writeRowsFile(place.fs, place.dataDirectory, file, shard, segment.rows);
  return { path, checksum: facts.checksum, sizeBytes: facts.sizeBytes };
}

function writeGrowing(
  place: CheckpointPlace,
  shard: Shard,
  rows: Uint32Array,
  checkpointId: string,
): SegmentFile {
  const path = growingPath(shard.definition.uid, shard.shard, checkpointId);
  const file = { kind: 'growing', path } as const;
  const facts = writeRowsFile(place.fs, place.dataDirectory, file, shard, rows);
  return { path, checksum: facts.checksum, sizeBytes: facts.sizeBytes };
}

const describeSegment = (segment: SealedSegment, file: SegmentFile): ManifestSegment => ({
  ...file,
  ordinal: segment.ordinal,
  rowCount: segment.rowCount,
  tombstoneCount: segment.tombstonePositions.length,
});

/**
 * The shard as it was when `reference` was written. Its graph is empty: it is built afterwards.
 * @throws HoldfastError CHECKPOINT_CORRUPT, SEGMENT_CORRUPT, FORMAT_UNKNOWN, FILE_IO
 */
export function loadShard(
  place: CheckpointPlace,
  definition: CollectionDefinition,
  reference: ShardManifestReference,
  factory: GraphFactory | null,
): { readonly shard: Shard; readonly appliedIndex: number } {
  const { manifest, tombstones } = readManifest(place.fs, place.dataDirectory, reference);
  const path = joinPath(place.dataDirectory, reference.manifestPath);
  if (manifest.dimension !== definition.dimension)
    throw manifestCorrupt(path, "its dimension is not the collection's");
  const shard = new Shard(definition, reference.shard, factory);
  manifest.segments.forEach((segment, i) => {
    const dead = tombstones[i]!;
    const loaded = loadSegment(place, shard, segment, dead);
    loaded.file = { path: segment.path, checksum: segment.checksum, sizeBytes: segment.sizeBytes };
    shard.ledger.restoreSealed(loaded);
  });
  const firstRow = shard.rows.rowCount;
  const { growing } = manifest;
  if (growing.file !== null)
    loadRows(place, shard, { ...growing.file, rowCount: growing.liveRowCount }, 'growing', null);
  shard.ledger.restoreGrowing({
    firstRow,
    rowCount: growing.rowCount,
    sizeBytes: growing.sizeBytes,
    sealedCount: manifest.sealedCount,
  });
  if (shard.rows.liveCount !== manifest.liveRowCount)
    throw manifestCorrupt(path, 'the number of live rows in its files is another');
  if (shard.digest.toHex() !== manifest.digest)
    throw manifestCorrupt(path, 'the digest of the rows in its files is another');
  return { shard, appliedIndex: manifest.appliedIndex };
}

function loadSegment(
  place: CheckpointPlace,
  shard: Shard,
  segment: ManifestSegment,
  tombstones: Tombstones,
): SealedSegment {
  const dead = new Set(tombstones.positions);
  const firstRow = shard.rows.rowCount;
  const positions = loadRows(place, shard, segment, 'segment', dead);
  const rows = positions.map((_, i) => firstRow + i);
  const loaded = new SealedSegment(segment.ordinal, segment.rowCount, rows, positions);
  for (const position of tombstones.positions) loaded.tombstonePositions.push(position);
  for (const index of tombstones.indexes) loaded.tombstoneIndexes.push(index);
  return loaded;
}

/** Appends the file's rows that are not dead to the shard; returns their positions in the file. */
function loadRows(
  place: CheckpointPlace,
  shard: Shard,
  file: { readonly path: string; readonly rowCount: number },
  kind: 'segment' | 'growing',
  dead: ReadonlySet<number> | null,
): Uint32Array {
  const { uid, dimension } = shard.definition;
  const positions: number[] = [];
  if (!place.fs.exists(joinPath(place.dataDirectory, file.path)))
    throw new HoldfastError(
      'SEGMENT_CORRUPT',
      `${file.path} is missing but a checkpoint names it; restore this node from a replica.`,
      { details: { path: file.path } },
    );
  const expected = { kind, path: file.path, uid, shard: shard.shard, dimension };
  readRowsFile(
    place.fs,
    place.dataDirectory,
    { ...expected, rowCount: file.rowCount },
    ({ position, bytes, facts }) => {
      if (dead?.has(position) === true) return;
      const idHash = hashIdBytes(bytes, facts.idKind, facts.idOffset);
      const isNew = shard.restoreRow({ ...facts, bytes, idHash }, facts.version, facts.hash);
      if (!isNew) throw manifestCorrupt(file.path, `the id of row ${position} is live twice`);
      positions.push(position);
    },
  );
  return Uint32Array.from(positions);
}
