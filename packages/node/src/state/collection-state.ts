/** Counts and digest of a collection, from those of its shards. */
import type { CollectionDefinition, ShardDigest } from '@holdfast/shard-worker';

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
) {
  return {
    ...{ name, uid, dimension, metric, shardCount },
    vectorCount: shards.reduce((count, { liveRowCount }) => count + liveRowCount, 0),
    digest: sumDigests(shards.map(({ digest }) => digest)),
  };
}
