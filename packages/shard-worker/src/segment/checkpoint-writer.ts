/**
 * A shard to disk. What a checkpoint holds is captured in one go between two entries; the files are
 * written afterwards in steps, while entries go on being applied: rows never change once written,
 * tombstone lists only grow, and memory is not renumbered meanwhile.
 *
 * Written are segments that have no file yet (sealed or merged since), the live rows of the growing
 * part, and the manifest that names them all. Nothing counts before the node's CHECKPOINT root
 * names the manifest, and no file of an earlier checkpoint is touched.
 */
import type { LogIndex } from '@holdfast/base';
import { assert, failpoint, must } from '@holdfast/base';
import type { ChecksumAlgorithm, FileSystem, Steps } from '@holdfast/storage';
import { isFileIoError, joinPath } from '@holdfast/storage';
import type { RowStore } from '../engine/row-store.ts';
import type { Shard } from '../engine/shard.ts';
import type { ShardManifestReference } from '../tasks.ts';
import type { LoadedManifest, ManifestFile, ManifestSegment, ShardManifest } from './manifest.ts';
import { MANIFEST_VERSION, writeManifest } from './manifest.ts';
import { growingPath, manifestPath, segmentPath, shardDirectory } from './paths.ts';
import type { SealedSegment } from './sealed-segment.ts';
import { writeRowsFile } from './writer.ts';

export interface CheckpointPlace {
  readonly fs: FileSystem;
  readonly dataDirectory: string;
}

/** A shard as it is at one log index. */
export interface CapturedShard {
  readonly source: Shard;
  readonly uid: number;
  readonly shard: number;
  readonly rows: RowStore;
  readonly algorithm: ChecksumAlgorithm;
  readonly segments: readonly CapturedSegment[];
  readonly growingRows: Uint32Array;
  readonly facts: Pick<
    ShardManifest,
    'dimension' | 'appliedIndex' | 'digest' | 'liveRowCount' | 'ordinalCount'
  > & { readonly growing: { readonly rowCount: number; readonly sizeBytes: number } };
}

interface CapturedSegment {
  readonly segment: SealedSegment;
  /** Its rows as they are numbered in `rows`. */
  readonly rowNumbers: Uint32Array;
  /** Later tombstones are not of this checkpoint. */
  readonly tombstoneCount: number;
}

export function captureShard(shard: Shard, appliedIndex: LogIndex): CapturedShard {
  const { definition, digest, ledger, rows } = shard;
  // What an earlier checkpoint wrote counts only if that one became durable: the files of one that
  // failed are removed.
  for (const segment of ledger.sealed) if (!segment.isDurable) segment.file = null;
  return {
    source: shard,
    uid: definition.uid,
    shard: shard.shard,
    rows,
    algorithm: ledger.checksumAlgorithm,
    segments: ledger.sealed.map((segment) => ({
      segment,
      rowNumbers: segment.rows,
      tombstoneCount: segment.deadRowCount,
    })),
    growingRows: ledger.growingLiveRows(rows),
    facts: {
      dimension: definition.dimension,
      appliedIndex,
      digest: digest.toHex(),
      liveRowCount: rows.liveCount,
      ordinalCount: ledger.ordinalCount,
      growing: { rowCount: ledger.growingRowCount, sizeBytes: ledger.growingSizeBytes },
    },
  };
}

/** @throws HoldfastError FILE_IO; the shard and every earlier checkpoint are as before */
export function* writeCapturedShard(
  place: CheckpointPlace,
  captured: CapturedShard,
  checkpointId: string,
): Steps<ShardManifestReference> {
  const { uid, shard, facts, growingRows } = captured;
  yield* ensureDirectory(place, captured);
  const segments: ManifestSegment[] = [];
  for (const part of captured.segments)
    segments.push(yield* describeSegment(place, captured, part));
  const file = yield* writeGrowing(place, captured, checkpointId);
  const loaded: LoadedManifest = {
    manifest: {
      ...{ version: MANIFEST_VERSION, uid, shard, ...facts, segments },
      growing: { ...facts.growing, liveRowCount: growingRows.length, file },
    },
    tombstones: captured.segments.map(({ segment, tombstoneCount }) => ({
      positions: segment.tombstonePositions.slice(0, tombstoneCount),
      indexes: segment.tombstoneIndexes.slice(0, tombstoneCount),
    })),
  };
  const path = manifestPath(uid, shard, checkpointId);
  const { fs, dataDirectory } = place;
  failpoint('lane.before-manifest');
  const { checksum } = writeManifest(fs, dataDirectory, path, loaded, captured.algorithm);
  failpoint('lane.after-manifest');
  return { uid, shard, manifestPath: path, checksum };
}

/** Shards whose folder is known to survive a power cut. */
const shardsWithDirectory = new WeakSet<Shard>();

/**
 * Once per shard and process, level by level and even when the folder is there: the process that
 * made it may have died before its name was durable. Once more when it is gone: with what a failed
 * checkpoint left the folder goes, if there was nothing else in it.
 */
function* ensureDirectory(
  place: CheckpointPlace,
  { source, uid, shard }: CapturedShard,
): Steps<void> {
  const directory = joinPath(place.dataDirectory, shardDirectory(uid, shard));
  if (shardsWithDirectory.has(source) && place.fs.exists(directory)) return;
  let path = place.dataDirectory;
  for (const part of shardDirectory(uid, shard).split('/')) {
    path = joinPath(path, part);
    makeShared(place.fs, path);
    yield;
  }
  shardsWithDirectory.add(source);
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

function* describeSegment(
  place: CheckpointPlace,
  captured: CapturedShard,
  { segment, rowNumbers, tombstoneCount }: CapturedSegment,
): Steps<ManifestSegment> {
  if (segment.file === null) {
    const { uid, shard } = captured;
    const path = segmentPath(uid, shard, segment.ordinal);
    assert(rowNumbers.length === segment.rowCount, 'an unwritten segment has all its rows', {
      path,
    });
    const algorithm = segment.checksumAlgorithm;
    failpoint('lane.before-segment');
    segment.file = yield* writeFile(
      place,
      captured,
      { kind: 'segment', path, algorithm },
      rowNumbers,
    );
    failpoint('lane.after-segment');
  }
  const { ordinal, checksumAlgorithm, rowCount, contentSizeBytes } = segment;
  return {
    ...must(segment.file),
    ...{ ordinal, checksumAlgorithm, rowCount, contentSizeBytes, tombstoneCount },
  };
}

function* writeGrowing(
  place: CheckpointPlace,
  captured: CapturedShard,
  checkpointId: string,
): Steps<ManifestFile | null> {
  const { uid, shard, algorithm, growingRows } = captured;
  if (growingRows.length === 0) return null;
  failpoint('lane.before-growing');
  const path = growingPath(uid, shard, checkpointId);
  return yield* writeFile(place, captured, { kind: 'growing', path, algorithm }, growingRows);
}

function* writeFile(
  { fs, dataDirectory }: CheckpointPlace,
  { uid, shard, rows }: CapturedShard,
  file: Pick<Parameters<typeof writeRowsFile>[2], 'kind' | 'path' | 'algorithm'>,
  rowNumbers: Uint32Array,
): Steps<ManifestFile> {
  const target = { ...file, uid, shard };
  const facts = yield* writeRowsFile(fs, dataDirectory, target, rows, rowNumbers);
  return { path: file.path, checksum: facts.checksum, sizeBytes: facts.sizeBytes };
}
