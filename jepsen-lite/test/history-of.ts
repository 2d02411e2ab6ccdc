/** Hand-made histories for the tests of checkers. */
import { History, type HistoryEvent, type Operation, type Outcome } from '../src/history.ts';

/** [process, 'invoke' | outcome, operation]; time is the position. */
export type Step = readonly [number, 'invoke' | Outcome, Operation];

export function historyOf(steps: readonly Step[]): History {
  const history = new History();
  steps.forEach(([processId, phase, operation], timeMs) => {
    if (phase === 'invoke') history.invoke(processId, operation, timeMs);
    else history.finish(processId, phase, operation, timeMs);
  });
  return history;
}

/** One process does one operation after the other; each begins when the one before has ended. */
export function inTurn(
  operations: readonly (readonly [Operation, Outcome?])[],
): readonly HistoryEvent[] {
  const steps = operations.flatMap(([operation, outcome = 'ok'], processId): Step[] => [
    [processId, 'invoke', operation],
    [processId, outcome, operation],
  ]);
  return historyOf(steps).events;
}
