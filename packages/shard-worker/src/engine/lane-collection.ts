/** One collection as a lane holds it, and how entries that redefine it change that. */
import { must } from '@holdfast/base';
import type { ChecksumAlgorithm } from '@holdfast/storage';
import { laneOfShard } from '../host/lane-of.ts';
import type { CollectionDefinition } from '../model.ts';
import type { Shard } from './shard.ts';

/** The shards of one collection that live on one lane. */
export interface LaneCollection {
  /** As of the last entry applied. */
  readonly definition: CollectionDefinition;
  /** By shard number. */
  readonly shards: Map<number, Shard>;
}

export function shardOf({ shards }: LaneCollection, shard: number): Shard {
  return must(shards.get(shard), 'op for a shard of another lane');
}

/** The numbers of those shards that live on this lane. */
export function ownShards(
  { uid, shardCount }: CollectionDefinition,
  laneIndex: number,
  laneCount: number,
): number[] {
  const own: number[] = [];
  for (let shard = 0; shard < shardCount; shard++)
    if (laneOfShard(uid, shard, laneCount) === laneIndex) own.push(shard);
  return own;
}

/** Payload indexes are all that an entry can redefine in this way. */
export function redefine(
  { shards }: LaneCollection,
  definition: CollectionDefinition,
): LaneCollection {
  for (const shard of shards.values()) shard.indexes.declare(definition.payloadIndexes ?? []);
  return { definition, shards };
}

/** Of the blocks of files sealed from now on. */
export function withChecksum(
  { definition, shards }: LaneCollection,
  checksumAlgorithm: ChecksumAlgorithm,
): LaneCollection {
  for (const shard of shards.values()) shard.ledger.checksumAlgorithm = checksumAlgorithm;
  return { definition: { ...definition, checksumAlgorithm }, shards };
}
