/**
 * A set: every element is added once, by a conditional write. If a retry were executed twice, its
 * second execution would be refused although the element is present, and the checker would see a
 * refused element: so this workload also shows that a write happens once. It is read while it
 * grows, in windows and on any node, and in the end as a whole on every node.
 */
import type { Random } from '@holdfast/base';
import { judgeSet } from '../checker/set.ts';
import { steadyLoad } from '../generator/generator.ts';
import type { HistoryEvent, Operation } from '../history.ts';
import type { OperationOf, SetOperation } from '../operation.ts';
import {
  chosenNode,
  everyNode,
  type PerformedOperation,
  unexpectedOperation,
  type WorkerTools,
  type Workload,
  type WorkloadOptions,
} from './workload.ts';

const COLLECTION = 'jepsen-set';
const DIMENSION = 8;
const RATE_PER_SECOND = 240;
/** One operation in so many is a read. */
const READ_INTERVAL = 12;
/** Elements that a read on the way covers. */
const READ_WINDOW_COUNT = 250;
const DIRECT_READ_SHARE = 0.5;
/** Ids of one request; a read of many is several of them, each linearizable. */
const READ_BATCH_COUNT = 500;

export function setWorkload(options: WorkloadOptions): Workload {
  const { seed, nodeCount, ratePerSecond = RATE_PER_SECOND } = options;
  return {
    name: 'set',
    generator: steadyLoad({ seed, ratePerSecond }, (position, random) =>
      setOperationAt(position, random, nodeCount),
    ),
    prepare: async (client) => {
      await client.createCollection({
        ...{ name: COLLECTION, dimension: DIMENSION, metric: 'l2', ifNotExists: true },
      });
    },
    perform,
    finalOperations: finalReads,
    judge: judgeSet,
  };
}

/** Pure. Reads are of the newest elements or of older ones, in equal shares. */
export function setOperationAt(position: number, random: Random, nodeCount: number): SetOperation {
  const readCount = Math.floor((position + 1) / READ_INTERVAL);
  const newest = position + 1 - readCount;
  if ((position + 1) % READ_INTERVAL !== 0) return { kind: 'add', element: newest };
  const end = random.nextFloat() < 0.5 ? newest : 1 + random.nextBelow(newest);
  const nodePick = random.nextFloat() < DIRECT_READ_SHARE ? random.nextBelow(nodeCount) : null;
  const elementMin = Math.max(1, end - READ_WINDOW_COUNT + 1);
  return { kind: 'readAll', elementMin, elementMax: end, elements: null, nodePick };
}

function finalReads(
  events: readonly HistoryEvent[],
  nodeCount: number,
): readonly OperationOf<'readAll'>[] {
  let elementMax = 0;
  for (const event of events) {
    if (event.kind !== 'operation' || event.operation.kind !== 'add') continue;
    elementMax = Math.max(elementMax, event.operation.element);
  }
  return everyNode(nodeCount).map((nodePick) => ({
    ...{ kind: 'readAll', elementMax, elements: null, nodePick },
  }));
}

async function perform(tools: WorkerTools, operation: Operation): Promise<PerformedOperation> {
  if (operation.kind === 'add') {
    const { element } = operation;
    const vector = new Float32Array(DIMENSION).fill(element);
    const point = { id: element, vector, ifAbsent: true };
    await tools.client.collection(COLLECTION).upsert(point);
    return { outcome: 'ok', operation };
  }
  if (operation.kind === 'readAll') {
    return {
      outcome: 'ok',
      operation: { ...operation, elements: await readAll(tools, operation) },
    };
  }
  throw unexpectedOperation('set', operation);
}

async function readAll(
  tools: WorkerTools,
  { elementMin = 1, elementMax, nodePick }: OperationOf<'readAll'>,
): Promise<readonly number[]> {
  const node = chosenNode(tools, nodePick);
  const elements: number[] = [];
  for (let first = elementMin; first <= elementMax; first += READ_BATCH_COUNT) {
    const count = Math.min(READ_BATCH_COUNT, elementMax - first + 1);
    const ids = Array.from({ length: count }, (_unused, i) => first + i);
    const fields = { collection: COLLECTION, ids, withPayload: false };
    const { points } =
      node === null
        ? await tools.client.collection(COLLECTION).getMany(ids, { withPayload: false })
        : await node.ask('get', fields);
    for (const point of points) elements.push(Number(point.id));
  }
  return elements;
}
