/**
 * One write entry on the shards of one lane. Duplicate ids: the last op wins, the others leave no
 * trace. Conditions, of superseded ops too, look at the state before the entry; unless all hold,
 * nothing is written. An op with `ifUnchanged` is skipped alone, and counted, where its point has
 * another version by now: what a filter found is deleted only as it was found.
 */

import type { LogIndex } from '@holdfast/base';
import { shardOfIdHash } from '../point-id.ts';
import { PointOpReader } from '../point-op.ts';
import type { Conflict, WriteOutcome } from '../tasks.ts';
import type { Shard } from './shard.ts';

/** Conflicts reported per entry: enough to act on, small enough for one reply. */
export const CONFLICTS_MAX = 16;

export type ShardLookup = (shard: number) => Shard;

/** The conditions of the batch that do not hold now, in batch order, at most CONFLICTS_MAX. */
export function findConflicts(
  ops: Uint8Array,
  shardCount: number,
  lookup: ShardLookup,
): Conflict[] {
  const conflicts: Conflict[] = [];
  const op = new PointOpReader(ops);
  while (conflicts.length < CONFLICTS_MAX && op.next()) {
    if (!op.hasCondition) continue;
    const actualVersion = lookup(shardOfIdHash(op.idHash, shardCount)).versionOf(op);
    if (!op.conditionHolds(actualVersion)) conflicts.push({ id: op.id(), actualVersion });
  }
  return conflicts;
}

export interface WriteEntry {
  readonly index: LogIndex;
  /** Default: the index. */
  readonly version?: LogIndex;
  /** Log time of the entry. */
  readonly timestampMs: number;
  readonly mode: 'always' | 'ifAllHold';
  readonly ops: Uint8Array;
  readonly shardCount: number;
}

export function applyWrite(entry: WriteEntry, lookup: ShardLookup): WriteOutcome {
  const { index, mode, ops, shardCount, timestampMs, version = index } = entry;
  if (mode === 'ifAllHold') {
    const conflicts = findConflicts(ops, shardCount, lookup);
    if (conflicts.length > 0) return { kind: 'conflict', index, conflicts };
  }
  const superseded = findSuperseded(ops);
  const touched = new Set<Shard>();
  const op = new PointOpReader(ops);
  let deletedCount = 0;
  let skippedCount = 0;
  for (let ordinal = 0; op.next(); ordinal++) {
    if (superseded?.has(ordinal) === true) continue;
    const shard = lookup(shardOfIdHash(op.idHash, shardCount));
    if (op.isSkippable && !op.conditionHolds(shard.versionOf(op))) {
      skippedCount += 1;
      continue;
    }
    touched.add(shard);
    if (op.isUpsert) shard.upsert(op, version, timestampMs);
    else if (shard.delete(op, version)) deletedCount += 1;
  }
  for (const shard of touched) shard.endEntry();
  return { kind: 'written', index, deletedCount, skippedCount };
}

/** Ordinals of ops whose id comes again later in the batch; null when there are none. */
function findSuperseded(ops: Uint8Array): ReadonlySet<number> | null {
  const op = new PointOpReader(ops);
  const lastOfHash = new Map<number, { ordinal: number; offset: number }[]>();
  let superseded: Set<number> | null = null;
  for (let ordinal = 0; op.next(); ordinal++) {
    const earlier = lastOfHash.get(op.idHash);
    if (earlier === undefined) {
      lastOfHash.set(op.idHash, [{ ordinal, offset: op.offset }]);
      continue;
    }
    const same = earlier.find((other) => hasSameId(ops, other.offset, op.offset));
    if (same === undefined) earlier.push({ ordinal, offset: op.offset });
    else {
      superseded ??= new Set();
      superseded.add(same.ordinal);
      same.ordinal = ordinal;
    }
  }
  return superseded;
}

/** Id kind and id bytes of the ops at two offsets. */
function hasSameId(ops: Uint8Array, left: number, right: number): boolean {
  if (ops[left + 5] !== ops[right + 5]) return false;
  for (let i = 32; i < 48; i++) if (ops[left + i] !== ops[right + i]) return false;
  return true;
}
