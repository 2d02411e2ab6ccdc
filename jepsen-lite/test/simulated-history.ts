/**
 * Histories that are right because one machine made them: every operation takes effect at one
 * moment between its call and its return, or, unanswered, at any later moment or never. A checker
 * must accept each of them, and refuse it once somebody has lied in it.
 */
import { SeededRandom } from '@holdfast/base';
import { finishedOperations, History, type HistoryEvent } from '../src/history.ts';
import type { Operation } from '../src/operation.ts';

/** What the machine answers: `fail` changed nothing. */
export interface Effect {
  readonly outcome: 'ok' | 'fail';
  readonly operation: Operation;
}

export interface SimulationOptions {
  readonly seed: number;
  readonly workerCount: number;
  readonly operations: readonly Operation[];
  /** Share of operations whose answer is lost. */
  readonly lossShare?: number;
  readonly apply: (operation: Operation) => Effect;
}

interface Running {
  readonly processId: number;
  readonly operation: Operation;
  effect: Effect | null;
}

export function simulate(options: SimulationOptions): readonly HistoryEvent[] {
  const { workerCount, operations, apply, lossShare = 0 } = options;
  const random = new SeededRandom(options.seed);
  const history = new History();
  const workers: (Running | null)[] = Array.from({ length: workerCount }, () => null);
  const processIds = workers.map((_unused, worker) => worker);
  const lost: Running[] = [];
  let begun = 0;
  for (let timeMs = 0; begun < operations.length || workers.some((one) => one !== null); timeMs++) {
    if (lost.length > 0 && random.nextBelow(20) === 0) {
      const [late] = lost.splice(random.nextBelow(lost.length), 1);
      if (late !== undefined) apply(late.operation);
    }
    const worker = random.nextBelow(workerCount);
    const running = workers[worker] ?? null;
    const operation = operations[begun];
    if (running === null) {
      if (operation === undefined) continue;
      begun += 1;
      const processId = processIds[worker]!;
      history.invoke(processId, operation, timeMs);
      workers[worker] = { processId, operation, effect: null };
    } else if (running.effect !== null) {
      const { outcome, operation: answered } = running.effect;
      history.finish(running.processId, outcome, answered, timeMs);
      workers[worker] = null;
    } else if (random.nextFloat() < lossShare) {
      history.finish(running.processId, 'info', running.operation, timeMs);
      processIds[worker]! += workerCount;
      workers[worker] = null;
      if (random.nextBelow(3) > 0) lost.push(running);
    } else {
      running.effect = apply(running.operation);
    }
  }
  return history.events;
}

/** The final operations: one after the other, each answered. */
export function withFinals(
  events: readonly HistoryEvent[],
  finals: readonly Operation[],
  apply: (operation: Operation) => Effect,
): readonly HistoryEvent[] {
  const added = finals.flatMap((operation, i): HistoryEvent[] => {
    const timeMs = events.length * 3 + i * 2;
    const { outcome, operation: answered } = apply(operation);
    const common = { kind: 'operation', processId: 1_000_000 + i } as const;
    return [
      { ...common, phase: 'invoke', operation, timeMs },
      { ...common, phase: outcome, operation: answered, timeMs: timeMs + 1 },
    ];
  });
  return [...events, ...added];
}

/** The history with the answer at one place replaced: a lie. */
export function withAnswer(
  events: readonly HistoryEvent[],
  at: number,
  operation: Operation,
): readonly HistoryEvent[] {
  return events.map((event, position) =>
    position === at && event.kind === 'operation' ? { ...event, operation } : event,
  );
}

/** Finished operations of one kind that were answered, with the place of the answer. */
export function answersOf<Kind extends Operation['kind']>(
  events: readonly HistoryEvent[],
  kind: Kind,
): readonly { readonly at: number; readonly operation: Extract<Operation, { kind: Kind }> }[] {
  return finishedOperations(events).flatMap(({ operation, outcome, finishedAt }) =>
    outcome === 'ok' && operation.kind === kind
      ? [{ at: finishedAt, operation: operation as Extract<Operation, { kind: Kind }> }]
      : [],
  );
}
