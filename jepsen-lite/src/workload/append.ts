/**
 * Lists that grow by compare-and-set: read the list, write it with one element more, on condition
 * that it has not changed. Many lists are in use at a time; a full one is left for a new one.
 */
import { HoldfastError, type Random } from '@holdfast/base';
import type { StoredPoint } from '@holdfast/client';
import { judgeAppend } from '../checker/append.ts';
import { steadyLoad } from '../generator/generator.ts';
import type { HistoryEvent, Operation } from '../history.ts';
import type { ListOperation, OperationOf } from '../operation.ts';
import { asUnsent } from './register.ts';
import {
  chosenNode,
  everyNode,
  type PerformedOperation,
  unexpectedOperation,
  type WorkerTools,
  type Workload,
  type WorkloadOptions,
} from './workload.ts';

const COLLECTION = 'jepsen-append';
const RATE_PER_SECOND = 200;
const LIVE_LIST_COUNT = 12;
/** A list is written as a whole each time, so it may not grow for ever. */
const OPERATIONS_PER_LIST = 150;
const APPEND_SHARE = 0.5;
const DIRECT_READ_SHARE = 0.5;
const VECTOR: Float32Array = new Float32Array(4);

export function appendWorkload(options: WorkloadOptions): Workload {
  const { seed, nodeCount, ratePerSecond = RATE_PER_SECOND } = options;
  return {
    name: 'append',
    generator: steadyLoad({ seed, ratePerSecond, burstCount: 4 }, (position, random) =>
      appendOperationAt(position, random, nodeCount),
    ),
    prepare: async (client) => {
      await client.createCollection({
        ...{ name: COLLECTION, dimension: VECTOR.length, metric: 'l2', ifNotExists: true },
      });
    },
    perform,
    finalOperations: finalReads,
    judge: judgeAppend,
  };
}

/** Pure. Elements are positions, so unique. */
export function appendOperationAt(
  position: number,
  random: Random,
  nodeCount: number,
): ListOperation {
  const generation = Math.floor(position / (LIVE_LIST_COUNT * OPERATIONS_PER_LIST));
  const list = generation * LIVE_LIST_COUNT + random.nextBelow(LIVE_LIST_COUNT) + 1;
  const key = `list-${list}`;
  if (random.nextFloat() < APPEND_SHARE) {
    return { kind: 'append', key, element: position + 1, list: null };
  }
  const nodePick = random.nextFloat() < DIRECT_READ_SHARE ? random.nextBelow(nodeCount) : null;
  return { kind: 'readList', key, nodePick, list: null };
}

/** Every list, each on one node in turn; the newest ones on every node. */
function finalReads(
  events: readonly HistoryEvent[],
  nodeCount: number,
): readonly OperationOf<'readList'>[] {
  const keys = new Set<string>();
  for (const event of events) {
    if (event.kind === 'operation' && event.operation.kind === 'append') {
      keys.add(event.operation.key);
    }
  }
  const readOf = (key: string, nodePick: number): OperationOf<'readList'> => ({
    ...{ kind: 'readList', key, nodePick, list: null },
  });
  const newest = [...keys].slice(-LIVE_LIST_COUNT);
  return [
    ...[...keys].map((key, i) => readOf(key, i % nodeCount)),
    ...everyNode(nodeCount).flatMap((node) => newest.map((key) => readOf(key, node))),
  ];
}

async function perform(tools: WorkerTools, operation: Operation): Promise<PerformedOperation> {
  if (operation.kind === 'append') return append(tools, operation);
  if (operation.kind === 'readList') {
    const ids = [idOf(operation.key)];
    const node = chosenNode(tools, operation.nodePick);
    const { points } =
      node === null
        ? await tools.client.collection(COLLECTION).getMany(ids)
        : await node.ask('get', { collection: COLLECTION, ids });
    return { outcome: 'ok', operation: { ...operation, list: listOf(points[0] ?? null) } };
  }
  throw unexpectedOperation('append', operation);
}

async function append(
  { client }: WorkerTools,
  asked: OperationOf<'append'>,
): Promise<PerformedOperation> {
  const collection = client.collection(COLLECTION);
  const id = idOf(asked.key);
  const point = await asUnsent(() => collection.get(id));
  const operation = { ...asked, list: listOf(point) };
  const condition = point === null ? { ifAbsent: true } : { ifVersion: point.version };
  const payload = { list: [...operation.list, asked.element] };
  try {
    await collection.upsert({ id, vector: VECTOR, payload, ...condition });
    return { outcome: 'ok', operation };
  } catch (thrown) {
    if (!(thrown instanceof HoldfastError)) throw thrown;
    return { outcome: thrown.definite ? 'fail' : 'info', operation, errorCode: thrown.code };
  }
}

function listOf(point: StoredPoint | null): readonly number[] {
  if (point === null) return [];
  const list = point.payload?.list;
  if (!Array.isArray(list)) throw new Error(`point ${point.id} holds no list`);
  return list.map(Number);
}

const idOf = (key: string): number => Number(key.replace('list-', ''));
