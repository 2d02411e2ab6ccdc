// The linearizability search: right on hand-made histories, equal to brute force over all orders on
// small ones, and able to tell a history of a real register from the same history with a lie in it.
import { SeededRandom } from '@holdfast/base';
import fc from 'fast-check';
import t from 'tap';
import { judgeLinearizable, judgeRegister } from '../src/checker/linearizable.ts';
import {
  type RegisterCall,
  type RegisterOperation,
  type RegisterValue,
  stepRegister,
} from '../src/checker/register-model.ts';
import type { Verdict } from '../src/checker/verdict.ts';
import type { HistoryEvent, Outcome } from '../src/history.ts';
import type { Operation } from '../src/operation.ts';
import { historyOf, inTurn, type Step } from './history-of.ts';
import { simulateRegisters } from './simulated-register.ts';

const write = (value: number | null): Operation => ({ kind: 'write', key: 'x', value });
const read = (value?: number | null): Operation => ({
  kind: 'read',
  key: 'x',
  value,
  nodePick: null,
});
const swap = (expected: number, value: number): Operation => ({
  kind: 'compareAndSet',
  key: 'x',
  expected,
  value,
});

t.test('a stale read after an acknowledged write is not linearizable', async (t) => {
  const history = historyOf([
    [0, 'invoke', write(1)],
    [0, 'ok', write(1)],
    [1, 'invoke', read()],
    [1, 'ok', read(null)],
  ]);
  t.match(judgeLinearizable(history.events), { kind: 'invalid' });
});

t.test(
  'concurrent operations may take effect in either order, but in one order for all',
  async (t) => {
    const concurrentWrites: Step[] = [
      [0, 'invoke', write(1)],
      [1, 'invoke', write(2)],
      [0, 'ok', write(1)],
      [1, 'ok', write(2)],
    ];
    for (const winner of [1, 2]) {
      const events = historyOf([
        ...concurrentWrites,
        [2, 'invoke', read()],
        [2, 'ok', read(winner)],
      ]).events;
      t.match(judgeLinearizable(events), { kind: 'valid' });
    }
    const flipFlop = historyOf([
      ...concurrentWrites,
      [2, 'invoke', read()],
      [2, 'ok', read(1)],
      [2, 'invoke', read()],
      [2, 'ok', read(2)],
    ]).events;
    t.match(judgeLinearizable(flipFlop), { kind: 'invalid' });
  },
);

t.test(
  'an indefinite write may take effect late or never, and a refused one must not',
  async (t) => {
    const seenLate = (outcome: Outcome): Step[] => [
      [0, 'invoke', write(1)],
      [0, 'ok', write(1)],
      [1, 'invoke', write(2)],
      [1, outcome, write(2)],
      [2, 'invoke', read()],
      [2, 'ok', read(1)],
      [2, 'invoke', read()],
      [2, 'ok', read(2)],
    ];
    t.match(judgeLinearizable(historyOf(seenLate('info')).events), { kind: 'valid' }, 'late');
    t.match(judgeLinearizable(historyOf(seenLate('info').slice(0, 6)).events), { kind: 'valid' });
    t.match(judgeLinearizable(historyOf(seenLate('fail')).events), { kind: 'invalid' }, 'refused');
  },
);

t.test('two compare-and-sets from one value cannot both succeed', async (t) => {
  const history = historyOf([
    [0, 'invoke', write(1)],
    [0, 'ok', write(1)],
    [1, 'invoke', swap(1, 2)],
    [2, 'invoke', swap(1, 3)],
    [1, 'ok', swap(1, 2)],
    [2, 'ok', swap(1, 3)],
  ]);
  t.match(judgeLinearizable(history.events), { kind: 'invalid' });
});

t.test('keys are judged apart and the worst one counts', async (t) => {
  const elsewhere: Operation = { kind: 'read', key: 'y', value: 5, nodePick: 1 };
  const history = historyOf([
    [0, 'invoke', write(1)],
    [0, 'ok', write(1)],
    [1, 'invoke', elsewhere],
    [1, 'ok', elsewhere],
  ]);
  t.match(judgeLinearizable(history.events), {
    kind: 'invalid',
    reason: /key y/,
    examples: [{ key: 'y' }],
  });
});

t.test('the linearizability search says unknown when it gives up', async (t) => {
  // Every order of the writes ends in another value, and null may come back at any time.
  const operations: RegisterOperation[] = Array.from({ length: 20 }, (_unused, i) => ({
    ...{ call: { kind: 'write', value: i % 2 === 0 ? null : i }, invokedAt: 0, finishedAt: 10 },
  }));
  for (let value = 1; value < 20; value += 2) {
    operations.push({ call: { kind: 'read', value }, invokedAt: 1, finishedAt: 10 });
  }
  operations.push({ call: { kind: 'read', value: 99 }, invokedAt: 12, finishedAt: 13 });
  t.match(judgeRegister(operations, 1_000), { kind: 'unknown' });
});

interface DrawnOperation {
  readonly call: RegisterCall;
  readonly invokedAt: number;
  readonly durationOrNever: number | null;
}

const drawnOperations = (() => {
  const value = fc.integer({ min: 1, max: 3 });
  const valueOrNull = fc.option(value, { freq: 4 });
  const call: fc.Arbitrary<RegisterCall> = fc.oneof(
    fc.record({ kind: fc.constant('read' as const), value: valueOrNull }),
    fc.record({ kind: fc.constant('write' as const), value: valueOrNull }),
    fc.record({ kind: fc.constant('compareAndSet' as const), expected: valueOrNull, value }),
  );
  const operation: fc.Arbitrary<DrawnOperation> = fc.record({
    call,
    invokedAt: fc.integer({ min: 0, max: 12 }),
    durationOrNever: fc.option(fc.integer({ min: 1, max: 6 }), { freq: 5 }),
  });
  return fc.array(operation, { minLength: 1, maxLength: 7 });
})();

const asOperations = (drawn: readonly DrawnOperation[]): readonly RegisterOperation[] =>
  drawn
    .filter((one) => one.call.kind !== 'read' || one.durationOrNever !== null)
    .map(({ call, invokedAt, durationOrNever }, i) => ({
      call,
      // Positions of a history are unique.
      invokedAt: invokedAt * 100 + i,
      finishedAt: durationOrNever === null ? Infinity : (invokedAt + durationOrNever) * 100 + i,
    }));

/** What is written becomes unique; what is seen becomes one of the values written. */
function withUniqueValues(operations: readonly RegisterOperation[]): readonly RegisterOperation[] {
  const writerCount = operations.length;
  const seenAs = (value: RegisterValue): RegisterValue =>
    value === null ? null : ((value * 5) % writerCount) + 10;
  return operations.map((operation, i) => {
    const { call } = operation;
    if (call.kind === 'read') return { ...operation, call: { ...call, value: seenAs(call.value) } };
    const value = call.value === null ? null : i + 10;
    if (call.kind === 'write') return { ...operation, call: { ...call, value } };
    return { ...operation, call: { ...call, value, expected: seenAs(call.expected) } };
  });
}

for (const [what, prepare] of [
  ['with few values', (operations: readonly RegisterOperation[]) => operations],
  ['with unique values', withUniqueValues],
] as const) {
  t.test(`the search agrees with brute force on small histories ${what}`, async (t) => {
    const seen = { valid: 0, invalid: 0 };
    fc.assert(
      fc.property(drawnOperations, (drawn) => {
        const operations = prepare(asOperations(drawn));
        const expected = isLinearizableByBruteForce(operations, null) ? 'valid' : 'invalid';
        seen[expected] += 1;
        return judgeRegister(operations).kind === expected;
      }),
      { numRuns: 6_000, seed: 4711 },
    );
    const isMixed = seen.valid > 100 && seen.invalid > 100;
    t.ok(isMixed, `both verdicts occurred: ${JSON.stringify(seen)}`);
  });
}

/** Tries every order in which no operation comes before one that finished before it began. */
function isLinearizableByBruteForce(
  remaining: readonly RegisterOperation[],
  value: RegisterValue,
): boolean {
  if (remaining.every((one) => one.finishedAt === Infinity)) return true;
  return remaining.some((next) => {
    const others = remaining.filter((one) => one !== next);
    if (others.some((other) => other.finishedAt < next.invokedAt)) return false;
    const outcome = stepRegister(value, next.call);
    return outcome.isAccepted && isLinearizableByBruteForce(others, outcome.value);
  });
}

t.test(
  'a history of a real register is linearizable, however its operations overlap',
  async (t) => {
    for (let seed = 1; seed <= 60; seed++) {
      const lossShare = seed % 3 === 0 ? 0 : 0.08;
      const events = simulateRegisters({
        ...{ seed, operationCount: 400, workerCount: 3 + (seed % 7), keyCount: 4, lossShare },
      });
      t.match(judgeLinearizable(events), { kind: 'valid' }, `seed ${seed}`);
    }
  },
);

t.test('a real register that lies once is found out whenever the lie can be seen', async (t) => {
  let lieCount = 0;
  for (let seed = 1; seed <= 150; seed++) {
    const events = simulateRegisters({
      ...{ seed, operationCount: 120, workerCount: 5, keyCount: 1, lossShare: 0.03 },
    });
    const lie = withLie(events, seed);
    if (lie === null) continue;
    lieCount += 1;
    t.match(judgeLinearizable(lie), { kind: 'invalid' }, `seed ${seed}`);
  }
  t.ok(lieCount > 100, `${lieCount} lies`);
});

/**
 * One read answers a value that was overwritten, for all to see, before the read began: a write
 * read or acknowledged, then a second one acknowledged, and nothing may bring the first one back.
 */
function withLie(events: readonly HistoryEvent[], seed: number): readonly HistoryEvent[] | null {
  const acknowledged: number[] = [];
  const startAt = new Map<number, number>();
  const random = new SeededRandom(seed);
  const candidates: { at: number; value: number }[] = [];
  let newestStartAt = -1;
  let settled: number[] = [];
  events.forEach((event, at) => {
    if (event.kind !== 'operation') return;
    if (event.phase === 'invoke') {
      startAt.set(event.processId, at);
      return;
    }
    const beganAt = startAt.get(event.processId) ?? 0;
    const { operation } = event;
    if (event.phase !== 'ok') return;
    if (operation.kind === 'read') {
      if (settled.length > 0 && beganAt > newestStartAt) {
        candidates.push({ at, value: settled[random.nextBelow(settled.length)]! });
      }
    } else if (operation.kind === 'write' || operation.kind === 'compareAndSet') {
      // Everything acknowledged before this write began is gone once it is acknowledged.
      settled = acknowledged
        .filter((doneAt) => doneAt < beganAt)
        .map((doneAt) => valueAt(events, doneAt));
      settled = settled.filter((value) => value >= 0);
      newestStartAt = at;
      acknowledged.push(at);
    }
  });
  const chosen = candidates[random.nextBelow(Math.max(1, candidates.length))];
  if (chosen === undefined) return null;
  return events.map((event, at) => {
    if (at !== chosen.at || event.kind !== 'operation' || event.operation.kind !== 'read')
      return event;
    return { ...event, operation: { ...event.operation, value: chosen.value } };
  });
}

/** The value that the write acknowledged at this position gave; -1: a delete. */
function valueAt(events: readonly HistoryEvent[], at: number): number {
  const event = events[at];
  if (event?.kind !== 'operation') return -1;
  const { operation } = event;
  return operation.kind === 'write' || operation.kind === 'compareAndSet'
    ? (operation.value ?? -1)
    : -1;
}

t.test('a counterexample is as small as it can be and says who and when', async (t) => {
  const noise: (readonly [Operation, Outcome?])[] = [];
  for (let value = 100; value < 140; value++) noise.push([write(value)], [read(value)]);
  const events = inTurn([
    ...noise,
    [write(1)],
    [write(2)],
    [read(2)],
    [read(1)],
    ...noise.slice(40),
  ]);
  const verdict = judgeLinearizable(events);
  t.match(verdict, {
    kind: 'invalid',
    examples: [
      {
        key: 'x',
        operationCount: 124,
        operations: [
          { call: { kind: 'write', value: 1 }, processId: 80 },
          { call: { kind: 'write', value: 2 }, processId: 81 },
          { call: { kind: 'read', value: 1 }, processId: 83, invokedMs: 166, finishedMs: 167 },
        ],
        processIds: [80, 81, 83],
        fromMs: 160,
        toMs: 167,
        timeMs: 167,
      },
    ],
  });
  t.equal(shownCount(verdict), 3, 'and nothing else');
});

t.test('a value that nobody wrote is shown by the read alone', async (t) => {
  const verdict = judgeLinearizable(inTurn([[write(1)], [read(1)], [write(2)], [read(77)]]));
  t.match(verdict, { examples: [{ operations: [{ call: { kind: 'read', value: 77 } }] }] });
  t.equal(shownCount(verdict), 1);
});

t.test('a counterexample of chained compare-and-sets is not the whole chain', async (t) => {
  const chain: (readonly [Operation, Outcome?])[] = [[write(1)]];
  for (let value = 1; value < 60; value++) chain.push([swap(value, value + 1)]);
  const verdict = judgeLinearizable(inTurn([...chain, [read(30)]]));
  t.match(verdict, { kind: 'invalid' });
  t.equal(shownCount(verdict), 3, 'the write it saw, one that came later, and the read');
});

function shownCount(verdict: Verdict): number {
  if (verdict.kind !== 'invalid') return -1;
  const [example] = verdict.examples;
  return (example?.operations as readonly unknown[] | undefined)?.length ?? -1;
}

t.test('every minimised counterexample is one by itself', async (t) => {
  for (let seed = 1; seed <= 40; seed++) {
    const events = simulateRegisters({
      ...{ seed, operationCount: 120, workerCount: 5, keyCount: 1, lossShare: 0.05 },
    });
    const lie = withLie(events, seed);
    if (lie === null) continue;
    const verdict = judgeLinearizable(lie);
    if (verdict.kind !== 'invalid') throw new Error(`seed ${seed}: ${verdict.kind}`);
    const shown = verdict.examples[0]?.operations as readonly {
      call: RegisterCall;
      invokedMs: number;
      finishedMs: number | null;
    }[];
    const operations = shown.map(({ call, invokedMs, finishedMs }) => ({
      ...{ call, invokedAt: invokedMs, finishedAt: finishedMs ?? Infinity },
    }));
    t.equal(judgeRegister(operations).kind, 'invalid', `seed ${seed}`);
    t.ok(shown.length <= 12, `seed ${seed}: ${shown.length} operations shown`);
  }
});

t.test('many unanswered writes do not slow the search down', async (t) => {
  // Each may have happened at any later time: without pruning that is 2^300 possibilities.
  const steps: Step[] = [];
  for (let process = 0; process < 300; process++) {
    steps.push([process, 'invoke', write(process)], [process, 'info', write(process)]);
  }
  for (let seen = 0; seen < 300; seen += 7) {
    steps.push([1_000 + seen, 'invoke', read()], [1_000 + seen, 'ok', read(seen)]);
  }
  t.match(judgeLinearizable(historyOf(steps).events, 100_000), { kind: 'valid' });
  steps.push([5_000, 'invoke', read()], [5_000, 'ok', read(0)]);
  t.match(judgeLinearizable(historyOf(steps).events, 100_000), { kind: 'invalid' });
});

t.test('large histories are judged in a few steps per operation', async (t) => {
  const operationCount = 20_000;
  const events = simulateRegisters({
    ...{ seed: 7, operationCount, workerCount: 8, keyCount: 50, lossShare: 0.01 },
  });
  const before = process.cpuUsage();
  // At most 10 steps per operation of a key, whatever the machine.
  t.match(judgeLinearizable(events, 4_000), { kind: 'valid', summary: { keyCount: 50 } });
  const { user } = process.cpuUsage(before);
  t.comment(`${Math.round(operationCount / (user / 1e6))} operations per second of processor`);
});
