/**
 * One request on several nodes at once counts once: all answers name one place in the log, no
 * answer says that the element was there already (nobody else inserts it) or that there is no such
 * collection, and every node shows the element with the version that was answered. An element of an
 * unanswered request may be there or not; a refused one is not.
 */
import { type FinishedOperation, finishedOperations, type HistoryEvent } from '../history.ts';
import type { OperationOf } from '../operation.ts';
import { Problems } from './problems.ts';
import { unknown, type Verdict, valid } from './verdict.ts';

interface Insert {
  readonly finished: FinishedOperation;
  readonly operation: OperationOf<'insertRepeated'>;
  /** The place in the log, from an answer or from the first read that saw it. */
  version: number | null;
}

export function judgeRetries(events: readonly HistoryEvent[]): Verdict {
  const operations = finishedOperations(events);
  const problems = new Problems();
  const inserts = insertsOf(operations);
  for (const insert of inserts.values()) checkAnswers(problems, insert);
  let readCount = 0;
  const failed = new Set<string>();
  for (const finished of operations) {
    const { operation, outcome } = finished;
    if (operation.kind !== 'readRepeated') continue;
    const name = `elements from ${operation.elementMin} on node ${operation.nodePick ?? 'any'}`;
    // Final reads are repeated until they are answered.
    if (outcome === 'ok') failed.delete(name);
    else failed.add(name);
    if (outcome !== 'ok') continue;
    readCount += 1;
    checkRead(problems, inserts, finished, operation);
  }
  const found = problems.toVerdict('requests');
  if (found !== null) return found;
  for (const name of failed) return unknown(`the final read of ${name} failed`);
  if (readCount === 0) return unknown('no final read was answered');
  const answered = [...inserts.values()].filter(({ finished }) => finished.outcome === 'ok');
  const answerCounts = answered.map(({ operation }) => operation.indexes?.length ?? 0);
  const repeatedCount = answerCounts.filter((count) => count > 1).length;
  if (answered.length === 0) return unknown('no request was answered');
  if (repeatedCount === 0) return unknown('no request was answered more than once');
  return valid({ requestCount: inserts.size, answeredCount: answered.length, repeatedCount });
}

function insertsOf(operations: readonly FinishedOperation[]): Map<number, Insert> {
  const inserts = new Map<number, Insert>();
  for (const finished of operations) {
    const { operation, outcome } = finished;
    if (operation.kind !== 'insertRepeated') continue;
    const version = outcome === 'ok' ? (operation.indexes?.[0] ?? null) : null;
    inserts.set(operation.element, { finished, operation, version });
  }
  return inserts;
}

function checkAnswers(problems: Problems, { finished, operation }: Insert): void {
  const { element, indexes, refusals } = operation;
  const facts = { element, indexes, refusals };
  if (new Set(indexes ?? []).size > 1) problems.add('executed twice', facts, [finished]);
  // The element is unique and has one writer: only its own first execution can be in the way.
  if (refusals?.includes('VERSION_CONFLICT')) problems.add('executed twice', facts, [finished]);
  // The collection was there before and nobody drops it.
  else if ((refusals ?? []).length > 0) problems.add('refused without a reason', facts, [finished]);
}

function checkRead(
  problems: Problems,
  inserts: ReadonlyMap<number, Insert>,
  finished: FinishedOperation,
  { elementMin, elementMax, nodePick, seen }: OperationOf<'readRepeated'>,
): void {
  const versions = new Map((seen ?? []).map(({ point, version }) => [point, version]));
  for (const [element, version] of versions) {
    const insert = inserts.get(element);
    const facts = { element, version, nodePick };
    if (insert === undefined || insert.finished.outcome === 'fail') {
      problems.add(
        'phantom',
        facts,
        insert === undefined ? [finished] : [insert.finished, finished],
      );
      continue;
    }
    insert.version ??= version;
    if (insert.version === version) continue;
    const twice = { ...facts, answered: insert.version };
    problems.add('executed twice', twice, [insert.finished, finished]);
  }
  for (let element = elementMin; element <= elementMax; element++) {
    const insert = inserts.get(element);
    if (insert?.finished.outcome !== 'ok' || versions.has(element)) continue;
    if (insert.finished.finishedAt >= finished.invokedAt) continue;
    problems.add('lost', { element, nodePick }, [insert.finished, finished]);
  }
}
