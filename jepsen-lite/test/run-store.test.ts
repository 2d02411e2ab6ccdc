// Runs on disk: what is written is read back the same, a harness that dies leaves what it wrote
// readable, and damage is said with its place and never guessed over.
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { invalid, valid } from '../src/checker/verdict.ts';
import { History, type HistoryEvent } from '../src/history.ts';
import { lineOf, parseLine } from '../src/store/history-lines.ts';
import { keepDataDirectories, keepLogs } from '../src/store/keep-evidence.ts';
import type { RunFacts } from '../src/store/run-facts.ts';
import { listRun, listRuns, readHistory, readRun } from '../src/store/run-reader.ts';
import { summarizeRun } from '../src/store/run-summary.ts';
import { directoryNameOf, followHistory, RunWriter } from '../src/store/run-writer.ts';

const FACTS: RunFacts = {
  formatVersion: 1,
  workload: 'register',
  nemeses: [{ name: 'partition', colour: '#44aa99' }, { name: 'kill' }],
  seed: 7,
  nodeNames: ['n1', 'n2', 'n3'],
  cluster: 'process',
  workerCount: 4,
  durationMs: 60_000,
  commit: '0123456789ab',
  startedAt: '2026-11-22T02:30:00.000Z',
  reproduceLine: 'npm run jepsen -- --workload register --nemesis partition,kill --seed 7',
  settings: { faultIntervalMs: 4_000 },
};

function smallHistory(): History {
  const history = new History();
  const write = { kind: 'write', key: 'x', value: 1 } as const;
  const read = { kind: 'read', key: 'x', value: undefined, nodePick: null } as const;
  history.invoke(0, write, 1.23456789);
  history.finish(0, 'ok', write, 2);
  history.fault({
    ...{ nemesis: 'kill', action: 'kill-leader', isHealing: false, outcome: 'installed' },
    ...{ detail: 'n1', targets: ['n1'], timeMs: 3, doneMs: 4 },
  });
  history.invoke(1, read, 5);
  history.finish(1, 'info', read, 6, 'REQUEST_TIMEOUT');
  history.invoke(2, write, 7);
  history.finish(2, 'ok', write, 1_007);
  return history;
}

t.test('a run is read back as it was written', async (t) => {
  const store = t.testdir();
  const { events } = smallHistory();
  const writer = await RunWriter.create(store, FACTS);
  await writer.append(events.slice(0, 3));
  await writer.append(events);
  const verdicts = { register: invalid('no order', [{ key: 'x' }]), agreement: valid() };
  await writer.writeVerdicts({ verdicts, summary: summarizeRun(events) });
  const series = [{ name: 'rss', unit: 'MiB', owner: 'n1', points: [[0, 120] as const] }];
  await writer.writeSeries(series);
  await writer.close();

  const name = directoryNameOf(FACTS);
  t.equal(name, '2026-11-22T023000-register-partition+kill-7');
  const run = readRun(store, name);
  t.same(run.listed.facts, FACTS);
  t.same(run.listed.verdicts, verdicts);
  t.match(run.listed.summary, { okCount: 2, infoCount: 1, longestWriteGapMs: 1_005 });
  t.match(run.listed.summary, { installedFaultCount: 1, skippedFaultCount: 0, lastEventMs: 1_007 });
  t.same(run.series, series);
  t.equal(run.history.isTorn, false);
  t.equal(run.history.events.length, events.length, 'nothing is written twice');
  t.same(run.history.events.slice(1), JSON.parse(JSON.stringify(events.slice(1))));
  t.match(run.history.events[0], { timeMs: 1.235 }, 'times are kept to the microsecond');
  t.same(run.fileNames, ['history.jsonl', 'run.json', 'series.json', 'verdicts.json']);
});

t.test('a harness that died leaves a run without verdicts and a torn last line', async (t) => {
  const store = t.testdir();
  const { events } = smallHistory();
  const writer = await RunWriter.create(store, FACTS);
  await writer.append(events);
  await writer.close();
  const path = join(writer.directory, 'history.jsonl');
  const bytes = readFileSync(path);
  const lastLineAt = bytes.lastIndexOf(0x0a, bytes.length - 2) + 1;
  for (const sizeBytes of [bytes.length - 1, bytes.length - 9, lastLineAt + 1]) {
    truncateSync(path, sizeBytes);
    const history = readHistory(path);
    t.equal(history.isTorn, true, `${sizeBytes} bytes`);
    t.equal(history.events.length, events.length - 1, 'everything before it is there');
  }
  truncateSync(path, lastLineAt);
  t.match(readHistory(path), { isTorn: false }, 'a whole line at the end is not torn');
  t.match(listRuns(store), [{ kind: 'run', verdicts: null, summary: null, hasTimeline: false }]);
});

t.test('a history that is damaged before its end is refused with the line', async (t) => {
  const directory = t.testdir();
  const lines = smallHistory().events.map(lineOf);
  const damages: readonly ((line: string) => string)[] = [
    (line) => line.slice(3),
    (line) => line.replace('"invoke"', '"begun"'),
    (line) => line.replace('"timeMs":5', '"timeMs":"5"'),
    (line) => line.replace('"processId":1', '"processId":1.5'),
    () => '\n',
  ];
  for (const damage of damages) {
    const path = join(directory, 'history.jsonl');
    const damaged = lines.with(3, damage(lines[3] ?? ''));
    t.not(damaged[3], lines[3]);
    writeFileSync(path, damaged.join(''));
    t.throws(() => readHistory(path), { message: /history\.jsonl:4: / });
  }
  t.equal(parseLine(lineOf(smallHistory().events[2]!).replace('installed', 'done')), null);
});

t.test('the list shows newest first, and what cannot be read with its reason', async (t) => {
  const store = t.testdir({ 'not-a-run': {}, 'z-damaged': { 'run.json': '{"formatVersion":1' } });
  for (const day of ['01', '03', '02']) {
    const writer = await RunWriter.create(store, {
      ...FACTS,
      startedAt: `2026-11-${day}T00:00:00.000Z`,
    });
    await writer.close();
  }
  const listed = listRuns(store);
  t.match(listed[0], { kind: 'unreadable', name: 'z-damaged', reason: /run\.json/ });
  t.match(listed[1], { kind: 'unreadable', name: 'not-a-run', reason: 'no run.json' });
  const days = listed.slice(2).map((run) => run.kind === 'run' && run.facts.startedAt.slice(8, 10));
  t.same(days, ['03', '02', '01']);
  t.same(listRuns(join(store, 'nowhere')), []);
  const name = listed[2]!.name;
  for (const text of ['{"formatVersion":1}', '[]', '{', '{"formatVersion":2}']) {
    writeFileSync(join(store, name, 'verdicts.json'), text);
    t.match(listRun(store, name), { kind: 'unreadable', reason: /verdicts\.json/ }, text);
  }
});

t.test('two runs that begin in one second have directories of their own', async (t) => {
  const store = t.testdir();
  const writers = await Promise.all([FACTS, FACTS].map((facts) => RunWriter.create(store, facts)));
  await Promise.all(writers.map((writer) => writer.close()));
  t.not(writers[0]?.directory, writers[1]?.directory);
  const hostile = { ...FACTS, workload: '../../x y', nemeses: [] };
  t.equal(directoryNameOf(hostile), '2026-11-22T023000-.._.._x_y-none-7');
});

t.test('following a history writes what it holds at the end', async (t) => {
  const store = t.testdir();
  const writer = await RunWriter.create(store, FACTS);
  const growing: HistoryEvent[] = [];
  const stop = followHistory(writer, () => growing);
  await writer.append([]);
  growing.push(...smallHistory().events);
  await stop();
  await writer.close();
  t.equal(readHistory(join(writer.directory, 'history.jsonl')).events.length, growing.length);
});

t.test(
  'a write that fails is told to whoever follows, and nothing is written after it',
  async (t) => {
    const writer = await RunWriter.create(t.testdir(), FACTS);
    const { events } = smallHistory();
    const unwritable = { ...events[0]!, timeMs: 1n as unknown as number };
    await t.rejects(writer.append([unwritable]));
    await t.rejects(writer.append(events), 'a hole would look like a history');
    await t.rejects(followHistory(writer, () => [unwritable])());
    await t.rejects(writer.close());
    t.equal(readFileSync(join(writer.directory, 'history.jsonl'), 'utf8'), '');
  },
);

t.test('logs are copied and data directories are moved', async (t) => {
  const directory = t.testdir({ n1: { 'node.log': 'up\n', data: { wal: { '1.log': 'abc' } } } });
  const run = join(directory, 'run');
  mkdirSync(run);
  await keepLogs(run, { n1: join(directory, 'n1/node.log') });
  appendFileSync(join(directory, 'n1/node.log'), 'down\n');
  await keepDataDirectories(run, { n1: join(directory, 'n1/data') });
  t.equal(readFileSync(join(run, 'logs/n1.log'), 'utf8'), 'up\n');
  t.equal(readFileSync(join(run, 'data/n1/wal/1.log'), 'utf8'), 'abc');
  t.equal(existsSync(join(directory, 'n1/data')), false);
  await t.rejects(keepLogs(run, { '../n1': join(directory, 'n1/node.log') }), /fit for a file/);
});
