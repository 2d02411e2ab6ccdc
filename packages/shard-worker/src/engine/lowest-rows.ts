/**
 * The live rows with the lowest ids behind a cursor: a page of a scroll. There is no order of ids
 * in a shard, so a page looks at every row once, about 5 ns each, and keeps the lowest in a heap;
 * a row is tested against the filter only when its id would be kept.
 */
import { TopK } from '../distance/top-k.ts';
import type { PointId } from '../model.ts';
import type { RowMatches } from '../payload/row-matches.ts';
import { comparePointIds, ID_KIND_NUMBER } from '../point-id.ts';
import type { RowStore } from './row-store.ts';

/** Vectors and payloads of one page; four of them fit into a frame. */
export const SCROLL_SIZE_BYTES_MAX = 4 * 1024 * 1024;

/** At most `count` rows, ascending by id: numbers before UUIDs. `matches` null: every row. */
export function lowestRows(
  rows: RowStore,
  matches: RowMatches | null,
  after: PointId | null,
  count: number,
): readonly number[] {
  const capacity = Math.min(count, rows.liveCount);
  const best = new TopK(capacity, (left, right) => rows.compareIds(left, right));
  if (capacity === 0) return [];
  for (let row = 0; row < rows.rowCount; row++) {
    if (!rows.isLive(row)) continue;
    const key = sortKey(rows, row);
    if (key > best.worstKey) continue;
    if (after !== null && comparePointIds(rows.id(row), after) <= 0) continue;
    if (matches === null || matches.has(row)) best.offer(key, row);
  }
  return best.drain().map(({ row }) => row);
}

const UUIDS_FROM = 2 ** 53;

/** Orders numbers, and puts every UUID behind them by its first bits; equal keys need the ids. */
function sortKey(rows: RowStore, row: number): number {
  if (rows.idKind(row) === ID_KIND_NUMBER) return rows.idNumber(row);
  return UUIDS_FROM * (1 + rows.idFirstWord(row));
}
