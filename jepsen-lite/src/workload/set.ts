/**
 * A set: every element is added once, by a conditional write. If a retry were executed twice, its
 * second execution would be refused although the element is present, and the checker would see a
 * refused element in the final read: so this workload also shows that a write happens once.
 */
import type { HoldfastClient } from '@holdfast/client';
import { judgeSet } from '../checker/set.ts';
import { uniqueAdds } from '../generator/generator.ts';
import type { Operation } from '../history.ts';
import type { PerformedOperation, WorkerTools, Workload } from './workload.ts';

const COLLECTION = 'jepsen-set';
const DIMENSION = 8;
const READ_BATCH_COUNT = 500;
/** The final read may have to wait for an election. */
const READ_TIMEOUT_MS = 60_000;

export function setWorkload(): Workload {
  return {
    name: 'set',
    generator: uniqueAdds(),
    prepare: async (client) => {
      await client.createCollection({
        name: COLLECTION,
        dimension: DIMENSION,
        metric: 'l2',
        ifNotExists: true,
      });
    },
    perform,
    finalOperations: (events) => {
      const elementMax = events.reduce(
        (max, event) =>
          event.kind === 'operation' && event.operation.kind === 'add'
            ? Math.max(max, event.operation.element)
            : max,
        0,
      );
      return [{ kind: 'readAll', elementMax, elements: null }];
    },
    judge: judgeSet,
  };
}

async function perform({ client }: WorkerTools, operation: Operation): Promise<PerformedOperation> {
  if (operation.kind === 'add') {
    const vector = new Float32Array(DIMENSION).fill(operation.element);
    await client.collection(COLLECTION).upsert({ id: operation.element, vector, ifAbsent: true });
    return { outcome: 'ok', operation };
  }
  if (operation.kind === 'readAll') {
    const elements = await readAll(client, operation.elementMax);
    return { outcome: 'ok', operation: { ...operation, elements } };
  }
  throw new Error(`the set workload has no operation ${operation.kind}`);
}

async function readAll(client: HoldfastClient, elementMax: number): Promise<readonly number[]> {
  const elements: number[] = [];
  for (let first = 1; first <= elementMax; first += READ_BATCH_COUNT) {
    const count = Math.min(READ_BATCH_COUNT, elementMax - first + 1);
    const points = await client.collection(COLLECTION).get(
      Array.from({ length: count }, (_unused, i) => first + i),
      { timeoutMs: READ_TIMEOUT_MS },
    );
    for (const point of points) elements.push(Number(point.id));
  }
  return elements;
}
