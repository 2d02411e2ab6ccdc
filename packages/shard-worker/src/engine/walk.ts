/**
 * Walks over the rows of one shard, a bounded stretch at a time: in the order of rows, so all of a
 * shard costs one look at each row. Stretches fit together while nothing is written and no rows are
 * let go in between; the stamp tells.
 */
import type { PointRecord } from '../model.ts';
import { recordSizeBytes } from '../segment/format.ts';
import type { WalkedRows, WalkQuery } from '../tasks.ts';
import { ShardDigestSum } from './digest.ts';
import { readRow } from './read-row.ts';
import type { Shard } from './shard.ts';

/** Rows looked at per stretch: some milliseconds of a lane. */
const WALK_ROW_COUNT_MAX = 4_096;
/** Bytes of rows hashed, or copied, per stretch. */
const WALK_SIZE_BYTES_MAX = 2 * 1024 * 1024;

export function walk({ fromRow, withPoints }: WalkQuery, shard: Shard): WalkedRows {
  const { rows } = shard;
  const sum = new ShardDigestSum();
  const points: PointRecord[] = [];
  const end = Math.min(rows.rowCount, fromRow + WALK_ROW_COUNT_MAX);
  let rowCount = 0;
  let sizeBytes = 0;
  let row = fromRow;
  for (; row < end && sizeBytes < WALK_SIZE_BYTES_MAX; row++) {
    if (!rows.isLive(row)) continue;
    sum.add(shard.contentHash(row));
    if (withPoints) points.push(readRow(shard, row, true, true));
    sizeBytes += recordSizeBytes(rows.vectors.dimension, rows.payloadSizeBytes(row));
    rowCount += 1;
  }
  return {
    ...{ kind: 'walk', rowCount, contentSum: sum.toHex(), points },
    nextRow: row < rows.rowCount ? row : null,
    stamp: `${shard.generation}/${shard.digest.toHex()}`,
  };
}
