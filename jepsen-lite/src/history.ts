/**
 * What happened, in the order in which this one process saw it: the only input of every checker.
 *
 * Invariants: an operation begins with `invoke` and ends at most once, with `ok` (it took effect
 * and this is the result), `fail` (it certainly did not and never will) or `info` (nobody knows). A
 * logical process runs one operation at a time; after `info` its id is retired, because the old
 * operation may still be running.
 */
import { assert } from '@holdfast/base';
import type { Operation } from './operation.ts';

export type { Operation } from './operation.ts';

export type Outcome = 'ok' | 'fail' | 'info';

export type HistoryEvent =
  | {
      readonly kind: 'operation';
      readonly phase: 'invoke' | Outcome;
      readonly processId: number;
      readonly operation: Operation;
      readonly timeMs: number;
      /** Of an `invoke`: when it was to begin by the chosen load; latency counts from there. */
      readonly intendedMs?: number;
      readonly errorCode?: string;
    }
  | FaultEvent;

/** A fault lasts from an installed harm of its nemesis to the next installed healing of it. */
export interface FaultEvent {
  readonly kind: 'fault';
  readonly nemesis: string;
  readonly action: string;
  readonly isHealing: boolean;
  readonly outcome: 'installed' | 'skipped' | 'indeterminate';
  /** Whom it hit and how, for people. */
  readonly detail: string;
  /** Names of the nodes that it hit; empty when it is about all or none. */
  readonly targets: readonly string[];
  /** When the action began: acknowledgements during it belong to the time after. */
  readonly timeMs: number;
  /** When it was in place. */
  readonly doneMs: number;
}

/** An operation with both ends; positions are indexes into the history, a total order. */
export interface FinishedOperation {
  readonly processId: number;
  /** With what is known of its result. */
  readonly operation: Operation;
  readonly outcome: Outcome;
  readonly invokedAt: number;
  /** Infinity for `info`: it may take effect at any later time. */
  readonly finishedAt: number;
  readonly invokedMs: number;
  readonly finishedMs: number;
}

/** Above this a run is cut short rather than the checker fed with gigabytes. */
const EVENT_COUNT_MAX = 2_000_000;

export class History {
  readonly #events: HistoryEvent[] = [];
  readonly #openProcesses = new Set<number>();

  get events(): readonly HistoryEvent[] {
    return this.#events;
  }

  get isFull(): boolean {
    return this.#events.length >= EVENT_COUNT_MAX;
  }

  invoke(processId: number, operation: Operation, timeMs: number, intendedMs?: number): void {
    assert(!this.#openProcesses.has(processId), 'a process runs one operation at a time', {
      processId,
    });
    this.#openProcesses.add(processId);
    this.#events.push({
      ...{ kind: 'operation', phase: 'invoke', processId, operation, timeMs },
      ...(intendedMs === undefined ? {} : { intendedMs }),
    });
  }

  finish(
    processId: number,
    outcome: Outcome,
    operation: Operation,
    timeMs: number,
    errorCode?: string,
  ): void {
    assert(this.#openProcesses.delete(processId), 'only an open operation can finish', {
      processId,
    });
    this.#events.push({
      kind: 'operation',
      phase: outcome,
      processId,
      operation,
      timeMs,
      ...(errorCode === undefined ? {} : { errorCode }),
    });
  }

  fault(event: Omit<FaultEvent, 'kind'>): void {
    this.#events.push({ kind: 'fault', ...event });
  }
}

/** Pairs invocations with completions. An operation without completion counts as `info`. */
export function finishedOperations(events: readonly HistoryEvent[]): readonly FinishedOperation[] {
  const open = new Map<number, { event: OperationEvent; position: number }>();
  const finished: FinishedOperation[] = [];
  events.forEach((event, position) => {
    if (event.kind === 'fault') return;
    if (event.phase === 'invoke') {
      assert(!open.has(event.processId), 'history has two open operations of one process', {
        processId: event.processId,
        position,
      });
      open.set(event.processId, { event, position });
      return;
    }
    const begin = open.get(event.processId);
    assert(begin !== undefined, 'history completes what was not invoked', { position });
    open.delete(event.processId);
    finished.push(pairOf(begin.event, begin.position, event, event.phase, position));
  });
  for (const { event, position } of open.values()) {
    finished.push(pairOf(event, position, null, 'info', Infinity));
  }
  return finished.sort((left, right) => left.invokedAt - right.invokedAt);
}

type OperationEvent = Extract<HistoryEvent, { kind: 'operation' }>;

function pairOf(
  begin: OperationEvent,
  invokedAt: number,
  end: OperationEvent | null,
  outcome: Outcome,
  finishedAt: number,
): FinishedOperation {
  return {
    processId: begin.processId,
    operation: end === null ? begin.operation : end.operation,
    outcome,
    invokedAt,
    finishedAt: outcome === 'info' ? Infinity : finishedAt,
    invokedMs: begin.timeMs,
    finishedMs: outcome === 'info' || end === null ? Infinity : end.timeMs,
  };
}
