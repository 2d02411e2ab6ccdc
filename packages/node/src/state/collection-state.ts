/** Counts and digest of a collection, from those of its shards. */
import type { CollectionDefinition, ShardDigest } from '@holdfast/shard-worker';

/** One collection as a backup counts it. */
export interface CollectionState {
  readonly name: string;
  /** The log index that created it. */
  readonly uid: number;
  readonly dimension: number;
  readonly metric: string;
  readonly shardCount: number;
  readonly vectorCount: number;
  /** 32 hex digits: the sum of the digests of its shards, as in the manifest of a backup. */
  readonly digest: string;
}

/** All of them at one index, in order of creation. */
export interface CollectionStates {
  readonly appliedIndex: number;
  readonly collections: readonly CollectionState[];
}

const DIGEST_RANGE = 1n << 128n;
const DIGEST_LENGTH = 32;

/** Sum of digests modulo 2^128, as 32 hex digits: what a backup has in its manifest. */
export function sumDigests(digests: readonly string[]): string {
  const sum = digests.reduce((total, digest) => (total + BigInt(`0x${digest}`)) % DIGEST_RANGE, 0n);
  return sum.toString(16).padStart(DIGEST_LENGTH, '0');
}

/** `shards`: all of the collection. */
export function collectionState(
  { dimension, metric, name, shardCount, uid }: CollectionDefinition,
  shards: readonly ShardDigest[],
): CollectionState {
  return {
    ...{ name, uid, dimension, metric, shardCount },
    vectorCount: shards.reduce((count, { liveRowCount }) => count + liveRowCount, 0),
    digest: sumDigests(shards.map(({ digest }) => digest)),
  };
}
