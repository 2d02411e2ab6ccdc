/**
 * Atomic batches: a batch gives several points of a group one value. Every reader sees all of a
 * batch or nothing of it, whichever way it reads and whichever node it asks; all readers see the
 * batches in one order, which is that of the log and of real time; nothing acknowledged is missing,
 * nothing refused or never asked for is seen, and no batch has two places in the log.
 */
import { type FinishedOperation, finishedOperations, type HistoryEvent } from '../history.ts';
import type { OperationOf } from '../operation.ts';
import { checkLogOrder, type Placed } from './log-order.ts';
import { Problems } from './problems.ts';
import { checkSnapshots, type KnownWrite, type SnapshotRead } from './snapshots.ts';
import { unknown, type Verdict, valid } from './verdict.ts';

interface Batch {
  readonly finished: FinishedOperation;
  readonly operation: OperationOf<'writeTogether'>;
  /** Its place in the log, from its answer or from the first read that saw it. */
  index: number | null;
}

export function judgeBatches(events: readonly HistoryEvent[]): Verdict {
  const operations = finishedOperations(events);
  const problems = new Problems();
  const batches = batchesOf(operations);
  const reads = readsTogetherOf(operations);
  for (const read of reads) checkRead(problems, batches, read);
  checkSnapshots(problems, knownWritesOf(batches), reads);
  checkLogOrder(problems, placedOf(batches, reads));
  const found = problems.toVerdict('batches');
  if (found !== null) return found;
  const acknowledgedCount = [...batches.values()].filter((one) => one.finished.outcome === 'ok');
  if (acknowledgedCount.length === 0) return unknown('no batch was acknowledged');
  if (reads.length === 0) return unknown('no read was answered');
  return valid({ acknowledgedCount: acknowledgedCount.length, readCount: reads.length });
}

/** By value, which is unique. */
function batchesOf(operations: readonly FinishedOperation[]): Map<number, Batch> {
  const batches = new Map<number, Batch>();
  for (const finished of operations) {
    const { operation, outcome } = finished;
    if (operation.kind !== 'writeTogether') continue;
    const index = outcome === 'ok' ? operation.index : null;
    batches.set(operation.value, { finished, operation, index });
  }
  return batches;
}

/** The answered reads of whole groups. */
export function readsTogetherOf(operations: readonly FinishedOperation[]): readonly SnapshotRead[] {
  return operations.flatMap((finished) => {
    const { operation, outcome } = finished;
    if (operation.kind !== 'readTogether' || outcome !== 'ok') return [];
    const { key, points, seen, appliedIndex } = operation;
    if (seen === null || appliedIndex === null) return [];
    return [{ finished, group: key, points, seen, appliedIndex }];
  });
}

function checkRead(problems: Problems, batches: Map<number, Batch>, read: SnapshotRead): void {
  const { finished, group, seen } = read;
  const versions = new Map(seen.map(({ point, version }) => [point, version]));
  for (const { point, value, version } of seen) {
    const batch = batches.get(value);
    const facts = { group, point, value, version };
    const isPossible =
      batch !== undefined &&
      batch.finished.outcome !== 'fail' &&
      batch.finished.invokedAt < finished.finishedAt &&
      batch.operation.key === group &&
      batch.operation.points.includes(point);
    if (!isPossible) {
      problems.add('phantom', facts, [finished]);
      continue;
    }
    batch.index ??= version;
    if (batch.index !== version) {
      const twice = { ...facts, indexes: [batch.index, version] };
      problems.add('executed twice', twice, [batch.finished, finished]);
    }
    const torn = batch.operation.points.filter((other) => (versions.get(other) ?? 0) < version);
    if (torn.length === 0) continue;
    problems.add('torn', { ...facts, missingPoints: torn }, [batch.finished, finished]);
  }
}

function knownWritesOf(batches: ReadonlyMap<number, Batch>): readonly KnownWrite[] {
  return [...batches.values()].flatMap(({ finished, operation, index }) => {
    if (index === null) return [];
    const { key, points, value } = operation;
    return points.map((point) => ({
      ...{ finished, group: key, seen: { point, value, version: index } },
    }));
  });
}

function placedOf(
  batches: ReadonlyMap<number, Batch>,
  reads: readonly SnapshotRead[],
): readonly Placed[] {
  return [
    ...[...batches.values()].flatMap(({ finished, index }) =>
      index === null ? [] : [{ finished, index, isWrite: true }],
    ),
    ...reads.map(({ finished, appliedIndex }) => ({
      ...{ finished, index: appliedIndex, isWrite: false },
    })),
  ];
}
