/**
 * The conditions of a batch that spans lanes: every lane says which of its own do not hold, and the
 * answer is put together in the order of the batch.
 *
 * The conflicts are recorded in the session table, so they must be the same on every replica,
 * however many lanes each has: exactly what one lane alone would have found.
 */
import type { LogIndex } from '@holdfast/base';
import { must } from '@holdfast/base';
import type { CollectionDefinition, Conflict, PointOp, ShardHost } from '@holdfast/shard-worker';
import { CONFLICTS_MAX, decodePointOps, hashPointId, shardOfIdHash } from '@holdfast/shard-worker';

export interface VotedWrite {
  readonly definition: CollectionDefinition;
  /** The whole batch. */
  readonly ops: Uint8Array;
}

/** The first conflicts of the batch, at most CONFLICTS_MAX, in its order. */
export async function voteInBatchOrder(
  host: ShardHost,
  index: LogIndex,
  { definition, ops }: VotedWrite,
  opsPerLane: readonly (Uint8Array | null)[],
): Promise<readonly Conflict[]> {
  const { uid, shardCount } = definition;
  // One call per lane: each lane's first conflicts are needed, not the first of the first lanes.
  const votes = await Promise.all(
    opsPerLane.map((own, lane) => {
      if (own === null) return [];
      return host.vote(
        index,
        uid,
        opsPerLane.map((other, position) => (position === lane ? other : null)),
      );
    }),
  );
  if (votes.every((conflicts) => conflicts.length === 0)) return [];
  const heads = votes.map(() => 0);
  const merged: Conflict[] = [];
  for (const op of decodePointOps(ops)) {
    if (merged.length === CONFLICTS_MAX) break;
    const lane = host.laneOf(uid, shardOfIdHash(hashPointId(op.id), shardCount));
    const head = must(heads[lane]);
    const next = votes[lane]?.[head];
    if (next === undefined || next.id !== op.id || holds(op, next.actualVersion)) continue;
    merged.push(next);
    heads[lane] = head + 1;
  }
  return merged;
}

function holds({ condition }: PointOp, actualVersion: number): boolean {
  switch (condition.kind) {
    case 'none':
      return true;
    case 'ifAbsent':
      return actualVersion === 0;
    case 'ifVersion':
      return actualVersion === condition.version;
    // It skips its own op where it does not hold, and never refuses the batch.
    case 'ifUnchanged':
      return true;
  }
}
