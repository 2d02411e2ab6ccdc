// Small checkers on hand-made histories: each must accept a good one and refuse a bad one.
import t from 'tap';
import { judgeAvailability, writeGapsOf } from '../src/checker/availability.ts';
import { judgeAgreement } from '../src/checker/replica-agreement.ts';
import { invalid, unknown, valid, worstOf } from '../src/checker/verdict.ts';
import { finishedOperations, History, type Operation } from '../src/history.ts';
import { historyOf } from './history-of.ts';

const add = (element: number): Operation => ({ kind: 'add', element });
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
    t.match(writeGapsOf(history.events), [
      { nemesis: 'process', action: 'kill leader', fromMs: 110, toMs: 1_060, gapMs: 950 },
    ]);
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
