/**
 * Reads that may be stale. Promised is: every answer is the state at the log index that it names
 * (`snapshots.ts`: so whoever has been told an index and gets an answer of at least that index
 * reads his own writes and never goes back); it is no staler than was allowed, that is, every write
 * acknowledged so long before the read began is in it; and a node never goes back, so who stays
 * with one node reads monotonically.
 */
import { type FinishedOperation, finishedOperations, type HistoryEvent } from '../history.ts';
import type { OperationOf } from '../operation.ts';
import { checkLogOrder } from './log-order.ts';
import { Problems } from './problems.ts';
import { checkSnapshots, type KnownWrite } from './snapshots.ts';
import { unknown, type Verdict, valid } from './verdict.ts';

interface Read {
  readonly finished: FinishedOperation;
  readonly operation: OperationOf<'readStale'>;
  readonly appliedIndex: number;
}

export function judgeSessions(events: readonly HistoryEvent[]): Verdict {
  const operations = finishedOperations(events);
  const problems = new Problems();
  const writes = writesOf(operations);
  const reads = readsOf(operations);
  checkSnapshots(
    problems,
    writes,
    reads.map(({ finished, operation, appliedIndex }) => ({
      ...{ finished, group: operation.key, points: [0], seen: seenOf(operation), appliedIndex },
    })),
  );
  checkLogOrder(
    problems,
    writes.map(({ finished, seen }) => ({ finished, index: seen.version, isWrite: true })),
  );
  checkPhantoms(problems, operations, reads);
  checkStaleness(problems, writes, reads);
  checkNodes(problems, reads);
  const found = problems.toVerdict('stale reads');
  if (found !== null) return found;
  if (writes.length === 0) return unknown('no write was acknowledged');
  if (reads.length === 0) return unknown('no stale read was answered');
  return valid({ writeCount: writes.length, readCount: reads.length });
}

const seenOf = ({ value, version }: OperationOf<'readStale'>) =>
  value === null || version === null ? [] : [{ point: 0, value, version }];

/** Acknowledged ones. A key is one point. */
function writesOf(operations: readonly FinishedOperation[]): readonly KnownWrite[] {
  return operations.flatMap((finished) => {
    const { operation, outcome } = finished;
    if (operation.kind !== 'writeVersioned' || outcome !== 'ok') return [];
    const { key, value, index } = operation;
    if (index === null) return [];
    return [{ finished, group: key, seen: { point: 0, value, version: index } }];
  });
}

function readsOf(operations: readonly FinishedOperation[]): readonly Read[] {
  return operations.flatMap((finished) => {
    const { operation, outcome } = finished;
    if (operation.kind !== 'readStale' || outcome !== 'ok') return [];
    const { appliedIndex } = operation;
    return appliedIndex === null ? [] : [{ finished, operation, appliedIndex }];
  });
}

function checkPhantoms(
  problems: Problems,
  operations: readonly FinishedOperation[],
  reads: readonly Read[],
): void {
  const writes = new Map<number, FinishedOperation>();
  for (const finished of operations) {
    const { operation } = finished;
    if (operation.kind === 'writeVersioned') writes.set(operation.value, finished);
  }
  for (const { finished, operation } of reads) {
    if (operation.value === null) continue;
    const write = writes.get(operation.value);
    const isPossible =
      write !== undefined &&
      write.outcome !== 'fail' &&
      write.invokedAt < finished.finishedAt &&
      'key' in write.operation &&
      write.operation.key === operation.key;
    const { key, value } = operation;
    if (!isPossible) problems.add('phantom', { key, value }, [finished]);
  }
}

/** Times of one process: the harness saw both the acknowledgement and the begin of the read. */
function checkStaleness(
  problems: Problems,
  writes: readonly KnownWrite[],
  reads: readonly Read[],
): void {
  const acknowledged = writes.toSorted((a, b) => a.finished.finishedMs - b.finished.finishedMs);
  const due = reads
    .map((read) => ({ read, ms: read.finished.invokedMs - read.operation.stalenessMsMax }))
    .sort((left, right) => left.ms - right.ms);
  let newest: KnownWrite | null = null;
  let count = 0;
  for (const { read, ms } of due) {
    for (let next = acknowledged[count]; next !== undefined; next = acknowledged[count]) {
      if (next.finished.finishedMs >= ms) break;
      if (newest === null || next.seen.version > newest.seen.version) newest = next;
      count += 1;
    }
    if (newest === null || read.appliedIndex >= newest.seen.version) continue;
    const { nodePick, stalenessMsMax } = read.operation;
    const behindMs = read.finished.invokedMs - newest.finished.finishedMs;
    const facts = { nodePick, stalenessMsMax, behindMs, appliedIndex: read.appliedIndex };
    problems.add('too stale', facts, [newest.finished, read.finished]);
  }
}

function checkNodes(problems: Problems, reads: readonly Read[]): void {
  const nodePicks = new Set(reads.map(({ operation }) => operation.nodePick));
  for (const nodePick of nodePicks) {
    const own = new Problems();
    checkLogOrder(
      own,
      reads
        .filter(({ operation }) => operation.nodePick === nodePick)
        .map(({ finished, appliedIndex }) => ({ finished, index: appliedIndex, isWrite: false })),
    );
    const verdict = own.toVerdict('node');
    if (verdict?.kind !== 'invalid') continue;
    for (const { what: _what, ...facts } of verdict.examples) {
      problems.add('a node went back', { ...facts, nodePick });
    }
  }
}
