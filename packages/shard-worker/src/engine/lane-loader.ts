/**
 * Loads the shards of one lane from a checkpoint, or tells everything that is damaged in it: one
 * failed look must be enough for a repair.
 */
import type { LogIndex } from '@holdfast/base';
import { assert, HoldfastError } from '@holdfast/base';
import type { GraphFactory } from '../graph/graph.ts';
import type { CollectionDefinition } from '../model.ts';
import type { ShardSource } from '../segment/checkpoint-loader.ts';
import { loadShard } from '../segment/checkpoint-loader.ts';
import type { CheckpointPlace } from '../segment/checkpoint-writer.ts';
import type { FileDamage } from '../segment/file-damage.ts';
import { asDamage, damagedCheckpoint, isDamage } from '../segment/file-damage.ts';
import { manifestCorrupt, readManifest } from '../segment/manifest.ts';
import { manifestDamages, manifestFile } from '../segment/references.ts';
import type { ShardManifestReference } from '../tasks.ts';
import { LOADED_CELL, TOTAL_CELL } from './load-progress.ts';
import type { Shard } from './shard.ts';

export interface LaneLoad {
  readonly place: CheckpointPlace;
  readonly appliedIndex: LogIndex;
  readonly factory: GraphFactory | null;
  /** In shared memory; null when nobody looks. */
  readonly progress: Int32Array | null;
}

/** A shard that this lane must have. */
export interface WantedShard {
  readonly definition: CollectionDefinition;
  readonly shard: number;
  readonly reference: ShardManifestReference;
}

/**
 * In the order of `wanted`.
 * @throws HoldfastError SEGMENT_CORRUPT or CHECKPOINT_CORRUPT with every damage in its details
 *   (damagesOf), FORMAT_UNKNOWN, FILE_IO
 */
export function loadShards(load: LaneLoad, wanted: readonly WantedShard[]): readonly Shard[] {
  const damages: FileDamage[] = [];
  const sources = wanted.map((shard) => readSource(load, shard, damages));
  tellTotal(load, sources);
  const shards = sources.map((source) => {
    if (source === null) return null;
    const outcome = loadShard(load.place, source, load.factory, (rowCount) =>
      tellLoaded(load, rowCount),
    );
    if (outcome.kind === 'loaded') return outcome.shard;
    damages.push(...outcome.damages);
    return null;
  });
  if (damages.length > 0) throw damagedCheckpoint(damages);
  return shards.map((shard) => {
    assert(shard !== null, 'a shard without damage is loaded');
    return shard;
  });
}

function readSource(
  { appliedIndex, place }: LaneLoad,
  { definition, reference }: WantedShard,
  damages: FileDamage[],
): ShardSource | null {
  const { fs, dataDirectory } = place;
  try {
    const loaded = readManifest(fs, dataDirectory, reference);
    const found = loaded.manifest.appliedIndex;
    if (found === appliedIndex) return { definition, reference, loaded };
    const what = `it is of log index ${found}, the checkpoint is of ${appliedIndex}`;
    damages.push(asDamage(manifestFile(reference), manifestCorrupt(reference.manifestPath, what)));
  } catch (error) {
    if (!isDamage(error)) throw error;
    damages.push(...manifestDamages(fs, dataDirectory, reference, error));
  }
  return null;
}

function tellTotal({ progress }: LaneLoad, sources: readonly (ShardSource | null)[]): void {
  if (progress === null) return;
  let rowCount = 0;
  for (const source of sources) {
    if (source === null) continue;
    const { growing, segments } = source.loaded.manifest;
    rowCount += segments.reduce((sum, segment) => sum + segment.rowCount, growing.liveRowCount);
  }
  Atomics.store(progress, LOADED_CELL, 0);
  Atomics.store(progress, TOTAL_CELL, rowCount);
}

function tellLoaded({ progress }: LaneLoad, rowCount: number): void {
  if (progress !== null) Atomics.add(progress, LOADED_CELL, rowCount);
}

export const missingManifest = (definition: CollectionDefinition, shard: number): HoldfastError =>
  new HoldfastError(
    'CHECKPOINT_CORRUPT',
    `The checkpoint has no manifest for shard ${shard} of collection ${definition.name}; ` +
      'restore this node from a healthy replica.',
    { details: { uid: definition.uid, shard } },
  );
