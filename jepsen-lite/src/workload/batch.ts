/**
 * Atomic batches over a collection of several shards: each gives half of the points of a group one
 * value of its own. Groups are read whole, by get, scroll and search, from any node.
 */
import type { Random } from '@holdfast/base';
import { judgeBatches } from '../checker/batch.ts';
import { steadyLoad } from '../generator/generator.ts';
import type { HistoryEvent, Operation } from '../history.ts';
import type { GroupOperation, OperationOf, ReadMeans } from '../operation.ts';
import { readTogether } from './group-read.ts';
import {
  everyNode,
  type PerformedOperation,
  unexpectedOperation,
  type WorkerTools,
  type Workload,
  type WorkloadOptions,
} from './workload.ts';

const COLLECTION = 'jepsen-batch';
const DIMENSION = 4;
/** So that a batch is several entries of work on every node. */
const SHARD_COUNT = 4;
const RATE_PER_SECOND = 240;
const GROUP_COUNT = 8;
const POINTS_PER_GROUP = 8;
const WRITE_SHARE = 0.5;
const DIRECT_READ_SHARE = 0.5;
export const READ_MEANS: readonly ReadMeans[] = ['get', 'scroll', 'search'];

export function batchWorkload(options: WorkloadOptions): Workload {
  const { seed, nodeCount, ratePerSecond = RATE_PER_SECOND } = options;
  return {
    name: 'batch',
    generator: steadyLoad({ seed, ratePerSecond, burstCount: 4 }, (position, random) =>
      batchOperationAt(position, random, nodeCount),
    ),
    prepare: async (client) => {
      await client.createCollection({
        ...{ name: COLLECTION, dimension: DIMENSION, metric: 'l2', shardCount: SHARD_COUNT },
        ifNotExists: true,
      });
    },
    perform,
    finalOperations: finalReads,
    judge: judgeBatches,
  };
}

/** Pure. */
export function batchOperationAt(
  position: number,
  random: Random,
  nodeCount: number,
): GroupOperation {
  const group = random.nextBelow(GROUP_COUNT);
  if (random.nextFloat() < WRITE_SHARE) {
    const points = pointsOf(group).filter(() => random.nextFloat() < 0.5);
    // A batch of one point shows nothing.
    const chosen = points.length < 2 ? pointsOf(group) : points;
    const key = `group-${group}`;
    return { kind: 'writeTogether', key, points: chosen, value: position + 1, index: null };
  }
  const nodePick = random.nextFloat() < DIRECT_READ_SHARE ? random.nextBelow(nodeCount) : null;
  return readOf(group, READ_MEANS[random.nextBelow(READ_MEANS.length)]!, nodePick);
}

const pointsOf = (group: number): readonly number[] =>
  Array.from({ length: POINTS_PER_GROUP }, (_unused, i) => group * POINTS_PER_GROUP + i + 1);

const readOf = (
  group: number,
  means: ReadMeans,
  nodePick: number | null,
): OperationOf<'readTogether'> => ({
  ...{ kind: 'readTogether', key: `group-${group}`, points: pointsOf(group), means, nodePick },
  ...{ seen: null, appliedIndex: null },
});

function finalReads(
  _events: readonly HistoryEvent[],
  nodeCount: number,
): readonly OperationOf<'readTogether'>[] {
  return everyNode(nodeCount).flatMap((nodePick) =>
    Array.from({ length: GROUP_COUNT }, (_unused, group) => readOf(group, 'get', nodePick)),
  );
}

async function perform(tools: WorkerTools, operation: Operation): Promise<PerformedOperation> {
  if (operation.kind === 'writeTogether') {
    const { points, value } = operation;
    const { index } = await tools.client
      .collection(COLLECTION)
      .upsert(points.map((id) => ({ id, vector: vectorOf(id), payload: { value } })));
    return { outcome: 'ok', operation: { ...operation, index } };
  }
  if (operation.kind === 'readTogether') {
    const done = await readTogether(tools, COLLECTION, DIMENSION, operation);
    return { outcome: 'ok', operation: done };
  }
  throw unexpectedOperation('batch', operation);
}

const vectorOf = (id: number): Float32Array => new Float32Array(DIMENSION).fill(id);
