/**
 * Lane of a shard: consecutive shards of a collection go to consecutive lanes, and collections
 * start at different lanes so that small ones do not all crowd the first. Local to a node: nothing
 * stored may depend on it.
 */
export function laneOfShard(uid: number, shard: number, laneCount: number): number {
  const start = (Math.imul(uid, 0x9e3779b1) >>> 0) % laneCount;
  return (start + shard) % laneCount;
}
