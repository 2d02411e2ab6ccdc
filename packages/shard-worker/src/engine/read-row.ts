/** One row as an answer. */
import type { PointRecord } from '../model.ts';
import type { Shard } from './shard.ts';

/** Copies: the answer crosses threads, and views would drag whole buffers along. */
export function readRow(
  { rows }: Shard,
  row: number,
  withVector: boolean,
  withPayload: boolean,
): PointRecord {
  return {
    id: rows.id(row),
    version: rows.version(row),
    vector: withVector ? rows.vectors.vector(row).slice() : null,
    payload: withPayload ? (rows.payload(row)?.slice() ?? null) : null,
  };
}
