/**
 * A shard from disk. Every block checksum and every row hash is verified, counts are compared, and
 * the digest is computed anew from the rows. A shard that disagrees in anything is not loaded; then
 * all of its files are looked through, so that one look tells everything there is to repair.
 * Nothing is repaired here.
 */
import type { HoldfastError } from '@holdfast/base';
import type { RowSource } from '../engine/row-store.ts';
import type { RestoredFacts } from '../engine/shard.ts';
import { Shard } from '../engine/shard.ts';
import type { GraphFactory } from '../graph/graph.ts';
import type { CollectionDefinition } from '../model.ts';
import { hashIdBytes } from '../point-id.ts';
import type { ShardManifestReference } from '../tasks.ts';
import type { CheckpointPlace } from './checkpoint-writer.ts';
import type { FileDamage } from './file-damage.ts';
import { asDamage, isDamage } from './file-damage.ts';
import type { RecordFacts } from './format.ts';
import type { LoadedManifest, ManifestSegment, Tombstones } from './manifest.ts';
import { manifestCorrupt } from './manifest.ts';
import { readRowsFile } from './reader.ts';
import { manifestFile, verifyShardFiles } from './references.ts';
import { SealedSegment } from './sealed-segment.ts';

export interface ShardSource {
  readonly definition: CollectionDefinition;
  readonly reference: ShardManifestReference;
  readonly loaded: LoadedManifest;
}

export type ShardLoad =
  | { readonly kind: 'loaded'; readonly shard: Shard }
  | { readonly kind: 'damaged'; readonly damages: readonly FileDamage[] };

/**
 * The shard as it was when its manifest was written. Its graph is empty: it is built afterwards.
 * `onRows` is told how many rows of files were read since the last call.
 * @throws HoldfastError FORMAT_UNKNOWN, FILE_IO (other than a refused read)
 */
export function loadShard(
  place: CheckpointPlace,
  source: ShardSource,
  factory: GraphFactory | null,
  onRows: (rowCount: number) => void,
): ShardLoad {
  try {
    return { kind: 'loaded', shard: load(place, source, factory, onRows) };
  } catch (error) {
    if (!isDamage(error)) throw error;
    return { kind: 'damaged', damages: findDamages(place, source, error) };
  }
}

/** At least one: when every file verifies, the manifest contradicts them. */
function findDamages(
  place: CheckpointPlace,
  { loaded, reference }: ShardSource,
  error: HoldfastError,
): readonly FileDamage[] {
  const steps = verifyShardFiles(place.fs, place.dataDirectory, reference, loaded);
  for (;;) {
    const step = steps.next();
    if (step.done !== true) continue;
    return step.value.length > 0 ? step.value : [asDamage(manifestFile(reference), error)];
  }
}

function load(
  place: CheckpointPlace,
  { definition, reference, loaded }: ShardSource,
  factory: GraphFactory | null,
  onRows: (rowCount: number) => void,
): Shard {
  const { manifest, tombstones } = loaded;
  const path = reference.manifestPath;
  if (manifest.dimension !== definition.dimension)
    throw manifestCorrupt(path, "its dimension is not the collection's");
  const shard = new Shard(definition, reference.shard, factory);
  manifest.segments.forEach((segment, i) => {
    shard.ledger.restoreSealed(loadSegment(place, shard, segment, tombstones[i]!));
    onRows(segment.rowCount);
  });
  const firstRow = shard.rows.rowCount;
  const { growing } = manifest;
  if (growing.file !== null) {
    const file = { ...growing.file, rowCount: growing.liveRowCount };
    loadRows(place, shard, file, 'growing', null);
    onRows(growing.liveRowCount);
  }
  shard.ledger.restoreGrowing({
    firstRow,
    rowCount: growing.rowCount,
    sizeBytes: growing.sizeBytes,
    ordinalCount: manifest.ordinalCount,
  });
  if (shard.rows.liveCount !== manifest.liveRowCount)
    throw manifestCorrupt(path, 'the number of live rows in its files is another');
  if (shard.digest.toHex() !== manifest.digest)
    throw manifestCorrupt(path, 'the digest of the rows in its files is another');
  return shard;
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
  const loaded = new SealedSegment(segment, rows, dead.size === 0 ? null : positions, firstRow);
  for (const position of tombstones.positions) loaded.tombstonePositions.push(position);
  for (const index of tombstones.indexes) loaded.tombstoneIndexes.push(index);
  loaded.file = { path: segment.path, checksum: segment.checksum, sizeBytes: segment.sizeBytes };
  loaded.isDurable = true;
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
  const source = new RestoredRow();
  const expected = { kind, path: file.path, uid, shard: shard.shard, dimension };
  readRowsFile(
    place.fs,
    place.dataDirectory,
    { ...expected, rowCount: file.rowCount },
    ({ position, bytes, view, facts }) => {
      if (dead?.has(position) === true) return;
      source.take(bytes, facts);
      const isNew = shard.restoreRow(source, view, facts.hash);
      if (!isNew) throw manifestCorrupt(file.path, `the id of row ${position} is live twice`);
      positions.push(position);
    },
  );
  return Uint32Array.from(positions);
}

/** One for all rows: an object per row would be most of the work of loading. */
class RestoredRow implements RowSource, RestoredFacts {
  bytes: Uint8Array = new Uint8Array(0);
  version = 0;
  timestampMs = 0;
  idKind = 0;
  idHash = 0;
  idOffset = 0;
  vectorOffset = 0;
  payloadOffset = 0;
  payloadSizeBytes = 0;
  hasPayload = false;

  take(bytes: Uint8Array, facts: RecordFacts): void {
    this.bytes = bytes;
    this.version = facts.version;
    this.timestampMs = facts.timestampMs;
    this.idKind = facts.idKind;
    this.idHash = hashIdBytes(bytes, facts.idKind, facts.idOffset);
    this.idOffset = facts.idOffset;
    this.vectorOffset = facts.vectorOffset;
    this.payloadOffset = facts.payloadOffset;
    this.payloadSizeBytes = facts.payloadSizeBytes;
    this.hasPayload = facts.hasPayload;
  }
}
