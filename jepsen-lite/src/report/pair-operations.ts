/**
 * Operations as they are drawn: both ends in time, also the moment at which a client gave up on
 * one (which a checker must not use, and a reader wants). Takes what a dead harness left: an
 * operation without an end is drawn to the end of the run. Pure.
 */
import type { HistoryEvent, Operation, Outcome } from '../history.ts';
import { clip } from './describe-operation.ts';

/** Codes are short; what a damaged file holds need not be. */
const CODE_LENGTH_MAX = 60;

export interface DrawnOperation {
  readonly processId: number;
  /** With what is known of its result. */
  readonly operation: Operation;
  readonly outcome: Outcome;
  readonly beginMs: number;
  /** When it was to begin by the chosen load: what it waited for its client counts as latency. */
  readonly intendedMs: number;
  /** When the client was told, or gave up; null: never. */
  readonly endMs: number | null;
  readonly errorCode: string | null;
}

/** In the order of their begin. A completion without an invocation is left out. */
export function pairOperations(events: readonly HistoryEvent[]): readonly DrawnOperation[] {
  type OperationEvent = Extract<HistoryEvent, { kind: 'operation' }>;
  const open = new Map<number, OperationEvent>();
  const drawn: DrawnOperation[] = [];
  for (const event of events) {
    if (event.kind !== 'operation') continue;
    if (event.phase === 'invoke') {
      open.set(event.processId, event);
      continue;
    }
    const begin = open.get(event.processId);
    if (begin === undefined) continue;
    open.delete(event.processId);
    drawn.push({
      processId: event.processId,
      operation: event.operation,
      outcome: event.phase,
      beginMs: begin.timeMs,
      intendedMs: begin.intendedMs ?? begin.timeMs,
      endMs: event.timeMs,
      errorCode: event.errorCode === undefined ? null : clip(event.errorCode, CODE_LENGTH_MAX),
    });
  }
  for (const { intendedMs, operation, processId, timeMs } of open.values()) {
    const times = { beginMs: timeMs, intendedMs: intendedMs ?? timeMs, endMs: null };
    drawn.push({ processId, operation, outcome: 'info', errorCode: null, ...times });
  }
  return drawn.sort((left, right) => left.beginMs - right.beginMs);
}
