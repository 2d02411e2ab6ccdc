// The checkers on hand-made histories: each must accept a good one and refuse a bad one, and the
// linearizability search must agree with brute force over all orders on small random histories.
import fc from 'fast-check';
import t from 'tap';
import { judgeAvailability, writeGapsOf } from '../src/checker/availability.ts';
import {
  judgeLinearizable,
  judgeRegister,
  type RegisterCall,
  type RegisterOperation,
  type RegisterValue,
  stepRegister,
} from '../src/checker/linearizable.ts';
import { judgeAgreement } from '../src/checker/replica-agreement.ts';
import { judgeSet } from '../src/checker/set.ts';
import { invalid, unknown, valid, worstOf } from '../src/checker/verdict.ts';
import { finishedOperations, History, type Operation, type Outcome } from '../src/history.ts';

/** Steps of a history: [process, 'invoke' | outcome, operation]; time is the position. */
type Step = readonly [number, 'invoke' | Outcome, Operation];

function historyOf(steps: readonly Step[]): History {
  const history = new History();
  steps.forEach(([processId, phase, operation], timeMs) => {
    if (phase === 'invoke') history.invoke(processId, operation, timeMs);
    else history.finish(processId, phase, operation, timeMs);
  });
  return history;
}

const add = (element: number): Operation => ({ kind: 'add', element });
const readAll = (elements: readonly number[] | null): Operation => ({
  kind: 'readAll',
  elementMax: 9,
  elements,
});
const write = (value: number): Operation => ({ kind: 'write', key: 'x', value });
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

function added(outcomes: readonly Outcome[], seen: readonly number[]): History {
  const steps: Step[] = outcomes.flatMap((outcome, i): Step[] => [
    [i, 'invoke', add(i)],
    [i, outcome, add(i)],
  ]);
  return historyOf([...steps, [99, 'invoke', readAll(null)], [99, 'ok', readAll(seen)]]);
}

t.test('the set checker', async (t) => {
  t.match(judgeSet(added(['ok', 'info', 'fail'], [0]).events), { kind: 'valid' });
  t.match(judgeSet(added(['ok', 'info', 'fail'], [0, 1]).events), {
    kind: 'valid',
    summary: { acknowledgedCount: 1, indefinitePresentCount: 1 },
  });
  t.match(judgeSet(added(['ok', 'ok'], [1]).events), { kind: 'invalid', examples: [0] }, 'lost');
  t.match(judgeSet(added(['ok', 'fail'], [0, 1]).events), { kind: 'invalid', examples: [1] });
  t.match(judgeSet(added(['ok'], [0, 7]).events), { kind: 'invalid', examples: [7] }, 'foreign');
  t.match(judgeSet(added(['ok'], [0, 0]).events), { kind: 'invalid', examples: [0] }, 'twice');
  t.match(judgeSet(historyOf([[1, 'invoke', add(1)]]).events), { kind: 'unknown' }, 'no read');
  t.match(judgeSet(added(['info'], []).events), { kind: 'unknown' }, 'nothing acknowledged');
});

t.test('the set checker lets an add that overlaps the final read be missing', async (t) => {
  const history = historyOf([
    [0, 'invoke', add(0)],
    [0, 'ok', add(0)],
    [1, 'invoke', add(1)],
    [2, 'invoke', readAll(null)],
    [1, 'ok', add(1)],
    [2, 'ok', readAll([0])],
  ]);
  t.match(judgeSet(history.events), { kind: 'valid' });
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
  t.match(judgeLinearizable(history.events), { kind: 'invalid', reason: /key y/ });
});

t.test('the linearizability search says unknown when it gives up', async (t) => {
  const operations: RegisterOperation[] = Array.from({ length: 20 }, (_unused, i) => ({
    call: { kind: 'write', value: i },
    invokedAt: 0,
    finishedAt: 1,
  }));
  operations.push({ call: { kind: 'read', value: 99 }, invokedAt: 2, finishedAt: 3 });
  t.match(judgeRegister(operations, 1_000), { kind: 'unknown' });
});

t.test('the linearizability search agrees with brute force on small histories', async (t) => {
  const value = fc.integer({ min: 1, max: 3 });
  const call: fc.Arbitrary<RegisterCall> = fc.oneof(
    fc.record({ kind: fc.constant('read' as const), value: fc.option(value) }),
    fc.record({ kind: fc.constant('write' as const), value }),
    fc.record({ kind: fc.constant('compareAndSet' as const), expected: value, value }),
  );
  const operation = fc.record({
    call,
    invokedAt: fc.integer({ min: 0, max: 12 }),
    durationOrNever: fc.option(fc.integer({ min: 1, max: 6 }), { freq: 5 }),
  });
  const seen = { valid: 0, invalid: 0 };
  fc.assert(
    fc.property(fc.array(operation, { minLength: 1, maxLength: 6 }), (drawn) => {
      const operations: RegisterOperation[] = drawn
        .filter((one) => one.call.kind !== 'read' || one.durationOrNever !== null)
        .map(({ call, invokedAt, durationOrNever }, i) => ({
          call,
          // Positions of a history are unique.
          invokedAt: invokedAt * 100 + i,
          finishedAt: durationOrNever === null ? Infinity : (invokedAt + durationOrNever) * 100 + i,
        }));
      const expected = isLinearizableByBruteForce(operations, [], null) ? 'valid' : 'invalid';
      seen[expected] += 1;
      return judgeRegister(operations).kind === expected;
    }),
    { numRuns: 3_000, seed: 4711 },
  );
  t.ok(seen.valid > 100 && seen.invalid > 100, `both verdicts occurred: ${JSON.stringify(seen)}`);
});

/** Tries every order in which no operation comes before one that finished before it began. */
function isLinearizableByBruteForce(
  remaining: readonly RegisterOperation[],
  done: readonly RegisterOperation[],
  value: RegisterValue,
): boolean {
  if (remaining.every((one) => one.finishedAt === Infinity)) return true;
  return remaining.some((next) => {
    const others = remaining.filter((one) => one !== next);
    if (others.some((other) => other.finishedAt < next.invokedAt)) return false;
    const outcome = stepRegister(value, next.call);
    return outcome.isAccepted && isLinearizableByBruteForce(others, [...done, next], outcome.value);
  });
}

t.test('replicas are compared only at an equal applied index', async (t) => {
  const at = (nodeName: string, appliedIndex: number, digest: string) => ({
    nodeName,
    appliedIndex,
    digest,
  });
  t.match(judgeAgreement([at('n1', 7, 'aa'), at('n2', 7, 'aa'), at('n3', 8, 'bb')]), {
    kind: 'valid',
  });
  t.match(judgeAgreement([at('n1', 7, 'aa'), at('n2', 7, 'ab')]), { kind: 'invalid' });
  t.match(judgeAgreement([at('n1', 7, 'aa'), at('n1', 7, 'ab')]), { kind: 'invalid' });
  t.match(judgeAgreement([at('n1', 7, 'aa'), at('n2', 8, 'ab')]), { kind: 'unknown' });
  t.match(judgeAgreement([]), { kind: 'unknown' });
});

t.test(
  'a write gap is the longest silence around a fault, not the time to a late answer',
  async (t) => {
    const history = new History();
    const acknowledge = (processId: number, timeMs: number) => {
      history.invoke(processId, add(timeMs), timeMs - 5);
      history.finish(processId, 'ok', add(timeMs), timeMs);
    };
    acknowledge(1, 90);
    acknowledge(2, 100);
    const fault = {
      ...({ nemesis: 'process', action: 'kill leader', outcome: 'installed' } as const),
      ...{ isHealing: false, detail: 'n1', targets: ['n1'] },
    };
    history.fault({ ...fault, timeMs: 105, doneMs: 106 });
    acknowledge(5, 110);
    acknowledge(3, 1_060);
    acknowledge(4, 1_070);
    t.same(writeGapsOf(history.events), [{ action: 'kill leader', gapMs: 950 }]);
    t.match(judgeAvailability(history.events, { writeGapMsMax: 1_000 }), { kind: 'valid' });
    t.match(judgeAvailability(history.events, { writeGapMsMax: 900 }), { kind: 'invalid' });
    history.fault({ ...fault, timeMs: 2_000, doneMs: 2_001 });
    t.match(judgeAvailability(history.events, { writeGapMsMax: 1_000 }), { kind: 'unknown' });
  },
);

t.test(
  'an operation without completion is indefinite, and its process is not reused',
  async (t) => {
    const history = historyOf([[1, 'invoke', add(1)]]);
    t.match(finishedOperations(history.events), [{ outcome: 'info', finishedAt: Infinity }]);
    t.throws(() => history.invoke(1, add(2), 5), /one operation at a time/);
    t.throws(() => history.finish(3, 'ok', add(2), 5), /only an open operation/);
  },
);

t.test('the worst verdict counts, and nothing checked is unknown', async (t) => {
  t.match(worstOf([valid(), unknown('a'), invalid('b', [])]), { kind: 'invalid' });
  t.match(worstOf([valid(), unknown('a')]), { kind: 'unknown' });
  t.match(worstOf([]), { kind: 'unknown' });
});
