// What the pictures are made of: operations with both ends, bands of faults, figures per second,
// marks of anomalies; each against a run small enough to count by hand, or against counting anew.
import fc from 'fast-check';
import t from 'tap';
import { invalid, type Verdict, valid } from '../src/checker/verdict.ts';
import { type FaultEvent, History, type HistoryEvent, type Operation } from '../src/history.ts';
import { anomaliesOf } from '../src/report/anomalies.ts';
import { chooseDrawn } from '../src/report/choose-drawn.ts';
import { coloursOf } from '../src/report/colours.ts';
import { describeFields, describeOperation } from '../src/report/describe-operation.ts';
import { countsInBands, faultBandsOf, skippedFaultsOf } from '../src/report/fault-bands.ts';
import { decodeOperations, operationAt } from '../src/report/page/decode.ts';
import { roundStep, secondsText, showing, ticksOf, zoomed } from '../src/report/page/view.ts';
import { type DrawnOperation, pairOperations } from '../src/report/pair-operations.ts';
import { quantileOf, timeBucketsOf } from '../src/report/time-buckets.ts';
import { timelineDataOf } from '../src/report/timeline-data.ts';

const write = (key: string, value: number): Operation => ({ kind: 'write', key, value });

function fault(
  nemesis: string,
  action: string,
  timeMs: number,
  rest: Partial<FaultEvent> = {},
): FaultEvent {
  const isHealing = action === 'heal';
  return {
    ...{ kind: 'fault', nemesis, action, isHealing, outcome: 'installed', detail: '' },
    ...{ targets: [], timeMs, doneMs: timeMs + 5, ...rest },
  };
}

t.test('a fault lasts until the next installed healing of its own nemesis is done', async (t) => {
  const events: readonly HistoryEvent[] = [
    fault('kill', 'kill-leader', 100),
    fault('partition', 'halves', 150, { outcome: 'indeterminate' }),
    fault('kill', 'kill-follower', 180),
    fault('kill', 'heal', 200, { outcome: 'skipped' }),
    fault('kill', 'heal', 250, { outcome: 'indeterminate' }),
    fault('kill', 'heal', 300),
    fault('kill', 'kill-all', 350, { outcome: 'skipped' }),
    fault('kill', 'heal', 360),
    fault('kill', 'kill-leader', 400),
  ];
  const bands = faultBandsOf(events).map(({ fromMs, harm, toMs }) => [harm.action, fromMs, toMs]);
  t.same(bands, [
    ['kill-leader', 100, 305],
    ['halves', 150, null],
    ['kill-follower', 180, 305],
    ['kill-leader', 400, null],
  ]);
  t.same(
    skippedFaultsOf(events).map(({ timeMs }) => timeMs),
    [200, 350],
  );
});

t.test(
  'operations keep the time at which a client gave up, and an end that never came',
  async (t) => {
    const history = new History();
    history.invoke(0, write('x', 1), 1);
    history.invoke(1, write('x', 2), 2, 1.5);
    history.finish(0, 'info', write('x', 1), 9, 'REQUEST_TIMEOUT');
    const seen = pairOperations(history.events);
    t.match(seen[0], { outcome: 'info', beginMs: 1, endMs: 9, errorCode: 'REQUEST_TIMEOUT' });
    t.match(seen[1], { outcome: 'info', beginMs: 2, endMs: null, errorCode: null });
    t.match(seen, [{ intendedMs: 1 }, { intendedMs: 1.5 }], 'and when they were due');
    t.same(pairOperations(history.events.slice(2)), [], 'an end without a begin is nothing');
  },
);

const operationsOf: fc.Arbitrary<readonly DrawnOperation[]> = fc.array(
  fc.record({
    processId: fc.nat(9),
    operation: fc.constant(write('x', 1)),
    outcome: fc.constantFrom('ok', 'fail', 'info'),
    beginMs: fc.integer({ min: 1_000, max: 5_000 }),
    intendedMs: fc.nat(1_000),
    endMs: fc.option(fc.nat(9_000)),
    errorCode: fc.constant(null),
  }),
  { maxLength: 60 },
);

t.test('rates, latencies and counts of bands are those of counting one by one', async (t) => {
  fc.assert(
    fc.property(operationsOf, fc.nat(9_000), fc.nat(4_000), (operations, fromMs, lengthMs) => {
      const ended = operations.filter(({ endMs }) => endMs !== null);
      const buckets = timeBucketsOf(operations, 9_000);
      const toMs = fromMs + lengthMs;
      const [counts] = countsInBands([{ harm: fault('x', 'y', 0), fromMs, toMs }], operations);
      for (const outcome of ['ok', 'fail', 'info'] as const) {
        const own = ended.filter((one) => one.outcome === outcome);
        buckets[outcome].forEach((count, second) => {
          const isIn = ({ endMs }: DrawnOperation) => Math.floor((endMs ?? 0) / 1_000) === second;
          if (own.filter(isIn).length !== count) throw new Error(`${outcome} in second ${second}`);
        });
        const isInBand = ({ endMs }: DrawnOperation) =>
          (endMs ?? 0) >= fromMs && (endMs ?? 0) < toMs;
        if (own.filter(isInBand).length !== counts?.[outcome])
          throw new Error(`${outcome} in band`);
      }
      buckets.max.forEach((max, second) => {
        const latencies = ended
          .filter(
            ({ endMs, outcome }) => outcome === 'ok' && Math.floor((endMs ?? 0) / 1_000) === second,
          )
          .map(({ endMs, intendedMs }) => (endMs ?? 0) - intendedMs);
        const expected = latencies.length === 0 ? null : Math.max(...latencies);
        if (max !== expected) throw new Error(`max of second ${second}: ${max}, not ${expected}`);
      });
    }),
  );
  t.equal(quantileOf([1, 2, 3, 4], 0.5), 2);
  t.equal(quantileOf([1, 2, 3, 4], 0.99), 4);
  t.equal(quantileOf([], 0.5), null);
  t.equal(timeBucketsOf([], 24 * 3_600_000).widthMs, 12_000, 'a day has wider buckets');
});

function drawn(processId: number, operation: Operation, beginMs: number): DrawnOperation {
  return {
    ...{ processId, operation, beginMs, intendedMs: beginMs, endMs: beginMs + 10 },
    outcome: 'ok',
    errorCode: null,
  };
}

const ADD_7: Operation = { kind: 'add', element: 7 };
const READ_ALL: Operation = { kind: 'readAll', elementMax: 9, elements: [1] };
const WITNESSED = [
  drawn(0, write('x', 1), 0),
  drawn(1, write('y', 2), 5),
  drawn(2, ADD_7, 20),
  drawn(1, write('x', 3), 40),
  drawn(3, READ_ALL, 60),
];

function markedBy(witness: unknown): {
  readonly begins: readonly number[];
  readonly times: unknown;
} {
  const verdict = { kind: 'invalid', reason: 'r', examples: [witness] } as Verdict;
  const [found] = anomaliesOf({ checker: verdict, other: valid() }, WITNESSED);
  const begins = (found?.operations ?? []).map(({ beginMs }) => beginMs);
  return { begins, times: [found?.fromMs, found?.toMs, found?.atMs] };
}

t.test(
  'an anomaly marks the operations that its witness names, however it names them',
  async (t) => {
    const named = {
      operations: [{ processId: 1, invokedMs: 5.001 }],
      processIds: [0, 1],
      timeMs: 50,
    };
    t.same(markedBy(named), { begins: [5], times: [50, 50, 50] }, 'by process and begin');
    t.same(markedBy({ processIds: [1], fromMs: 30, toMs: 45 }), {
      begins: [40],
      times: [30, 45, 45],
    });
    t.same(
      markedBy({ processIds: [1], key: 'x' }),
      { begins: [40], times: [40, 50, 50] },
      'by key',
    );
    t.same(markedBy({ processIds: [1], fromMs: 0, toMs: 39 }).begins, [5], 'none after it');
    t.same(markedBy({ key: 'x' }).begins, [0, 40]);
    t.same(markedBy(7), { begins: [20], times: [20, 30, 30] }, 'an element');
    t.same(
      markedBy({ element: 7, processIds: [2, 3] }).begins,
      [20, 60],
      'and the read without it',
    );
    t.same(markedBy({ fromMs: 3, toMs: 4 }), { begins: [], times: [3, 4, 4] }, 'only a time');
    t.same(markedBy({ digest: 'ab' }), { begins: [], times: [null, null, null] }, 'no place');
    t.same(markedBy({ processIds: 'x', timeMs: '3' }).begins, [], 'what is no place is none');
    t.equal(
      anomaliesOf({ a: invalid('no witness', []) }, []).length,
      1,
      'a verdict without witness',
    );
  },
);

t.test(
  'what is drawn fits, keeps what is rare, and spreads what is left over the run',
  async (t) => {
    const operations = Array.from({ length: 5_000 }, (_unused, i): DrawnOperation => {
      const outcome = i % 500 === 3 ? ('info' as const) : ('ok' as const);
      return { ...drawn(i % 5, write('x', i), i), outcome };
    });
    const marked = new Set(operations.slice(2_600, 2_620));
    const { drawn: chosen, leftOutCount } = chooseDrawn(
      operations,
      (one) => marked.has(one),
      60_000,
    );
    t.equal(chosen.length + leftOutCount, 5_000);
    t.ok(chosen.length > 500 && chosen.length < 1_500, `${chosen.length} fit`);
    t.equal(chosen.filter(({ outcome }) => outcome === 'info').length, 10, 'all open ones');
    t.equal(chosen.filter((one) => marked.has(one)).length, 20, 'and all of anomalies');
    const quarters = [0, 1, 2, 3].map(
      (quarter) => chosen.filter(({ beginMs }) => Math.floor(beginMs / 1_250) === quarter).length,
    );
    t.ok(Math.max(...quarters) - Math.min(...quarters) <= 26, `evenly: ${quarters}`);
    t.equal(chooseDrawn(operations, () => false).leftOutCount, 0, 'a usual run is drawn whole');
    t.same(chooseDrawn(operations, () => false, 10).drawn, [], 'nothing fits into nothing');
  },
);

t.test('every operation is told in a few words, also one of an unknown kind', async (t) => {
  const read = { kind: 'read', key: 'x', nodePick: null } as const;
  t.equal(describeOperation({ ...read, value: undefined }), 'read x = ?');
  t.equal(describeOperation({ ...read, value: null }), 'read x = nothing');
  t.equal(describeOperation(write('x', 3)), 'write x := 3');
  t.equal(describeOperation({ kind: 'write', key: 'x', value: null }), 'delete x');
  t.equal(
    describeOperation({ kind: 'compareAndSet', key: 'x', expected: 1, value: 2 }),
    'swap x 1 to 2',
  );
  t.equal(describeOperation({ ...READ_ALL, elements: null }), 'read all = ?');
  t.equal(
    describeOperation({ kind: 'readAll', elementMax: 9, elements: [1, 2, 3, 4, 5, 6] }),
    'read all = [1, 2, 3, 4, ... 6 in all]',
  );
  const transfer = { kind: 'transfer', from: 1, amounts: [3], key: 'bank', balances: null };
  t.equal(describeFields(transfer), 'transfer bank from=1 amounts=[3]');
  const long = describeOperation({ kind: 'write', key: 'k'.repeat(5_000), value: 1 });
  t.ok(long.length <= 120, `${long.length} characters`);
});

t.test('a long series of samples keeps its peaks', async (t) => {
  const points = Array.from(
    { length: 40_000 },
    (_unused, i) => [i, i === 12_345 ? 99 : 1] as const,
  );
  const { page } = timelineDataOf({
    ...{ title: '', facts: [], reproduceLine: '', workerCount: 1, events: [], verdicts: {} },
    series: [{ name: 'lag', unit: 'ms', owner: 'n1', points }],
  });
  const kept = page.charts[0]?.lines[0]?.points ?? [];
  t.equal(kept.length, 4_000);
  t.same(
    kept.filter(([, value]) => value === 99),
    [[12_345, 99]],
  );
});

t.test('a colour that a nemesis ships is used, one that is red or no colour is not', async (t) => {
  const names = ['a', 'b', 'c', 'd', 'e'];
  const given = new Map([
    ['a', '#7b52ab'],
    ['b', 'red;background:url(x)'],
    ['d', '#d1495b'],
    ['e', '#c77d2e'],
  ]);
  const colours = coloursOf(names, given);
  t.equal(colours.get('a'), '#7b52ab');
  t.equal(colours.get('e'), '#c77d2e', 'orange is not red');
  t.not(colours.get('d'), '#d1495b');
  for (const name of ['b', 'c']) t.match(colours.get(name), /^#[0-9a-f]{6}$/);
  t.not(colours.get('b'), colours.get('c'));
});

t.test('the columns of a page give back every operation in its lane', async (t) => {
  const isKept = fc.property(operationsOf, (all) => {
    const events = all.flatMap(eventsOf);
    const { page } = timelineDataOf({
      ...{ title: '', facts: [], reproduceLine: '', workerCount: 3, events, verdicts: {} },
    });
    const operations = decodeOperations(page);
    const shown = Array.from({ length: operations.count }, (_unused, i) =>
      JSON.stringify([
        ...[operations.beginsMs[i], operations.outcomeOf(i), operations.textOf(i)],
        ...[operations.lanes[i], operations.isEndTold(i), operations.delayMsOf(i)],
        operations.isEndTold(i) ? operations.endsMs[i] : null,
      ]),
    );
    const expected = pairOperations(events).map(
      ({ beginMs, endMs, intendedMs, outcome, processId }) => {
        const what = [beginMs, outcome, 'write x := 1', processId % 3, endMs !== null];
        return JSON.stringify([...what, beginMs - intendedMs, endMs]);
      },
    );
    const isSame = shown.sort().join() === expected.sort().join();
    const begins = [...operations.beginsMs];
    return isSame && begins.join() === begins.toSorted((a, b) => a - b).join();
  });
  t.doesNotThrow(() => fc.assert(isKept));
});

/** Each under a process of its own, so that any of them may overlap. */
function eventsOf(one: DrawnOperation, i: number): readonly HistoryEvent[] {
  const { beginMs, endMs, intendedMs, operation, outcome } = one;
  const both = { kind: 'operation', processId: i * 10 + one.processId, operation } as const;
  const begin = { ...both, phase: 'invoke', timeMs: beginMs, intendedMs } as const;
  if (endMs === null) return [begin];
  return [begin, { ...both, phase: outcome, timeMs: Math.max(beginMs, endMs) }];
}

t.test('the pointer finds the operation under it, or the nearest within reach', async (t) => {
  const events = [0, 100, 200].flatMap((beginMs) => eventsOf(drawn(0, ADD_7, beginMs), 0));
  const { page } = timelineDataOf({
    ...{ title: '', facts: [], reproduceLine: '', workerCount: 2, events, verdicts: {} },
  });
  const operations = decodeOperations(page);
  t.equal(operationAt(operations, 0, 105, 0), 1);
  t.equal(operationAt(operations, 0, 112, 5), 1, 'just after it');
  t.equal(operationAt(operations, 0, 198, 5), 2, 'just before it');
  t.equal(operationAt(operations, 0, 150, 5), -1, 'between them');
  t.equal(operationAt(operations, 1, 105, 50), -1, 'another lane');
  t.equal(operationAt(operations, 9, 105, 50), -1, 'no lane');
});

t.test('a view never leaves the run, and its ticks are round', async (t) => {
  const view = { fromMs: 0, toMs: 30_000, endMs: 30_000, leftPx: 80, widthPx: 1_000 };
  t.match(showing(view, -500, 1_500), { fromMs: 0, toMs: 2_000 });
  t.match(showing(view, 29_000, 33_000), { fromMs: 26_000, toMs: 30_000 });
  t.match(zoomed(view, 0.1, 10_000), { fromMs: 9_000, toMs: 12_000 });
  t.match(zoomed(view, 100, 10_000), { fromMs: 0, toMs: 30_000 });
  t.match(zoomed(view, 1e-9, 10_000), { fromMs: /^9999\.6/, toMs: /^10000\.6/ });
  t.same(ticksOf(view, 90), [0, 5_000, 10_000, 15_000, 20_000, 25_000, 30_000]);
  t.same([0.03, 3, 11, 50, 51].map(roundStep), [0.05, 5, 20, 50, 100]);
  t.equal(secondsText(12_340, 20), '12.34 s');
});
