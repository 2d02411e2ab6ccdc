/**
 * Registers: the payload of a point is the value. Reads are linearizable, half of them
 * asked of a node that the generator chose; compare-and-set is a read
 * and a write conditional on the version read, which is how an application would do it.
 */
import type { StoredPoint } from '@holdfast/client';
import { judgeLinearizable } from '../checker/linearizable.ts';
import { registerMix } from '../generator/generator.ts';
import type { Operation } from '../history.ts';
import type { PerformedOperation, WorkerTools, Workload } from './workload.ts';

const COLLECTION = 'jepsen-register';
/** Enough that all workers meet on a key, few enough that the search stays small. */
const OPERATIONS_PER_KEY = 120;
const VECTOR: Float32Array = new Float32Array(4);

export function registerWorkload(seed: number): Workload {
  return {
    name: 'register',
    generator: registerMix({ seed, operationsPerKey: OPERATIONS_PER_KEY }),
    prepare: async (client) => {
      await client.createCollection({
        name: COLLECTION,
        dimension: VECTOR.length,
        metric: 'l2',
        ifNotExists: true,
      });
    },
    perform,
    finalOperations: () => [],
    judge: (events) => judgeLinearizable(events),
  };
}

async function perform(tools: WorkerTools, operation: Operation): Promise<PerformedOperation> {
  const collection = tools.client.collection(COLLECTION);
  switch (operation.kind) {
    case 'read': {
      const id = idOf(operation.key);
      const pick = operation.nodePick;
      const reader = pick === null ? undefined : tools.readers[pick % tools.readers.length];
      const point =
        reader === undefined
          ? await collection.get(id, { withPayload: true })
          : await reader.get(COLLECTION, id);
      return { outcome: 'ok', operation: { ...operation, value: registerValueOf(point) } };
    }
    case 'write':
      if (operation.value === null) await collection.delete(idOf(operation.key));
      else await collection.upsert(pointOf(operation.key, operation.value));
      return { outcome: 'ok', operation };
    case 'compareAndSet': {
      const point = await collection.get(idOf(operation.key), { withPayload: true });
      if (point === null || registerValueOf(point) !== operation.expected) {
        return { outcome: 'fail', operation };
      }
      const wanted = pointOf(operation.key, operation.value);
      await collection.upsert({ ...wanted, ifVersion: point.version });
      return { outcome: 'ok', operation };
    }
    default:
      throw new Error(`the register workload has no operation ${operation.kind}`);
  }
}

const pointOf = (key: string, value: number) => ({
  id: idOf(key),
  vector: VECTOR,
  payload: { value },
});

const idOf = (key: string): number => Number(key.replace('register-', ''));

function registerValueOf(point: StoredPoint | null): number | null {
  if (point === null) return null;
  const value = point.payload?.value;
  if (typeof value !== 'number') throw new Error(`register ${point.id} holds no number`);
  return value;
}
