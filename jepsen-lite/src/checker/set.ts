/**
 * A set, read while it grows and after healing on every node; reads are linearizable (as Jepsen's
 * set-full). An element is known from its acknowledgement, or from the end of the first read that
 * saw it, whichever is first. Every read that begins later and covers it must hold it. If not:
 *
 * - lost: no later read holds it either;
 * - flickering: it had been seen, and is seen again later;
 * - stale: it was acknowledged, and is seen only later.
 *
 * And whatever was or was not known: `phantom` elements were never asked for, or refused for
 * good; `duplicated` ones stand twice in one read. All of these are invalid. A `recovered` element
 * is one whose add nobody acknowledged and that is there: allowed, and counted.
 */
import {
  type FinishedOperation,
  finishedOperations,
  type HistoryEvent,
  type Outcome,
} from '../history.ts';
import { type InvalidExample, invalid, unknown, type Verdict, valid } from './verdict.ts';

interface Add {
  readonly processId: number;
  readonly outcome: Outcome;
  readonly invokedAt: number;
  /** Infinity when it was not acknowledged. */
  readonly acknowledgedAt: number;
  readonly finishedMs: number;
  /** The end of the first read that saw it. */
  firstSeenAt: number;
  /** The begin of the last read that saw it; -1: never seen. */
  lastSeenAt: number;
  isReadAfterKnown: boolean;
}

interface Read {
  readonly finished: FinishedOperation;
  readonly elementMin: number;
  readonly elementMax: number;
  readonly elements: readonly number[];
}

export function judgeSet(events: readonly HistoryEvent[]): Verdict {
  const operations = finishedOperations(events);
  const adds = addsOf(operations);
  const reads = readsOf(operations);
  const problems = new Map<string, InvalidExample[]>();
  for (const read of reads) noteSeen(read, adds, problems);
  for (const read of reads) noteMissing(read, adds, problems);
  if (problems.size > 0) {
    const counts = [...problems].map(([name, examples]) => `${examples.length} ${name}`);
    // Some of each kind: the first kind must not push the others out.
    return invalid(`elements ${counts.join(', ')}`, interleaved([...problems.values()]));
  }
  return unknownIfUnread(operations, adds, reads) ?? valid(summaryOf(adds, reads));
}

function addsOf(operations: readonly FinishedOperation[]): Map<number, Add> {
  const adds = new Map<number, Add>();
  for (const { operation, processId, outcome, invokedAt, finishedAt, finishedMs } of operations) {
    if (operation.kind !== 'add') continue;
    const acknowledgedAt = outcome === 'ok' ? finishedAt : Infinity;
    adds.set(operation.element, {
      ...{ processId, outcome, invokedAt, acknowledgedAt, finishedMs },
      ...{ firstSeenAt: Infinity, lastSeenAt: -1, isReadAfterKnown: false },
    });
  }
  return adds;
}

function readsOf(operations: readonly FinishedOperation[]): readonly Read[] {
  return operations.flatMap((finished) => {
    const { operation, outcome } = finished;
    if (operation.kind !== 'readAll' || outcome !== 'ok' || operation.elements === null) return [];
    const { elementMin = 1, elementMax, elements } = operation;
    return [{ finished, elementMin, elementMax, elements }];
  });
}

type Problems = Map<string, InvalidExample[]>;

function noteSeen(read: Read, adds: Map<number, Add>, problems: Problems): void {
  const { invokedAt, finishedAt } = read.finished;
  const seen = new Set<number>();
  for (const element of read.elements) {
    if (seen.has(element)) note(problems, 'duplicated', element, read, adds);
    seen.add(element);
    const add = adds.get(element);
    const isPossible = add !== undefined && add.outcome !== 'fail' && add.invokedAt < finishedAt;
    if (!isPossible) note(problems, 'phantom', element, read, adds);
    if (add === undefined) continue;
    add.firstSeenAt = Math.min(add.firstSeenAt, finishedAt);
    add.lastSeenAt = Math.max(add.lastSeenAt, invokedAt);
  }
}

function noteMissing(read: Read, adds: Map<number, Add>, problems: Problems): void {
  const { invokedAt, finishedAt } = read.finished;
  const seen = new Set(read.elements);
  for (let element = read.elementMin; element <= read.elementMax; element++) {
    const add = adds.get(element);
    if (add === undefined) continue;
    const isKnown = Math.min(add.acknowledgedAt, add.firstSeenAt) < invokedAt;
    if (!isKnown) continue;
    add.isReadAfterKnown = true;
    if (seen.has(element)) continue;
    const wasSeen = add.firstSeenAt < invokedAt;
    const comesBack = add.lastSeenAt > finishedAt;
    const name = comesBack ? (wasSeen ? 'flickering' : 'stale') : 'lost';
    note(problems, name, element, read, adds);
  }
}

function note(
  problems: Problems,
  name: string,
  element: number,
  { finished, ...read }: Read,
  adds: ReadonlyMap<number, Add>,
): void {
  const add = adds.get(element);
  const examples = problems.get(name) ?? [];
  problems.set(name, examples);
  // Every read after a loss would tell of it again.
  if (examples.some((example) => example.element === element)) return;
  const isAcknowledged = add?.outcome === 'ok';
  examples.push({
    what: name,
    element,
    added: add?.outcome ?? 'never',
    readRange: [read.elementMin, read.elementMax],
    processIds: [...(add === undefined ? [] : [add.processId]), finished.processId],
    fromMs: isAcknowledged ? Math.min(add.finishedMs, finished.invokedMs) : finished.invokedMs,
    toMs: finished.finishedMs,
    timeMs: finished.finishedMs,
  });
}

/** A set that was not read to the end on every node that was asked has shown too little. */
function unknownIfUnread(
  operations: readonly FinishedOperation[],
  adds: ReadonlyMap<number, Add>,
  reads: readonly Read[],
): Verdict | null {
  if (reads.length === 0) return unknown('no read of the set succeeded');
  const acknowledged = [...adds.values()].filter(({ outcome }) => outcome === 'ok');
  if (acknowledged.length === 0) return unknown('no add was acknowledged');
  const lastAddAt = acknowledged.at(-1)?.invokedAt ?? 0;
  for (const { operation, outcome, invokedAt } of operations) {
    if (operation.kind !== 'readAll' || outcome === 'ok' || invokedAt < lastAddAt) continue;
    if ((operation.elementMin ?? 1) > 1) continue;
    return unknown(`the final read of node ${operation.nodePick ?? 'any'} failed`);
  }
  const unread = acknowledged.filter(({ isReadAfterKnown }) => !isReadAfterKnown).length;
  if (unread > 0) return unknown(`${unread} acknowledged elements were not read afterwards`);
  return null;
}

function summaryOf(adds: ReadonlyMap<number, Add>, reads: readonly Read[]) {
  const all = [...adds.values()];
  return {
    acknowledgedCount: all.filter(({ outcome }) => outcome === 'ok').length,
    refusedCount: all.filter(({ outcome }) => outcome === 'fail').length,
    indefiniteCount: all.filter(({ outcome }) => outcome === 'info').length,
    recoveredCount: all.filter(({ outcome, lastSeenAt }) => outcome === 'info' && lastSeenAt >= 0)
      .length,
    readCount: reads.length,
  };
}

function interleaved<Item>(groups: readonly (readonly Item[])[]): readonly Item[] {
  const longest = Math.max(...groups.map((group) => group.length));
  return Array.from({ length: longest }, (_unused, i) =>
    groups.flatMap((g) => g.slice(i, i + 1)),
  ).flat();
}
