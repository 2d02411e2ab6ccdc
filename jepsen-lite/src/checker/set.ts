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
import { Problems } from './problems.ts';
import { unknown, type Verdict, valid } from './verdict.ts';

interface Add {
  readonly finished: FinishedOperation;
  readonly outcome: Outcome;
  readonly invokedAt: number;
  /** Infinity when it was not acknowledged. */
  readonly acknowledgedAt: number;
  /** The end of the first read that saw it. */
  firstSeenAt: number;
  /** The begin of the last read that saw it; -1: never seen. */
  lastSeenAt: number;
  isReadAfterKnown: boolean;
  /** What was found wrong with it: every read after a loss would tell of it again. */
  readonly told: Set<string>;
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
  const problems = new Problems();
  for (const read of reads) noteSeen(read, adds, problems);
  for (const read of reads) noteMissing(read, adds, problems);
  const found = problems.toVerdict('elements');
  if (found !== null) return found;
  return unknownIfUnread(operations, adds, reads) ?? valid(summaryOf(adds, reads));
}

function addsOf(operations: readonly FinishedOperation[]): Map<number, Add> {
  const adds = new Map<number, Add>();
  for (const finished of operations) {
    const { operation, outcome, invokedAt, finishedAt } = finished;
    if (operation.kind !== 'add') continue;
    const acknowledgedAt = outcome === 'ok' ? finishedAt : Infinity;
    adds.set(operation.element, {
      ...{ finished, outcome, invokedAt, acknowledgedAt },
      ...{ firstSeenAt: Infinity, lastSeenAt: -1, isReadAfterKnown: false, told: new Set() },
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
  what: string,
  element: number,
  { finished, elementMin, elementMax }: Read,
  adds: ReadonlyMap<number, Add>,
): void {
  const add = adds.get(element);
  if (add?.told.has(what)) return;
  add?.told.add(what);
  const facts = { element, added: add?.outcome ?? 'never', readRange: [elementMin, elementMax] };
  problems.add(what, facts, add === undefined ? [finished] : [add.finished, finished]);
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
  const failed = new Set<number | null>();
  for (const { operation, outcome, invokedAt } of operations) {
    if (operation.kind !== 'readAll' || invokedAt < lastAddAt) continue;
    // A window, even one from the first element on, is read on the way and may fail there.
    if (operation.elementMin !== undefined) continue;
    // Final reads are repeated until they are answered.
    if (outcome === 'ok') failed.delete(operation.nodePick ?? null);
    else failed.add(operation.nodePick ?? null);
  }
  for (const nodePick of failed)
    return unknown(`the final read of node ${nodePick ?? 'any'} failed`);
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
