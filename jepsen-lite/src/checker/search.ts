/**
 * Searching as reading: an acknowledged point is found by exact search and by a filter on its id,
 * as it was last written; a deleted one never; and what a search has shown is there until it is
 * overwritten or deleted, also when its write was never acknowledged. With each point seen as a
 * register, all of that is linearizability: a search that finds reads, one that finds nothing reads
 * "no such point". A search by graph may miss a point, and then says nothing.
 */
import { type FinishedOperation, finishedOperations, type HistoryEvent } from '../history.ts';
import { judgeKeyed, type KeyedOperation, keyed } from './linearizable.ts';
import { unknown, type Verdict, valid } from './verdict.ts';

export function judgeSearch(events: readonly HistoryEvent[]): Verdict {
  const operations = finishedOperations(events);
  const verdict = judgeKeyed(operations.map(toRegister));
  if (verdict.kind !== 'valid') return verdict;
  const answered = operations.filter(({ outcome }) => outcome === 'ok');
  const found = { exact: 0, filter: 0, graph: 0, scroll: 0 };
  let graphMissCount = 0;
  let writeCount = 0;
  for (const { operation } of answered) {
    if (operation.kind !== 'findPoint') writeCount += 1;
    else if (typeof operation.found === 'number') found[operation.means] += 1;
    else if (operation.means === 'graph') graphMissCount += 1;
  }
  if (writeCount === 0) return unknown('no write of a point was acknowledged');
  if (found.exact === 0 || found.filter === 0) {
    return unknown('no point was ever found by exact search, or none by a filter');
  }
  return valid({ ...verdict.summary, writeCount, found, graphMissCount });
}

function toRegister(finished: FinishedOperation): KeyedOperation | null {
  const { operation, outcome } = finished;
  if (outcome === 'fail') return null;
  switch (operation.kind) {
    case 'putPoint':
      return keyed(finished, operation.key, { kind: 'write', value: operation.value });
    case 'deletePoint':
      return keyed(finished, operation.key, { kind: 'write', value: null });
    case 'findPoint':
      if (outcome === 'info' || operation.found === undefined) return null;
      return keyed(finished, operation.key, { kind: 'read', value: operation.found });
    default:
      return null;
  }
}
