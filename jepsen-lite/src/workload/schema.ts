/**
 * Collections and payload indexes come and go while elements are inserted and read. A name is
 * dropped and created anew a few times, then left for another one, so that a drop whose end nobody
 * knows spoils little of what the checker can tell.
 */
import type { Random } from '@holdfast/base';
import { judgeSchema } from '../checker/schema.ts';
import { steadyLoad } from '../generator/generator.ts';
import type { HistoryEvent, Operation } from '../history.ts';
import type { OperationOf, SchemaOperation } from '../operation.ts';
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

const RATE_PER_SECOND = 160;
const SLOT_COUNT = 4;
/** A round begins with a drop and a creation in one slot. */
const OPERATIONS_PER_ROUND = 60;
const ROUNDS_PER_NAME = 4;
const INSERT_SHARE = 0.6;
const DIRECT_READ_SHARE = 0.5;
/** More than a name gets between two drops. */
const READ_COUNT_MAX = 1_000;
const INDEX_KEY = 'group';
const INDEX_VALUE = 'element';
const VECTOR: Float32Array = new Float32Array(4);

export function schemaWorkload(options: WorkloadOptions): Workload {
  const { seed, nodeCount, ratePerSecond = RATE_PER_SECOND } = options;
  return {
    name: 'schema',
    generator: steadyLoad({ seed, ratePerSecond }, (position, random) =>
      schemaOperationAt(position, random, nodeCount),
    ),
    prepare: async () => {},
    perform,
    finalOperations: finalReads,
    judge: judgeSchema,
  };
}

/** Pure. The first operations create a collection in every slot. */
export function schemaOperationAt(
  position: number,
  random: Random,
  nodeCount: number,
): SchemaOperation {
  const round = Math.floor(position / OPERATIONS_PER_ROUND);
  const changing = round % SLOT_COUNT;
  if (position < SLOT_COUNT) return createOf(nameOf(position, 0), false);
  const isIdempotent = random.nextFloat() < 0.5;
  switch (position % OPERATIONS_PER_ROUND) {
    case 0:
      return {
        kind: 'dropCollection',
        name: nameOf(changing, round),
        index: null,
        isDropped: null,
      };
    // Twice: whichever comes second finds the first.
    case 1:
    case 2:
      return createOf(nameOf(changing, round), isIdempotent);
    case 20:
    case 40: {
      const name = nameOf(random.nextBelow(SLOT_COUNT), round);
      return { kind: 'changePayloadIndex', name, isCreation: isIdempotent, index: null };
    }
    default: {
      const name = nameOf(random.nextBelow(SLOT_COUNT), round);
      if (random.nextFloat() < INSERT_SHARE) {
        return { kind: 'insertInto', name, element: position, index: null };
      }
      const nodePick = random.nextFloat() < DIRECT_READ_SHARE ? random.nextBelow(nodeCount) : null;
      return readOf(name, random.nextFloat() < 0.5, nodePick);
    }
  }
}

/** The name that a slot has in a round: after some rounds of its own another one. */
function nameOf(slot: number, round: number): string {
  const ownRounds = Math.floor((round + SLOT_COUNT - 1 - slot) / SLOT_COUNT);
  return `jepsen-schema-${slot}-${Math.floor(ownRounds / ROUNDS_PER_NAME)}`;
}

const createOf = (name: string, isIdempotent: boolean): OperationOf<'createCollection'> => ({
  ...{ kind: 'createCollection', name, isIdempotent, index: null, createdIndex: null },
});

const readOf = (
  name: string,
  isFiltered: boolean,
  nodePick: number | null,
): OperationOf<'readCollection'> => ({
  ...{ kind: 'readCollection', name, isFiltered, nodePick, seen: null, appliedIndex: null },
});

function finalReads(
  events: readonly HistoryEvent[],
  nodeCount: number,
): readonly OperationOf<'readCollection'>[] {
  const names = new Set<string>();
  for (const event of events) {
    if (event.kind !== 'operation' || !('name' in event.operation)) continue;
    names.delete(event.operation.name);
    names.add(event.operation.name);
  }
  return everyNode(nodeCount).flatMap((nodePick) =>
    [...names].slice(-SLOT_COUNT).map((name) => readOf(name, nodePick % 2 === 0, nodePick)),
  );
}

async function perform(tools: WorkerTools, operation: Operation): Promise<PerformedOperation> {
  const { client } = tools;
  switch (operation.kind) {
    case 'createCollection': {
      const { name, isIdempotent } = operation;
      const { index, collection } = await client.createCollection({
        ...{ name, dimension: VECTOR.length, metric: 'l2', shardCount: 2 },
        ifNotExists: isIdempotent,
      });
      const { createdIndex } = collection;
      return { outcome: 'ok', operation: { ...operation, index, createdIndex } };
    }
    case 'dropCollection': {
      const { index, isDropped } = await client.dropCollection(operation.name);
      return { outcome: 'ok', operation: { ...operation, index, isDropped } };
    }
    case 'changePayloadIndex': {
      const collection = client.collection(operation.name);
      const { index } = operation.isCreation
        ? await collection.createPayloadIndex(INDEX_KEY, 'keyword')
        : await collection.dropPayloadIndex(INDEX_KEY);
      return { outcome: 'ok', operation: { ...operation, index } };
    }
    case 'insertInto': {
      const { name, element } = operation;
      const payload = { value: element, [INDEX_KEY]: INDEX_VALUE };
      const point = { id: element, vector: VECTOR, payload, ifAbsent: true };
      const { index } = await client.collection(name).upsert(point);
      return { outcome: 'ok', operation: { ...operation, index } };
    }
    case 'readCollection':
      return { outcome: 'ok', operation: await read(tools, operation) };
    default:
      throw unexpectedOperation('schema', operation);
  }
}

async function read(
  tools: WorkerTools,
  operation: OperationOf<'readCollection'>,
): Promise<OperationOf<'readCollection'>> {
  const { name, isFiltered, nodePick } = operation;
  const node = chosenNode(tools, nodePick);
  const match = { value: INDEX_VALUE };
  const filter = isFiltered ? { filter: { must: [{ key: INDEX_KEY, match }] } } : {};
  const options = { limit: READ_COUNT_MAX, ...filter };
  const { points, next, appliedIndex } =
    node === null
      ? await tools.client.collection(name).scroll(options)
      : await node.ask('scroll', { collection: name, ...options });
  if (next !== null) throw new Error(`collection ${name} has more than ${READ_COUNT_MAX} points`);
  const seen = points.map((point) => ({
    ...{ point: Number(point.id), value: numberIn(point), version: point.version },
  }));
  return { ...operation, seen, appliedIndex };
}
