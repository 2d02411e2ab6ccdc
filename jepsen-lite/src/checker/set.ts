/**
 * The set workload: every element is added once, and after healing everything is read.
 *
 * - an acknowledged element that is missing is lost: invalid;
 * - an element that was refused definitely and is present anyway: invalid;
 * - an element that nobody added: invalid;
 * - an element read twice: invalid, it took effect twice;
 * - an indefinite element may or may not be present.
 */
import { type FinishedOperation, finishedOperations, type HistoryEvent } from '../history.ts';
import { invalid, unknown, type Verdict, valid } from './verdict.ts';

export function judgeSet(events: readonly HistoryEvent[]): Verdict {
  const operations = finishedOperations(events);
  const finalRead = lastSuccessfulRead(operations);
  if (finalRead === null) return unknown('no final read succeeded');
  const attempts = groupByOutcome(operations, finalRead.invokedAt);
  const present = new Set(finalRead.elements);
  if (present.size !== finalRead.elements.length) {
    return invalid('the final read holds an element twice', duplicatesOf(finalRead.elements));
  }
  const lost = [...attempts.ok].filter((element) => !present.has(element));
  if (lost.length > 0) return invalid(`${lost.length} acknowledged elements are lost`, lost);
  const ghosts = [...present].filter((element) => attempts.fail.has(element));
  if (ghosts.length > 0) {
    return invalid(`${ghosts.length} definitely refused elements are present`, ghosts);
  }
  const foreign = [...present].filter(
    (element) => !attempts.ok.has(element) && !attempts.info.has(element),
  );
  if (foreign.length > 0) return invalid(`${foreign.length} elements nobody added`, foreign);
  if (attempts.ok.size === 0) return unknown('no add was acknowledged');
  return valid({
    acknowledgedCount: attempts.ok.size,
    refusedCount: attempts.fail.size,
    indefiniteCount: attempts.info.size,
    indefinitePresentCount: [...attempts.info].filter((element) => present.has(element)).length,
  });
}

interface Attempts {
  readonly ok: Set<number>;
  readonly fail: Set<number>;
  readonly info: Set<number>;
}

/** Adds acknowledged after the final read began need not be in it: they count as indefinite. */
function groupByOutcome(operations: readonly FinishedOperation[], readInvokedAt: number): Attempts {
  const attempts: Attempts = { ok: new Set(), fail: new Set(), info: new Set() };
  for (const { operation, outcome, finishedAt } of operations) {
    if (operation.kind !== 'add') continue;
    const isBeforeRead = finishedAt < readInvokedAt;
    attempts[outcome === 'ok' && !isBeforeRead ? 'info' : outcome].add(operation.element);
  }
  return attempts;
}

function lastSuccessfulRead(
  operations: readonly FinishedOperation[],
): { readonly elements: readonly number[]; readonly invokedAt: number } | null {
  for (const { operation, outcome, invokedAt } of operations.toReversed()) {
    if (operation.kind === 'readAll' && outcome === 'ok' && operation.elements !== null) {
      return { elements: operation.elements, invokedAt };
    }
  }
  return null;
}

function duplicatesOf(elements: readonly number[]): readonly number[] {
  const seen = new Set<number>();
  return elements.filter((element) => seen.has(element) || !seen.add(element));
}
