// The set checker: what may be missing, what may not, and by what name it is told.
import { SeededRandom } from '@holdfast/base';
import t from 'tap';
import { judgeSet } from '../src/checker/set.ts';
import type { Outcome } from '../src/history.ts';
import type { Operation } from '../src/operation.ts';
import { historyOf, inTurn, type Step } from './history-of.ts';
import { answersOf, type Effect, simulate, withAnswer, withFinals } from './simulated-history.ts';

const add = (element: number): Operation => ({ kind: 'add', element });
const readAll = (elements: readonly number[] | null, nodePick = 0): Operation => ({
  ...{ kind: 'readAll', elementMax: 9, elements, nodePick },
});

const judged = (steps: readonly (readonly [Operation, Outcome?])[]) => judgeSet(inTurn(steps));

t.test(
  'an acknowledged element is in every later read, the others may be there or not',
  async (t) => {
    const steps = [[add(1)], [add(2), 'info'], [add(3), 'fail']] as const;
    t.match(judged([...steps, [readAll([1])]]), { kind: 'valid' });
    t.match(judged([...steps, [readAll([1, 2])]]), {
      ...{ kind: 'valid', summary: { acknowledgedCount: 1, recoveredCount: 1, refusedCount: 1 } },
    });
  },
);

t.test('what is wrong with a set has a name, a place and a process', async (t) => {
  const wrong = (steps: readonly (readonly [Operation, Outcome?])[], what: string) =>
    t.match(judged(steps), { kind: 'invalid', examples: [{ what, processIds: Array }] }, what);
  wrong([[add(1)], [readAll([])]], 'lost');
  wrong([[add(1)], [readAll([1])], [readAll([])]], 'lost');
  wrong([[add(1)], [readAll([])], [readAll([1])]], 'stale');
  wrong([[add(1)], [readAll([1])], [readAll([])], [readAll([1])]], 'flickering');
  wrong([[add(1), 'info'], [readAll([1])], [readAll([])], [readAll([1])]], 'flickering');
  wrong([[add(1), 'info'], [add(2)], [readAll([1, 2])], [readAll([2])]], 'lost');
  wrong([[add(1)], [add(2), 'fail'], [readAll([1, 2])]], 'phantom');
  wrong([[add(1)], [readAll([1, 7])]], 'phantom');
  wrong([[add(1)], [readAll([1, 2])], [add(2)], [readAll([1, 2])]], 'phantom');
  wrong([[add(1)], [readAll([1, 1])]], 'duplicated');
});

t.test('an add that overlaps a read may be missing in it', async (t) => {
  const steps: Step[] = [
    [0, 'invoke', add(1)],
    [1, 'invoke', readAll(null)],
    [0, 'ok', add(1)],
    [1, 'ok', readAll([])],
    [2, 'invoke', readAll(null)],
    [2, 'ok', readAll([1])],
  ];
  t.match(judgeSet(historyOf(steps).events), { kind: 'valid' });
});

t.test('a set of which too little was read is unknown', async (t) => {
  t.match(judged([[add(1)]]), { kind: 'unknown' }, 'no read');
  t.match(judged([[add(1), 'info'], [readAll([])]]), { kind: 'unknown' }, 'no acknowledgement');
  t.match(judged([[readAll([])], [add(1)]]), { kind: 'unknown' }, 'no read afterwards');
  const oneFailed = judged([[add(1)], [readAll([1], 0)], [readAll(null, 1), 'info']]);
  t.match(oneFailed, { kind: 'unknown', reason: /node 1/ });
});

t.test('a window read in an outage that outlasts the load makes no set unknown', async (t) => {
  const window: Operation = {
    ...{ kind: 'readAll', elementMin: 1, elementMax: 1, elements: null, nodePick: null },
  };
  const outage = [[add(1)], [add(2), 'info'], [window, 'info']] as const;
  t.match(judged([...outage, [readAll([1])]]), { kind: 'valid' });
});

t.test('the set checker accepts what a real set did, and no lie about it', async (t) => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = new SeededRandom(seed);
    const present = new Set<number>();
    const apply = (operation: Operation): Effect => {
      if (operation.kind === 'add') present.add(operation.element);
      if (operation.kind !== 'readAll') return { outcome: 'ok', operation };
      const { elementMin = 1, elementMax } = operation;
      const elements = [...present].filter((one) => one >= elementMin && one <= elementMax);
      return { outcome: 'ok', operation: { ...operation, elements } };
    };
    const operations = Array.from({ length: 200 }, (_unused, i): Operation => {
      if (i % 5 !== 4) return add(i + 1);
      const elementMin = 1 + random.nextBelow(i);
      return { kind: 'readAll', elementMin, elementMax: i, elements: null };
    });
    const finals = [0, 1, 2].map(
      (nodePick): Operation => ({
        ...{ kind: 'readAll', elementMax: 200, elements: null, nodePick },
      }),
    );
    const run = simulate({ seed, workerCount: 6, operations, lossShare: 0.05, apply });
    const events = withFinals(run, finals, apply);
    t.match(judgeSet(events), { kind: 'valid' }, `seed ${seed}`);
    const last = answersOf(events, 'readAll').at(-1)!;
    const elements = last.operation.elements!.toSpliced(random.nextBelow(100), 1);
    const lie = withAnswer(events, last.at, { ...last.operation, elements });
    t.match(judgeSet(lie), { kind: 'invalid' }, `seed ${seed}: one node lost one element`);
  }
});
