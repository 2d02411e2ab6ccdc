/**
 * Search after acknowledgement: points are written, overwritten and deleted, and looked for at the
 * same time by exact search for their own vector, by a search and a scroll with a filter on their
 * id, and by graph, on any node. There are points in the background, so that a search has something
 * else to find.
 */
import { deriveSeed, type Random, SeededRandom, unreachable } from '@holdfast/base';
import type { PointId, StoredPoint } from '@holdfast/client';
import { judgeSearch } from '../checker/search.ts';
import { steadyLoad } from '../generator/generator.ts';
import type { HistoryEvent, Operation } from '../history.ts';
import type { OperationOf, PointOperation, SearchMeans } from '../operation.ts';
import { numberIn } from './register.ts';
import {
  chosenNode,
  everyNode,
  type PerformedOperation,
  unexpectedOperation,
  type WorkerTools,
  type Workload,
  type WorkloadOptions,
} from './workload.ts';

const COLLECTION = 'jepsen-search';
const DIMENSION = 16;
const SHARD_COUNT = 2;
const RATE_PER_SECOND = 160;
const BURST_COUNT = 4;
const LIVE_POINT_COUNT = 12;
/** Then the point is left for a new one: the checker's work grows with the history of a point. */
const BURSTS_PER_POINT = 60;
const BACKGROUND_POINT_COUNT = 2_000;
const BACKGROUND_FIRST_ID = 1_000_000;
const PUT_SHARE = 0.3;
const DELETE_SHARE = 0.1;
const DIRECT_READ_SHARE = 0.5;
/** Neighbours asked for; a point is its own nearest. */
const EXACT_COUNT = 3;
const GRAPH_COUNT = 10;
const MEANS: readonly SearchMeans[] = ['exact', 'filter', 'scroll', 'graph'];

export function searchWorkload(options: WorkloadOptions): Workload {
  const { seed, nodeCount, ratePerSecond = RATE_PER_SECOND } = options;
  const load = { seed, ratePerSecond, burstCount: BURST_COUNT };
  return {
    name: 'search',
    generator: steadyLoad(load, (position, random) =>
      searchOperationAt(position, random, nodeCount),
    ),
    prepare: async (client) => {
      await client.createCollection({
        ...{ name: COLLECTION, dimension: DIMENSION, metric: 'l2', shardCount: SHARD_COUNT },
        ifNotExists: true,
      });
      await client.collection(COLLECTION).upsertMany(
        Array.from({ length: BACKGROUND_POINT_COUNT }, (_unused, i) => {
          const id = BACKGROUND_FIRST_ID + i;
          return { id, vector: vectorOf(id), payload: { value: 0 } };
        }),
      );
    },
    perform,
    finalOperations: finalSearches,
    judge: judgeSearch,
  };
}

/** Pure. Values are positions, so unique. */
export function searchOperationAt(
  position: number,
  random: Random,
  nodeCount: number,
): PointOperation {
  const burst = Math.floor(position / BURST_COUNT);
  const generation = Math.floor(burst / (LIVE_POINT_COUNT * BURSTS_PER_POINT));
  const key = `point-${generation * LIVE_POINT_COUNT + (burst % LIVE_POINT_COUNT) + 1}`;
  const dice = random.nextFloat();
  if (dice < PUT_SHARE) return { kind: 'putPoint', key, value: position + 1 };
  if (dice < PUT_SHARE + DELETE_SHARE) return { kind: 'deletePoint', key };
  const nodePick = random.nextFloat() < DIRECT_READ_SHARE ? random.nextBelow(nodeCount) : null;
  const means = MEANS[random.nextBelow(MEANS.length)]!;
  return { kind: 'findPoint', key, means, nodePick, found: undefined };
}

/** The points used last, on every node, by every exact means. */
function finalSearches(
  events: readonly HistoryEvent[],
  nodeCount: number,
): readonly OperationOf<'findPoint'>[] {
  const keys = new Set<string>();
  for (let i = events.length - 1; i >= 0 && keys.size < LIVE_POINT_COUNT; i--) {
    const event = events[i];
    if (event?.kind === 'operation' && 'key' in event.operation) keys.add(event.operation.key);
  }
  return [...keys].flatMap((key) =>
    everyNode(nodeCount).flatMap((nodePick) =>
      (['exact', 'filter', 'scroll'] as const).map((means) => ({
        ...{ kind: 'findPoint' as const, key, means, nodePick, found: undefined },
      })),
    ),
  );
}

async function perform(tools: WorkerTools, operation: Operation): Promise<PerformedOperation> {
  const collection = tools.client.collection(COLLECTION);
  switch (operation.kind) {
    case 'putPoint': {
      const id = idOf(operation.key);
      const payload = { value: operation.value };
      await collection.upsert({ id, vector: vectorOf(id), payload });
      return { outcome: 'ok', operation };
    }
    case 'deletePoint':
      await collection.delete(idOf(operation.key));
      return { outcome: 'ok', operation };
    case 'findPoint': {
      const found = await find(tools, operation);
      return { outcome: 'ok', operation: { ...operation, found } };
    }
    default:
      throw unexpectedOperation('search', operation);
  }
}

interface FoundPoint {
  readonly id: PointId;
  readonly payload?: StoredPoint['payload'];
}

/** Undefined: the answer says nothing about the point. */
async function find(
  tools: WorkerTools,
  { key, means, nodePick }: OperationOf<'findPoint'>,
): Promise<number | null | undefined> {
  const id = idOf(key);
  const isOfPoint = { must: [{ has_id: [id] }] };
  switch (means) {
    case 'exact': {
      const options = { k: EXACT_COUNT, exact: true };
      return search(tools, nodePick, { vector: vectorOf(id), ...options }, id);
    }
    case 'filter': {
      const vector = new Float32Array(DIMENSION);
      return search(tools, nodePick, { vector, k: 1, filter: isOfPoint }, id);
    }
    case 'graph': {
      const found = await search(tools, nodePick, { vector: vectorOf(id), k: GRAPH_COUNT }, id);
      return found ?? undefined;
    }
    case 'scroll': {
      const node = chosenNode(tools, nodePick);
      const options = { filter: isOfPoint, limit: 1 };
      const { points } =
        node === null
          ? await tools.client.collection(COLLECTION).scroll(options)
          : await node.ask('scroll', { collection: COLLECTION, ...options });
      return valueIn(points, id);
    }
    default:
      return unreachable(means);
  }
}

interface SearchRequest {
  readonly vector: Float32Array;
  readonly k: number;
  readonly exact?: boolean;
  readonly filter?: { must: { has_id: number[] }[] };
}

async function search(
  tools: WorkerTools,
  nodePick: number | null,
  request: SearchRequest,
  id: number,
): Promise<number | null | undefined> {
  const node = chosenNode(tools, nodePick);
  const { vector, ...options } = { ...request, withPayload: true };
  const { hits, degraded } =
    node === null
      ? await tools.client.collection(COLLECTION).search(vector, options)
      : await node.ask('search', { collection: COLLECTION, vector, ...options });
  const found = valueIn(hits, id);
  // The answer itself says that the newest points were not all compared.
  return found === null && degraded.some(({ layer }) => layer === 'tail') ? undefined : found;
}

function valueIn(points: readonly FoundPoint[], id: number): number | null {
  const point = points.find((one) => one.id === id);
  return point === undefined ? null : numberIn(point);
}

/** A vector of its own for every id. */
function vectorOf(id: number): Float32Array {
  const random = new SeededRandom(deriveSeed(id, 'vector'));
  return Float32Array.from({ length: DIMENSION }, () => random.nextFloat() * 2 - 1);
}

const idOf = (key: string): number => Number(key.replace('point-', ''));
