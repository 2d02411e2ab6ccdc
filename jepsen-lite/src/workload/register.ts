/**
 * Registers: the payload of a point is the value. Bursts of operations meet on one key at one
 * moment, and many keys are in use at a time, so that every key sees concurrency and the checker's
 * work per key stays small. Some operations are asked of a node that the generator chose, over a
 * connection that stays with it: a leader that was cut off keeps its clients.
 *
 * Compare-and-set is a read and a write conditional on the version read, which is how an
 * application would do it; what it found becomes what it expected.
 */
import { HoldfastError, type Random } from '@holdfast/base';
import type { Consistency, StoredPoint } from '@holdfast/client';
import { judgeLinearizable } from '../checker/linearizable.ts';
import { steadyLoad } from '../generator/generator.ts';
import type { Operation, OperationOf, RegisterOperation } from '../operation.ts';
import {
  chosenNode,
  everyNode,
  type PerformedOperation,
  unexpectedOperation,
  type WorkerTools,
  type Workload,
  type WorkloadOptions,
} from './workload.ts';

const COLLECTION = 'jepsen-register';
const RATE_PER_SECOND = 240;
/** Operations that begin together on one key. At least 5 must be under way; some end at once. */
const BURST_COUNT = 8;
const LIVE_KEY_COUNT = 6;
/** Then the key is left for a new one: the checker's work grows steeply per key. */
const BURSTS_PER_KEY = 45;
const READ_SHARE = 0.5;
const WRITE_SHARE = 0.28;
const DELETE_SHARE = 0.03;
/** Of the reads, asked of a node of their own, which may be a follower. */
const DIRECT_READ_SHARE = 0.5;
/** Of the writes. Most nodes refuse them, which tells little. */
const DIRECT_WRITE_SHARE = 0.15;
const VECTOR: Float32Array = new Float32Array(4);

export function registerWorkload(options: WorkloadOptions): Workload {
  return registersReadBy('linearizable', options);
}

/**
 * The same with leases on, and every read by the lease of the leader: it asks nobody, so it is
 * right only as long as nobody else can have become leader.
 */
export function leasesWorkload(options: WorkloadOptions): Workload {
  const workload = registersReadBy('lease', options);
  return {
    ...workload,
    name: 'leases',
    prepare: async (client) => {
      await client.admin.setLeases(true);
      await workload.prepare(client);
    },
  };
}

function registersReadBy(consistency: Consistency, options: WorkloadOptions): Workload {
  const { seed, nodeCount, ratePerSecond = RATE_PER_SECOND } = options;
  const load = { seed, ratePerSecond, burstCount: BURST_COUNT };
  return {
    name: 'register',
    generator: steadyLoad(load, (position, random) =>
      registerOperationAt(position, random, nodeCount),
    ),
    prepare: async (client) => {
      await client.createCollection({
        ...{ name: COLLECTION, dimension: VECTOR.length, metric: 'l2', ifNotExists: true },
      });
    },
    perform: (tools, operation) => perform(tools, operation, consistency),
    finalOperations: (events, nodes) => finalReads(events, nodes),
    judge: (events) => judgeLinearizable(events),
  };
}

/** Pure. Values are positions, so unique; 0 would be the first. */
export function registerOperationAt(
  position: number,
  random: Random,
  nodeCount: number,
): RegisterOperation {
  const burst = Math.floor(position / BURST_COUNT);
  const generation = Math.floor(burst / (LIVE_KEY_COUNT * BURSTS_PER_KEY));
  const key = `register-${generation * LIVE_KEY_COUNT + (burst % LIVE_KEY_COUNT) + 1}`;
  const dice = random.nextFloat();
  const isRead = dice < READ_SHARE;
  const directShare = isRead ? DIRECT_READ_SHARE : DIRECT_WRITE_SHARE;
  const nodePick = random.nextFloat() < directShare ? random.nextBelow(nodeCount) : null;
  if (isRead) return { kind: 'read', key, value: undefined, nodePick };
  if (dice < READ_SHARE + DELETE_SHARE) return { kind: 'write', key, value: null, nodePick };
  const value = position + 1;
  if (dice < READ_SHARE + DELETE_SHARE + WRITE_SHARE)
    return { kind: 'write', key, value, nodePick };
  return { kind: 'compareAndSet', key, expected: undefined, value, nodePick };
}

/** The keys used last, on every node. */
function finalReads(
  events: Parameters<Workload['finalOperations']>[0],
  nodeCount: number,
): readonly RegisterOperation[] {
  const keys = new Set<string>();
  for (let i = events.length - 1; i >= 0 && keys.size < LIVE_KEY_COUNT; i--) {
    const event = events[i];
    if (event?.kind === 'operation' && 'key' in event.operation) keys.add(event.operation.key);
  }
  return [...keys].flatMap((key) =>
    everyNode(nodeCount).map((nodePick) => ({
      ...{ kind: 'read' as const, key, value: undefined, nodePick },
    })),
  );
}

async function perform(
  tools: WorkerTools,
  operation: Operation,
  consistency: Consistency,
): Promise<PerformedOperation> {
  switch (operation.kind) {
    case 'read': {
      const point = await readPoint(tools, operation, consistency);
      return { outcome: 'ok', operation: { ...operation, value: registerValueOf(point) } };
    }
    case 'write':
      await write(tools, operation, operation.value, {});
      return { outcome: 'ok', operation };
    case 'compareAndSet':
      return compareAndSet(tools, operation, consistency);
    default:
      throw unexpectedOperation('register', operation);
  }
}

async function compareAndSet(
  tools: WorkerTools,
  asked: OperationOf<'compareAndSet'>,
  consistency: Consistency,
): Promise<PerformedOperation> {
  const point = await asUnsent(() => readPoint(tools, asked, consistency));
  const operation = { ...asked, expected: registerValueOf(point) };
  const condition = point === null ? { ifAbsent: true } : { ifVersion: point.version };
  try {
    await write(tools, operation, operation.value, condition);
    return { outcome: 'ok', operation };
  } catch (thrown) {
    if (!(thrown instanceof HoldfastError)) throw thrown;
    // What it expected is known even if its end is not.
    return { outcome: thrown.definite ? 'fail' : 'info', operation, errorCode: thrown.code };
  }
}

/** A read that fails has written nothing, whatever became of it. */
export async function asUnsent<Result>(read: () => Promise<Result>): Promise<Result> {
  try {
    return await read();
  } catch (thrown) {
    if (!(thrown instanceof HoldfastError) || thrown.definite) throw thrown;
    throw new HoldfastError('NO_NODE_REACHABLE', 'the read before the write failed', {
      cause: thrown,
    });
  }
}

async function readPoint(
  tools: WorkerTools,
  { key, nodePick }: RegisterOperation,
  consistency: Consistency,
): Promise<StoredPoint | null> {
  const ids = [idOf(key)];
  const node = chosenNode(tools, nodePick);
  const { points } =
    node === null
      ? await tools.client.collection(COLLECTION).getMany(ids, { consistency })
      : await node.ask('get', { collection: COLLECTION, ids, consistency });
  return points[0] ?? null;
}

async function write(
  tools: WorkerTools,
  { key, nodePick }: RegisterOperation,
  value: number | null,
  condition: { readonly ifAbsent?: boolean; readonly ifVersion?: number },
): Promise<void> {
  const id = idOf(key);
  const node = chosenNode(tools, nodePick);
  const collection = tools.client.collection(COLLECTION);
  if (value === null) {
    if (node === null) await collection.delete(id);
    else await node.ask('delete', { collection: COLLECTION, points: [{ id }] });
    return;
  }
  const point = { id, vector: VECTOR, payload: { value }, ...condition };
  if (node === null) await collection.upsert(point);
  else await node.ask('upsert', { collection: COLLECTION, points: [point] });
}

const idOf = (key: string): number => Number(key.replace('register-', ''));

function registerValueOf(point: StoredPoint | null): number | null {
  return point === null ? null : numberIn(point);
}

/** The number under `value` in the payload. */
export function numberIn(point: {
  readonly id: StoredPoint['id'];
  readonly payload?: StoredPoint['payload'];
}): number {
  const value = point.payload?.value;
  if (typeof value !== 'number') throw new Error(`point ${point.id} holds no number`);
  return value;
}
