/**
 * A bank: money moves between accounts, all of it in conditional batches. In every read the sum is
 * what it was in the beginning and no account is overdrawn; every account has one balance per
 * version; all reads fit one order of the transfers, which is that of the log and of real time.
 */
import { type FinishedOperation, finishedOperations, type HistoryEvent } from '../history.ts';
import { readsTogetherOf } from './batch.ts';
import { checkLogOrder, type Placed } from './log-order.ts';
import { Problems } from './problems.ts';
import { checkSnapshots, type KnownWrite, type SnapshotRead } from './snapshots.ts';
import { unknown, type Verdict, valid } from './verdict.ts';

export interface BankOptions {
  readonly accountCount: number;
  readonly total: number;
}

/** All reads are of one group: the accounts. */
export function judgeBank(events: readonly HistoryEvent[], options: BankOptions): Verdict {
  const operations = finishedOperations(events);
  const problems = new Problems();
  const reads = readsTogetherOf(operations);
  const writes = reads.length === 0 ? [] : transfersOf(operations, reads[0]!.group);
  for (const read of reads) checkRead(problems, read, options);
  for (const finished of operations) checkFound(problems, finished);
  checkSnapshots(problems, writes, reads);
  const placed = placedOf(operations, reads);
  checkLogOrder(problems, placed);
  const found = problems.toVerdict('accounts');
  if (found !== null) return found;
  const transferCount = placed.length - reads.length;
  if (transferCount === 0) return unknown('no transfer was acknowledged');
  if (reads.length === 0) return unknown('no read was answered');
  return valid({ transferCount, readCount: reads.length, total: options.total });
}

function checkRead(problems: Problems, read: SnapshotRead, options: BankOptions): void {
  const { finished, seen } = read;
  const balances = seen.map(({ value }) => value);
  const total = balances.reduce((sum, balance) => sum + balance, 0);
  const facts = { balances, total, expected: options.total };
  const accountCount = new Set(seen.map(({ point }) => point)).size;
  if (accountCount !== options.accountCount || seen.length !== options.accountCount) {
    problems.add('accounts missing or twice', facts, [finished]);
  } else if (total !== options.total) problems.add('wrong total', facts, [finished]);
  if (balances.some((balance) => balance < 0)) problems.add('overdrawn', facts, [finished]);
}

/** No account is ever deleted, so a transfer that found only one of two saw a lost point. */
function checkFound(problems: Problems, finished: FinishedOperation): void {
  const { operation } = finished;
  if (operation.kind !== 'transfer' || operation.foundCount === null) return;
  const { from, to, foundCount } = operation;
  if (foundCount < 2) problems.add('accounts missing', { from, to, foundCount }, [finished]);
}

/** What acknowledged transfers left in the two accounts. */
function transfersOf(
  operations: readonly FinishedOperation[],
  group: string,
): readonly KnownWrite[] {
  return operations.flatMap((finished) => {
    const { operation, outcome } = finished;
    if (operation.kind !== 'transfer' || outcome !== 'ok') return [];
    const { from, to, balances, index } = operation;
    if (balances === null || index === null) return [];
    return [from, to].map((point, i) => ({
      ...{ finished, group, seen: { point, value: balances[i] ?? 0, version: index } },
    }));
  });
}

function placedOf(
  operations: readonly FinishedOperation[],
  reads: readonly SnapshotRead[],
): readonly Placed[] {
  const placed: Placed[] = reads.map(({ finished, appliedIndex }) => ({
    ...{ finished, index: appliedIndex, isWrite: false },
  }));
  for (const finished of operations) {
    const { operation, outcome } = finished;
    if (operation.kind !== 'transfer' || outcome !== 'ok' || operation.index === null) continue;
    placed.push({ finished, index: operation.index, isWrite: true });
  }
  return placed;
}
