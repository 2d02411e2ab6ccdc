/**
 * The log is one order that agrees with real time: what began after something was answered has a
 * higher place (a write) or saw at least as much (a linearizable read). Linear in the history.
 */
import type { FinishedOperation } from '../history.ts';
import type { Problems } from './problems.ts';

export interface Placed {
  readonly finished: FinishedOperation;
  /** Of a write: its own place. Of a read: the place up to which it saw everything. */
  readonly index: number;
  readonly isWrite: boolean;
}

export function checkLogOrder(problems: Problems, placed: readonly Placed[]): void {
  const begins = placed.toSorted(
    (left, right) => left.finished.invokedAt - right.finished.invokedAt,
  );
  const ends = placed.toSorted(
    (left, right) => left.finished.finishedAt - right.finished.finishedAt,
  );
  let newest: Placed | null = null;
  let endCount = 0;
  for (const one of begins) {
    for (let end = ends[endCount]; end !== undefined; end = ends[endCount]) {
      if (end.finished.finishedAt >= one.finished.invokedAt) break;
      if (newest === null || end.index > newest.index) newest = end;
      endCount += 1;
    }
    if (newest === null) continue;
    const isLate = one.isWrite ? one.index > newest.index : one.index >= newest.index;
    if (isLate) continue;
    const facts = { index: one.index, answeredBefore: newest.index, isWrite: one.isWrite };
    problems.add(one.isWrite ? 'write behind its past' : 'stale read', facts, [
      newest.finished,
      one.finished,
    ]);
  }
}
