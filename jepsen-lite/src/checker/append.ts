/**
 * Lists that grow at the end by compare-and-set. There is one list per key, and every read is a
 * beginning of it: the longest that anybody saw. So no element is lost, none stands twice, and no
 * two readers saw different orders. Real time: what begins after an answer sees at least as much
 * as that answer, and an element is in no read that ended before it was asked for.
 */
import { type FinishedOperation, finishedOperations, type HistoryEvent } from '../history.ts';
import { Problems } from './problems.ts';
import { unknown, type Verdict, valid } from './verdict.ts';

/** A list that somebody saw, or made. */
interface Sight {
  readonly finished: FinishedOperation;
  readonly list: readonly number[];
}

interface Lists {
  readonly sights: Sight[];
  readonly appends: Map<number, FinishedOperation>;
}

export function judgeAppend(events: readonly HistoryEvent[]): Verdict {
  const problems = new Problems();
  let appendCount = 0;
  let readCount = 0;
  const byKey = listsOf(finishedOperations(events));
  for (const [key, { sights, appends }] of byKey) {
    checkOneList(problems, key, sights);
    checkElements(problems, key, sights, appends);
    checkGrowth(problems, key, sights);
    appendCount += [...appends.values()].filter(({ outcome }) => outcome === 'ok').length;
    readCount += sights.filter(({ finished }) => finished.operation.kind === 'readList').length;
  }
  const found = problems.toVerdict('lists');
  if (found !== null) return found;
  if (appendCount === 0) return unknown('no append was acknowledged');
  if (readCount === 0) return unknown('no read was answered');
  return valid({ keyCount: byKey.size, appendCount, readCount });
}

function listsOf(operations: readonly FinishedOperation[]): Map<string, Lists> {
  const byKey = new Map<string, Lists>();
  for (const finished of operations) {
    const { operation, outcome } = finished;
    if (operation.kind !== 'append' && operation.kind !== 'readList') continue;
    const lists: Lists = byKey.get(operation.key) ?? { sights: [], appends: new Map() };
    byKey.set(operation.key, lists);
    if (operation.kind === 'append') lists.appends.set(operation.element, finished);
    if (outcome !== 'ok' || operation.list === null) continue;
    // An append that was acknowledged knows the list that it made.
    const added = operation.kind === 'append' ? [operation.element] : [];
    lists.sights.push({ finished, list: [...operation.list, ...added] });
  }
  return byKey;
}

function checkOneList(problems: Problems, key: string, sights: readonly Sight[]): void {
  let longest: Sight | null = null;
  for (const sight of sights) {
    if (longest === null || sight.list.length > longest.list.length) longest = sight;
  }
  if (longest === null) return;
  for (const { finished, list } of sights) {
    const at = list.findIndex((element, position) => element !== longest.list[position]);
    if (at === -1) continue;
    const facts = { key, at, list: around(list, at), other: around(longest.list, at) };
    problems.add('two orders', facts, [longest.finished, finished]);
  }
}

/** A list is long; what differs is not. */
const around = (list: readonly number[], at: number): readonly number[] =>
  list.slice(Math.max(0, at - 2), at + 3);

function checkElements(
  problems: Problems,
  key: string,
  sights: readonly Sight[],
  appends: ReadonlyMap<number, FinishedOperation>,
): void {
  const told = new Set<number>();
  for (const { finished, list } of sights) {
    const seen = new Set<number>();
    for (const element of list) {
      if (told.has(element)) continue;
      const append = appends.get(element);
      const isPossible =
        append !== undefined && append.outcome !== 'fail' && append.invokedAt < finished.finishedAt;
      if (isPossible && !seen.has(element)) {
        seen.add(element);
        continue;
      }
      told.add(element);
      const witnesses = append === undefined ? [finished] : [append, finished];
      problems.add(isPossible ? 'duplicated' : 'phantom', { key, element }, witnesses);
    }
  }
}

/** Lists only grow: with all of them beginnings of one, lengths are enough. */
function checkGrowth(problems: Problems, key: string, sights: readonly Sight[]): void {
  const begins = sights.toSorted((a, b) => a.finished.invokedAt - b.finished.invokedAt);
  const ends = sights.toSorted((a, b) => a.finished.finishedAt - b.finished.finishedAt);
  let longest: Sight | null = null;
  let endCount = 0;
  for (const { finished, list } of begins) {
    for (let end = ends[endCount]; end !== undefined; end = ends[endCount]) {
      if (end.finished.finishedAt >= finished.invokedAt) break;
      if (longest === null || end.list.length > longest.list.length) longest = end;
      endCount += 1;
    }
    if (longest === null) continue;
    const isAppend = finished.operation.kind === 'append';
    const lengthMin = longest.list.length + (isAppend ? 1 : 0);
    if (list.length >= lengthMin) continue;
    const facts = { key, length: list.length, lengthMin, missing: longest.list.slice(list.length) };
    problems.add('lost or stale', facts, [longest.finished, finished]);
  }
}
