// The table of numbers: what figures come to, what counts as met, and that the load is open.
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openEmbedded } from '@holdfast/node';
import t from 'tap';
import { invalid, unknown, valid } from '../src/checker/verdict.ts';
import { limited, steadyLoad } from '../src/generator/generator.ts';
import type { HistoryEvent } from '../src/history.ts';
import { atLeast, atMost, below, figure } from '../src/numbers/figure.ts';
import { renderTable } from '../src/numbers/figure-table.ts';
import { goodClientsIn } from '../src/numbers/hostile-row.ts';
import { OpenLoad } from '../src/numbers/open-load.ts';
import {
  appendRecord,
  groupOf,
  type NumberRecord,
  newestOf,
  readRecords,
  renderMarkdown,
  resultOf,
} from '../src/numbers/record.ts';
import { restartsOf } from '../src/numbers/restart-rows.ts';
import { NUMBER_ROWS } from '../src/numbers/rows.ts';
import type { StageReport } from '../src/numbers/stage.ts';
import { maxOf, medianOf, partsOf, promiseFigures, worstByName } from '../src/numbers/summary.ts';
import { waitFor } from '../src/wait.ts';
import type { Workload } from '../src/workload/workload.ts';

const RECORD: NumberRecord = {
  ...{ row: 'leader-killed', commit: 'abc', startedAt: '2026-11-22T00:00:00.000Z', seed: 7 },
  ...{ coreCount: 2, loadAverage: 0.5, load: '200 operations/s', times: 100, isQuick: false },
  ...{ seconds: 400, result: 'met', verdicts: { set: valid() }, notes: [], samples: [] },
  figures: [atMost('gap: median of 100', 231.4, 'ms', 400), figure('writes', 12_345, '')],
};

let nextProcessId = 1;
const add = (
  invokedMs: number,
  finishedMs: number,
  outcome: 'ok' | 'fail' | 'info',
): readonly HistoryEvent[] => {
  const processId = nextProcessId++;
  const operation = { kind: 'add', element: processId } as const;
  return [
    { kind: 'operation', phase: 'invoke', processId, operation, timeMs: invokedMs },
    { kind: 'operation', phase: outcome, processId, operation, timeMs: finishedMs },
  ];
};

const started = (timeMs: number, doneMs: number): HistoryEvent => ({
  ...{ kind: 'fault', nemesis: 'all-killed', action: 'start', isHealing: true },
  ...{ outcome: 'installed', detail: '', targets: [], timeMs, doneMs },
});

t.test(
  'a row is met when every target is and all verdicts are valid, and else missed',
  async (t) => {
    const met = [atMost('a', 400, 'ms', 400), atLeast('b', 5, '', 5), figure('c', 1e9, 'ms')];
    t.equal(resultOf(met, { set: valid() }), 'met');
    t.equal(resultOf([...met, below('d', 3, 'x', 3)], { set: valid() }), 'missed');
    t.equal(resultOf([...met, atMost('e', 400.1, 'ms', 400)], { set: valid() }), 'missed');
    t.equal(resultOf([atMost('f', null, 'ms', 400)], { set: valid() }), 'missed', 'not measured');
    t.equal(resultOf(met, { set: valid(), logs: unknown('no log') }), 'missed');
    t.equal(resultOf(met, { set: invalid('lost', []) }), 'missed');
    t.equal(resultOf(met, {}), 'missed', 'nothing was judged');
  },
);

t.test('order statistics are samples that occurred, and none of nothing', async (t) => {
  t.equal(medianOf([3, 1, 2]), 2);
  t.equal(medianOf([4, 1, 3, 2]), 2);
  t.equal(maxOf([3, 9, 2]), 9);
  t.equal(medianOf([]), null);
  t.same(partsOf([1, 2, 3, 4, 5], 2), [[1, 2], [3, 4], [5]]);
  t.same(partsOf([], 2), []);
});

t.test('one cluster that lost something is told among many that did not', async (t) => {
  const sound: StageReport = {
    ...{ verdicts: { set: valid(), 'node-logs': valid() }, events: [], gaps: [] },
    acknowledgedCount: 1_000,
  };
  const bad: StageReport = { ...sound, verdicts: { set: invalid('1 x lost', []) } };
  const [count, broken] = promiseFigures([sound, bad, sound]);
  t.equal(count?.value, 3_000);
  t.match(broken, { value: 1, check: 'missed' });
  t.match(worstByName([sound, bad, sound]), {
    set: { kind: 'invalid', reason: '1 x lost' },
    'node-logs': { kind: 'valid' },
  });
});

t.test(
  'a restart counts from when a majority listened to the first acknowledged write',
  async (t) => {
    const events = [
      ...add(900, 990, 'ok'),
      // Begun before all nodes were killed, unknown in the end: it proves nothing.
      ...add(995, 6_000, 'info'),
      started(1_100, 1_800),
      ...add(1_000, 2_050, 'fail'),
      ...add(1_050, 2_200, 'ok'),
      ...add(1_900, 2_300, 'ok'),
      started(5_000, 5_700),
    ];
    t.same(restartsOf(events), [{ majorityMs: 700, firstAcknowledgementMs: 400 }]);
    const early = [started(1_100, 1_800), ...add(1_200, 1_790, 'ok')];
    t.same(
      restartsOf(early),
      [{ majorityMs: 700, firstAcknowledgementMs: 0 }],
      'an acknowledgement before the harness saw the majority',
    );
  },
);

t.test('good clients are counted by when they asked, and failures are not latencies', async (t) => {
  const events = [
    ...add(50, 60, 'ok'),
    ...add(100, 130, 'ok'),
    ...add(150, 900, 'info'),
    ...add(199, 400, 'ok'),
    ...add(200, 210, 'ok'),
  ];
  const within = goodClientsIn(events, { fromMs: 100, toMs: 200 });
  t.same(within, { latenciesMs: [30, 201], failureCount: 1 });
});

t.test('the newest full measurement of a row counts, and a torn line does not', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-numbers-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'store', 'numbers.jsonl');
  t.same(readRecords(path), []);
  const later = { ...RECORD, commit: 'def', result: 'missed' as const };
  const quick = { ...RECORD, commit: 'quick', isQuick: true };
  const skipped = { ...RECORD, commit: 'skipped', result: 'skipped' as const };
  const other = { ...skipped, row: 'power-cut' };
  for (const record of [RECORD, later, quick, skipped, other]) appendRecord(path, record);
  appendFileSync(path, '{"row":"leader-killed","com');
  const newest = newestOf(readRecords(path), ['power-cut', 'leader-killed', 'hostile']);
  t.same(
    newest.map(({ commit, row }) => `${row} ${commit}`),
    ['power-cut skipped', 'leader-killed def'],
  );
});

t.test(
  'tables show figure, target and whether it was met, and why something was not valid',
  async (t) => {
    const bad = { ...RECORD, verdicts: { set: invalid('elements: 1 x lost', []) } };
    const table = renderTable([groupOf(bad)], 'row');
    t.match(table, /^leader-killed {2}gap: median of 100 +231 {2}ms +<= 400 +met$/m);
    t.match(table, /^leader-killed: set is invalid: elements: 1 x lost$/m);
    const missed = { ...RECORD, row: 'follower', result: 'missed' as const };
    const figures = [atMost('gap: max', 1_500.5, 'ms', 1_500)];
    const markdown = renderMarkdown([RECORD, { ...missed, figures }], (row) => `about ${row}`);
    t.match(
      markdown,
      '| about leader-killed (100) | gap: median of 100 **231 ms** (<= 400) | met | ' +
        '`npm run jepsen:numbers -- leader-killed` | abc |',
    );
    t.match(markdown, '| gap: max **1,501 ms** (<= 1,500, MISSED) | MISSED |');
    t.notMatch(markdown, /12,345/, 'figures without a target are for the file');
  },
);

t.test('rows have names of their own and say what the machine lacks for them', async (t) => {
  const names = NUMBER_ROWS.map(({ name }) => name);
  t.equal(new Set(names).size, names.length);
  const bare = { isRoot: false, hasCompiler: false, hasExt4Tools: false };
  const reasons = new Map(NUMBER_ROWS.map((row) => [row.name, row.whyNot(bare)]));
  t.match(reasons.get('power-cut'), /run as root/);
  t.match(reasons.get('slow-disk'), /C compiler/);
  t.equal(reasons.get('leader-killed'), null);
  const able = { isRoot: true, hasCompiler: true, hasExt4Tools: true };
  t.ok(NUMBER_ROWS.every((row) => row.whyNot(able) === null));
});

t.test('an open load begins what is due although nothing before was answered', async (t) => {
  t.setTimeout(0);
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-open-load-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const node = await openEmbedded({ dataDir: join(directory, 'data') });
  t.teardown(() => node.close());
  const OPERATION_COUNT = 50;
  const waiting: (() => void)[] = [];
  const workload: Workload = {
    name: 'held',
    generator: limited(
      OPERATION_COUNT,
      steadyLoad({ seed: 1, ratePerSecond: 1_000 }, (position) => ({
        ...{ kind: 'add', element: position + 1 },
      })),
    ),
    prepare: async () => undefined,
    perform: async (_tools, operation) => {
      await new Promise<void>((resolve) => waiting.push(resolve));
      return { outcome: 'ok', operation };
    },
    finalOperations: () => [],
    judge: (events) => valid({ eventCount: events.length }),
  };
  const load = await OpenLoad.start({ addresses: [node.address], workload, clientCount: 2 });
  t.teardown(() => load.close());
  await waitFor({ what: 'all operations to be under way', timeoutMs: 120_000 }, () =>
    waiting.length === OPERATION_COUNT ? true : null,
  );
  t.equal(load.acknowledgedCount, 0);
  t.equal(new Set(load.events.map((one) => 'processId' in one && one.processId)).size, 50);
  for (const resolve of waiting) resolve();
  await load.stop();
  t.equal(load.acknowledgedCount, OPERATION_COUNT);
  t.match(await load.judge(), { kind: 'valid', summary: { eventCount: 2 * OPERATION_COUNT } });
});

t.test('a load whose workload has a bug breaks, and gives no verdict', async (t) => {
  t.setTimeout(0);
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-open-load-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const node = await openEmbedded({ dataDir: join(directory, 'data') });
  t.teardown(() => node.close());
  const workload: Workload = {
    ...{ name: 'broken', prepare: async () => undefined, finalOperations: () => [] },
    generator: steadyLoad({ seed: 1, ratePerSecond: 100 }, () => ({ kind: 'add', element: 1 })),
    perform: async () => {
      throw new TypeError('a bug of the harness');
    },
    judge: () => valid(),
  };
  const load = await OpenLoad.start({ addresses: [node.address], workload, clientCount: 1 });
  t.teardown(() => load.close());
  await t.rejects(load.untilFlowing(1), { message: 'a bug of the harness' });
  await t.rejects(load.stop(), { message: 'a bug of the harness' });
});
