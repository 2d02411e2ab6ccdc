/** Reads of one lane. Bad input is an error result of that read alone. */
import { HoldfastError, unreachable } from '@holdfast/base';
import { isFiniteVector } from '../distance/exact-math.ts';
import type { PointId, PointRecord } from '../model.ts';
import { RowMatches } from '../payload/row-matches.ts';
import { comparePointIds, hashPointId, shardOfIdHash } from '../point-id.ts';
import type { LaneRead, LaneReadResult, SearchHit, SearchPlan, SearchQuery } from '../tasks.ts';
import { searchFiltered, sliceOf } from './filtered-search.ts';
import type { LaneCollection } from './lane-collection.ts';
import { shardOf } from './lane-collection.ts';
import type { SearchLayers } from './layers.ts';
import { lowestRows, SCROLL_SIZE_BYTES_MAX } from './lowest-rows.ts';
import { readRow } from './read-row.ts';
import { NO_ROW } from './row-store.ts';
import type { SearchTiming } from './search.ts';
import { prepareQuery, scoreOfKey, searchShard } from './search.ts';
import type { Shard } from './shard.ts';
import { walk } from './walk.ts';

export function runRead(
  read: LaneRead,
  collections: ReadonlyMap<number, LaneCollection>,
  layers: SearchLayers | null = null,
): LaneReadResult {
  const uid = read.kind === 'search' ? read.query.uid : read.uid;
  const collection = collections.get(uid);
  if (collection === undefined)
    return failed('COLLECTION_NOT_FOUND', `No collection has the uid ${uid} here; it was dropped.`);
  try {
    return answer(read, collection, layers);
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'REQUEST_TIMEOUT')
      return { kind: 'error', error: error.toBody() };
    throw error;
  }
}

/** @throws HoldfastError REQUEST_TIMEOUT */
function answer(
  read: LaneRead,
  collection: LaneCollection,
  layers: SearchLayers | null,
): LaneReadResult {
  switch (read.kind) {
    case 'search':
      return search(read.query, collection, layers);
    case 'get':
      return get(read, collection);
    case 'count':
      return count(read, collection, layers);
    case 'scroll':
      return scroll(read, collection, layers);
    case 'walk':
      return walk(read, shardOf(collection, read.shard));
    default:
      return unreachable(read);
  }
}

/** Null without a clock. Without a budget there is all the time, and a pulse all the same. */
function timingOf(
  layers: SearchLayers | null,
  { budgetMs }: { readonly budgetMs?: number | null },
): SearchTiming | null {
  if (layers === null) return null;
  return { layers, deadlineMs: layers.nowMs() + (budgetMs ?? Number.POSITIVE_INFINITY) };
}

function count(
  read: Extract<LaneRead, { readonly kind: 'count' }>,
  { shards }: LaneCollection,
  layers: SearchLayers | null,
): LaneReadResult {
  const { filter } = read;
  const timing = timingOf(layers, read);
  let sum = 0;
  for (const shard of shards.values())
    sum +=
      filter === undefined
        ? shard.rows.liveCount
        : new RowMatches(shard, filter, sliceOf(shard, timing)).all().count;
  return { kind: 'count', count: sum };
}

function search(
  query: SearchQuery,
  collection: LaneCollection,
  layers: SearchLayers | null,
): LaneReadResult {
  const { definition, shards } = collection;
  const { dimension, metric, hnsw, name } = definition;
  if (query.vector.length !== dimension)
    return failed(
      'DIMENSION_MISMATCH',
      `The query has dimension ${query.vector.length}, collection ${name} has ${dimension}.`,
    );
  if (!isFiniteVector(query.vector))
    return failed('VECTOR_INVALID', 'A component of the query vector is NaN or infinite.');
  const prepared = prepareQuery(metric, query.vector);
  const timing = timingOf(layers, query);
  const { k, isExact } = query;
  const options = { k, ef: query.ef ?? hnsw.efSearch, isExact, timing };
  const found: RankedShardRow[] = [];
  const plans: SearchPlan[] = [];
  for (const shard of shards.values()) {
    const { ranked, plan } =
      query.filter === undefined
        ? searchShard(shard, prepared, options)
        : searchFiltered(shard, prepared, options, query.filter);
    for (const { key, row } of ranked) found.push({ key, row, shard });
    plans.push(plan);
  }
  if (shards.size > 1) found.sort(compareRanked);
  const hits = found.slice(0, query.k).map(({ key, row, shard }) => {
    const record = readRow(shard, row, query.withVector, query.withPayload);
    const score = scoreOfKey(metric, key);
    const { id, version, vector, payload } = record;
    return { id, version, vector, payload, score } satisfies SearchHit;
  });
  return { kind: 'search', hits, plans };
}

interface RankedShardRow {
  readonly key: number;
  readonly row: number;
  readonly shard: Shard;
}

function compareRanked(left: RankedShardRow, right: RankedShardRow): number {
  if (left.key !== right.key) return left.key - right.key;
  return comparePointIds(left.shard.rows.id(left.row), right.shard.rows.id(right.row));
}

function get(
  read: Extract<LaneRead, { readonly kind: 'get' }>,
  { definition, shards }: LaneCollection,
): LaneReadResult {
  const points: PointRecord[] = [];
  for (const id of read.ids) {
    const shard = shards.get(shardOfIdHash(hashPointId(id), definition.shardCount));
    if (shard === undefined) continue;
    const row = shard.findRow(id);
    if (row !== NO_ROW) points.push(readRow(shard, row, read.withVector, read.withPayload));
  }
  return { kind: 'get', points };
}

function scroll(
  read: Extract<LaneRead, { readonly kind: 'scroll' }>,
  { shards }: LaneCollection,
  layers: SearchLayers | null,
): LaneReadResult {
  const { filter } = read;
  const timing = timingOf(layers, read);
  const found: { readonly id: PointId; readonly row: number; readonly shard: Shard }[] = [];
  for (const shard of shards.values()) {
    const matches =
      filter === undefined ? null : new RowMatches(shard, filter, sliceOf(shard, timing));
    // One more than fits, to know whether there are more.
    for (const row of lowestRows(shard.rows, matches, read.after, read.limit + 1))
      found.push({ id: shard.rows.id(row), row, shard });
  }
  found.sort((left, right) => comparePointIds(left.id, right.id));
  const points: PointRecord[] = [];
  let sizeBytes = 0;
  for (const { row, shard } of found) {
    if (points.length === read.limit || sizeBytes > SCROLL_SIZE_BYTES_MAX) break;
    const point = readRow(shard, row, read.withVector, read.withPayload);
    sizeBytes += (point.vector?.byteLength ?? 0) + (point.payload?.byteLength ?? 0);
    points.push(point);
  }
  return { kind: 'scroll', points, hasMore: points.length < found.length };
}

function failed(
  code: 'COLLECTION_NOT_FOUND' | 'DIMENSION_MISMATCH' | 'VECTOR_INVALID',
  message: string,
): LaneReadResult {
  return { kind: 'error', error: new HoldfastError(code, message).toBody() };
}
