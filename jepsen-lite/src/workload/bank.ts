/**
 * A bank: transfers are reads of two accounts and one batch that writes both on condition that
 * neither has changed. Reads are of all accounts, by get, scroll and search, from any node.
 */
import { HoldfastError, type Random } from '@holdfast/base';
import { judgeBank } from '../checker/bank.ts';
import { steadyLoad } from '../generator/generator.ts';
import type { HistoryEvent, Operation } from '../history.ts';
import type { GroupOperation, OperationOf, ReadMeans } from '../operation.ts';
import { READ_MEANS } from './batch.ts';
import { readTogether } from './group-read.ts';
import { asUnsent, numberIn } from './register.ts';
import {
  everyNode,
  type PerformedOperation,
  unexpectedOperation,
  type WorkerTools,
  type Workload,
  type WorkloadOptions,
} from './workload.ts';

const COLLECTION = 'jepsen-bank';
const DIMENSION = 4;
const SHARD_COUNT = 4;
const RATE_PER_SECOND = 160;
/** Enough that two transfers seldom meet on an account: a conflict moves no money. */
const ACCOUNT_COUNT = 40;
const INITIAL_BALANCE = 20;
/** Often more than there is: then nothing may move. */
const AMOUNT_MAX = 25;
const TRANSFER_SHARE = 0.5;
const DIRECT_READ_SHARE = 0.5;

const ACCOUNTS: readonly number[] = Array.from({ length: ACCOUNT_COUNT }, (_unused, i) => i + 1);

export const BANK = { accountCount: ACCOUNT_COUNT, total: ACCOUNT_COUNT * INITIAL_BALANCE };

export function bankWorkload(options: WorkloadOptions): Workload {
  const { seed, nodeCount, ratePerSecond = RATE_PER_SECOND } = options;
  return {
    name: 'bank',
    generator: steadyLoad({ seed, ratePerSecond, burstCount: 4 }, (_position, random) =>
      bankOperationAt(random, nodeCount),
    ),
    prepare: async (client) => {
      await client.createCollection({
        ...{ name: COLLECTION, dimension: DIMENSION, metric: 'l2', shardCount: SHARD_COUNT },
        ifNotExists: true,
      });
      const points = ACCOUNTS.map((account) => accountOf(account, INITIAL_BALANCE, {}));
      await client.collection(COLLECTION).upsert(points);
    },
    perform,
    finalOperations: finalReads,
    judge: (events) => judgeBank(events, BANK),
  };
}

/** Pure. */
export function bankOperationAt(random: Random, nodeCount: number): GroupOperation {
  if (random.nextFloat() < TRANSFER_SHARE) {
    const from = 1 + random.nextBelow(ACCOUNT_COUNT);
    const other = 1 + random.nextBelow(ACCOUNT_COUNT - 1);
    const to = other < from ? other : other + 1;
    const amount = 1 + random.nextBelow(AMOUNT_MAX);
    const unknown = { foundCount: null, balances: null, index: null };
    return { kind: 'transfer', from, to, amount, ...unknown };
  }
  const nodePick = random.nextFloat() < DIRECT_READ_SHARE ? random.nextBelow(nodeCount) : null;
  return readOf(READ_MEANS[random.nextBelow(READ_MEANS.length)]!, nodePick);
}

const readOf = (means: ReadMeans, nodePick: number | null): OperationOf<'readTogether'> => ({
  ...{ kind: 'readTogether', key: 'accounts', points: ACCOUNTS, means, nodePick },
  ...{ seen: null, appliedIndex: null },
});

function finalReads(
  _events: readonly HistoryEvent[],
  nodeCount: number,
): readonly OperationOf<'readTogether'>[] {
  return everyNode(nodeCount).flatMap((nodePick) =>
    READ_MEANS.map((means) => readOf(means, nodePick)),
  );
}

async function perform(tools: WorkerTools, operation: Operation): Promise<PerformedOperation> {
  if (operation.kind === 'transfer') return transfer(tools, operation);
  if (operation.kind === 'readTogether') {
    const done = await readTogether(tools, COLLECTION, DIMENSION, operation);
    return { outcome: 'ok', operation: done };
  }
  throw unexpectedOperation('bank', operation);
}

async function transfer(
  { client }: WorkerTools,
  asked: OperationOf<'transfer'>,
): Promise<PerformedOperation> {
  const { from, to, amount } = asked;
  const collection = client.collection(COLLECTION);
  const points = await asUnsent(() => collection.get([from, to]));
  const [source, target] = points;
  const foundCount = points.length;
  // What that means is the checker's to say.
  if (source === undefined || target === undefined) {
    return { outcome: 'fail', operation: { ...asked, foundCount } };
  }
  const balances: readonly [number, number] = [
    numberIn(source) - amount,
    numberIn(target) + amount,
  ];
  const operation = { ...asked, foundCount, balances };
  if (balances[0] < 0) return { outcome: 'fail', operation };
  try {
    const { index } = await collection.upsert([
      accountOf(from, balances[0], { ifVersion: source.version }),
      accountOf(to, balances[1], { ifVersion: target.version }),
    ]);
    return { outcome: 'ok', operation: { ...operation, index } };
  } catch (thrown) {
    if (!(thrown instanceof HoldfastError)) throw thrown;
    return { outcome: thrown.definite ? 'fail' : 'info', operation, errorCode: thrown.code };
  }
}

const accountOf = (id: number, value: number, condition: { readonly ifVersion?: number }) => ({
  ...{ id, vector: new Float32Array(DIMENSION).fill(id), payload: { value }, ...condition },
});
