/**
 * Stale reads: writes go to whoever leads, reads are asked of one node each and say how old their
 * answer may be. The checker knows the log index of every answer.
 */
import type { Random } from '@holdfast/base';
import { judgeSessions } from '../checker/sessions.ts';
import { steadyLoad } from '../generator/generator.ts';
import type { Operation } from '../history.ts';
import type { OperationOf, SessionOperation } from '../operation.ts';
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

const COLLECTION = 'jepsen-sessions';
const RATE_PER_SECOND = 240;
const KEY_COUNT = 16;
const WRITE_SHARE = 0.4;
/** A healthy node knows within about 0.1 s that it is up to date. */
const STALENESS_CHOICES_MS: readonly number[] = [400, 1_000, 5_000, 60_000];
const VECTOR: Float32Array = new Float32Array(4);

export function sessionsWorkload(options: WorkloadOptions): Workload {
  const { seed, nodeCount, ratePerSecond = RATE_PER_SECOND } = options;
  return {
    name: 'sessions',
    generator: steadyLoad({ seed, ratePerSecond }, (position, random) =>
      sessionOperationAt(position, random, nodeCount),
    ),
    prepare: async (client) => {
      await client.createCollection({
        ...{ name: COLLECTION, dimension: VECTOR.length, metric: 'l2', ifNotExists: true },
      });
    },
    perform,
    finalOperations: (_events, nodes) =>
      everyNode(nodes).flatMap((node) =>
        Array.from({ length: KEY_COUNT }, (_unused, key) => readOf(key, node, 60_000)),
      ),
    judge: judgeSessions,
  };
}

/** Pure. */
export function sessionOperationAt(
  position: number,
  random: Random,
  nodeCount: number,
): SessionOperation {
  const key = random.nextBelow(KEY_COUNT);
  if (random.nextFloat() < WRITE_SHARE) {
    return { kind: 'writeVersioned', key: `session-${key}`, value: position + 1, index: null };
  }
  const choice = random.nextBelow(STALENESS_CHOICES_MS.length);
  return readOf(key, random.nextBelow(nodeCount), STALENESS_CHOICES_MS[choice]!);
}

const readOf = (
  key: number,
  nodePick: number,
  stalenessMsMax: number,
): OperationOf<'readStale'> => ({
  ...{ kind: 'readStale', key: `session-${key}`, nodePick, stalenessMsMax },
  ...{ value: null, version: null, appliedIndex: null },
});

async function perform(tools: WorkerTools, operation: Operation): Promise<PerformedOperation> {
  if (operation.kind === 'writeVersioned') {
    const { key, value } = operation;
    const point = { id: idOf(key), vector: VECTOR, payload: { value } };
    const { index } = await tools.client.collection(COLLECTION).upsert(point);
    return { outcome: 'ok', operation: { ...operation, index } };
  }
  if (operation.kind === 'readStale') return readStale(tools, operation);
  throw unexpectedOperation('sessions', operation);
}

async function readStale(
  tools: WorkerTools,
  operation: OperationOf<'readStale'>,
): Promise<PerformedOperation> {
  const { key, nodePick, stalenessMsMax } = operation;
  const node = chosenNode(tools, nodePick);
  if (node === null) throw new Error('the run has no connections to single nodes');
  const { points, appliedIndex } = await node.ask('get', {
    ...{ collection: COLLECTION, ids: [idOf(key)] },
    ...{ consistency: 'stale', maxStalenessMs: stalenessMsMax },
  });
  const [point] = points;
  const seen = point === undefined ? {} : { value: numberIn(point), version: point.version };
  return { outcome: 'ok', operation: { ...operation, ...seen, appliedIndex } };
}

const idOf = (key: string): number => Number(key.replace('session-', '')) + 1;
