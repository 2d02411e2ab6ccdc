// The pages themselves: parsed, not compared as bytes; their scripts run against canvases that note
// what is painted. What comes from a run is hostile, and whatever it is the page has a size.
import { existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { invalid, unknown, valid } from '../src/checker/verdict.ts';
import { History, type HistoryEvent, type Operation } from '../src/history.ts';
import { browserCode, bundle } from '../src/report/browser-code.ts';
import { describeRun } from '../src/report/describe-run.ts';
import { embedJson } from '../src/report/html.ts';
import { indexPage } from '../src/report/index-page.ts';
import type { TimelineInput } from '../src/report/timeline-data.ts';
import { PAGE_SIZE_BYTES_MAX, timelinePage } from '../src/report/timeline-page.ts';
import { wordsOf } from '../src/report/words-of-verdict.ts';
import { writeIndex, writeTimeline } from '../src/report/write-reports.ts';
import type { RunFacts } from '../src/store/run-facts.ts';
import type { ListedRun } from '../src/store/run-reader.ts';
import { summarizeRun } from '../src/store/run-summary.ts';
import { directoryNameOf, RunWriter } from '../src/store/run-writer.ts';
import { openPage, parsePage, unescapeHtml } from './page-reader.ts';

const SCRIPT = browserCode('timeline');
const HOSTILE = `</script><script>alert("1")</script><img src=x onerror='alert(2)'>&amp;\u2028`;

const write = (key: string, value: number): Operation => ({ kind: 'write', key, value });

/** Two clients, one fault that is healed and one that is skipped, one of each outcome. */
function smallRun(key = 'x', detail = 'n1'): readonly HistoryEvent[] {
  const history = new History();
  history.invoke(0, write(key, 1), 100);
  history.finish(0, 'ok', write(key, 1), 110);
  const kill = { nemesis: 'kill', action: 'kill-leader', isHealing: false, detail };
  history.fault({ ...kill, outcome: 'installed', targets: ['n1'], timeMs: 500, doneMs: 501 });
  history.invoke(1, write(key, 2), 600);
  history.finish(1, 'info', write(key, 2), 900, 'REQUEST_TIMEOUT');
  history.invoke(0, write(key, 3), 700);
  history.finish(0, 'fail', write(key, 3), 720, 'NOT_LEADER');
  const heal = { ...kill, action: 'restart', isHealing: true, targets: [] };
  history.fault({ ...heal, outcome: 'installed', timeMs: 1_000, doneMs: 1_200 });
  history.fault({ ...kill, outcome: 'skipped', targets: [], timeMs: 1_300, doneMs: 1_300 });
  history.invoke(-1, write(key, 4), 2_000);
  history.finish(-1, 'ok', write(key, 4), 2_100);
  return history.events;
}

function inputOf(rest: Partial<TimelineInput> = {}): TimelineInput {
  return {
    title: 'register under kill, seed 7',
    facts: [['commit', '0123abc']],
    reproduceLine: 'npm run jepsen -- --seed 7',
    workerCount: 2,
    events: smallRun(),
    verdicts: { register: valid({ keyCount: 1 }), agreement: unknown('one index only') },
    ...rest,
  };
}

t.test(
  'a page holds the run: facts, verdicts, operations, faults and the line to repeat it',
  async (t) => {
    const page = parsePage(timelinePage(inputOf(), SCRIPT));
    for (const text of [
      '? unknown register under kill, seed 7',
      'commit 0123abc',
      'again npm run jepsen -- --seed 7',
      'register ✓ valid key count: 1',
      'agreement ? unknown one index only',
      'kill kill-leader n1 0.500 s 1.200 s 0 1 1',
    ]) {
      t.ok(page.text.includes(text), text);
    }
    const { bands, endMs, laneNames, operations, skips } = page.data;
    t.equal(endMs, 2_100);
    t.same(laneNames, ['client 0', 'client 1', 'harness']);
    t.equal(operations.outcomes, 'oifo');
    t.same(operations.lanes, [0, 1, 0, 2]);
    t.match(bands, [
      { fromMs: 500, toMs: 1_200, targets: 'n1', counts: { ok: 0, fail: 1, info: 1 } },
    ]);
    t.match(skips, [{ timeMs: 1_300 }]);
    t.ok(
      parsePage(timelinePage(inputOf({ verdicts: null }), SCRIPT)).text.includes('… unfinished'),
    );
  },
);

t.test('nothing of a run can end its place in a page or run as a script', async (t) => {
  const html = timelinePage(
    inputOf({
      title: HOSTILE,
      facts: [[HOSTILE, HOSTILE]],
      reproduceLine: HOSTILE,
      events: smallRun(HOSTILE, HOSTILE),
      verdicts: { [HOSTILE]: invalid(HOSTILE, [{ what: HOSTILE, key: HOSTILE }]) },
      colours: new Map([['kill', HOSTILE]]),
      notes: [HOSTILE],
      fileNames: [`logs/${HOSTILE}`],
      series: [{ name: HOSTILE, unit: HOSTILE, owner: HOSTILE, points: [[0, 1]] }],
    }),
    SCRIPT,
  );
  const plain = parsePage(
    timelinePage(inputOf({ verdicts: { a: invalid('r', [{ key: 'x' }]) } }), SCRIPT),
  );
  const page = parsePage(html);
  const names = (tags: readonly string[]) =>
    new Set(tags.map((tag) => /^<\/?[\w-]+/.exec(tag)?.[0]));
  const known = new Set([...names(plain.tags), '<ul', '</ul']);
  t.same(
    [...names(page.tags)].filter((name) => !known.has(name)),
    ['<a', '</a'],
    'no other tags',
  );
  t.notMatch(page.tags.join(''), /onerror='|<img|<script/);
  t.ok(page.text.includes(HOSTILE.replace('\u2028', ' ').trim()), 'it is shown as it is');
  t.ok(
    page.data.texts.some((text) => text.includes('</script>')),
    'and kept in the data',
  );
  const label = / id="chart-0" role="img" aria-label="([^"]*)"><\/canvas>/.exec(html)?.[1] ?? '';
  t.equal(unescapeHtml(label), `${HOSTILE} (${HOSTILE}), a line per node`);
  t.doesNotThrow(() => openPage(html));
  t.same(JSON.parse(embedJson({ HOSTILE })), { HOSTILE });
  t.notMatch(embedJson({ HOSTILE }), /[<>\u2028]/);
});

t.test('a page is one file that asks for nothing and runs only its own script', async (t) => {
  const html = timelinePage(inputOf({ fileNames: ['history.jsonl'] }), SCRIPT);
  const page = parsePage(html);
  t.ok(page.hasOwnHash, 'the policy names the hash of the script');
  t.match(page.policy, /^default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-/);
  t.notMatch(html, /https?:\/\/|src=|@import|url\(/);
  const links = page.tags.flatMap((tag) => / href="([^"]*)"/.exec(tag)?.[1] ?? []);
  t.same(links, ['./history.jsonl', '../index.html']);
});

t.test('the script paints every bar, fault and anomaly, and leads to an anomaly', async (t) => {
  const witness = { processIds: [1], fromMs: 600, toMs: 900, timeMs: 900 };
  const verdicts = { register: invalid('no order', [witness, { digest: 'no place' }]) };
  const series = [{ name: 'rss', unit: 'MiB', owner: 'n1', points: [[0, 10] as const] }];
  const html = timelinePage(inputOf({ verdicts, series }), SCRIPT);
  const browser = openPage(html);
  t.equal(browser.textOf('range'), '0.00 s to 2.10 s');
  const lanes = browser.painting('lanes');
  t.equal(lanes.rectCounts.get('ok'), 2);
  t.equal(lanes.rectCounts.get('fail'), 1);
  t.equal(lanes.rectCounts.get('info'), 2, 'and once more, framed, as a part of an anomaly');
  t.ok(lanes.texts.includes('write x := 2'), 'the anomaly is named');
  t.ok(['client 0', 'client 1', 'harness'].every((name) => lanes.texts.includes(name)));
  t.ok(browser.painting('faults').texts.includes('kill-leader · n1'));
  t.ok(browser.painting('faults').texts.includes('anomalies'));
  t.equal(browser.painting('rate').rectCounts.get('fail'), 1);
  t.ok(browser.painting('chart-0').texts.includes('10 MiB'));
  t.ok((browser.painting('latency').rectCounts.get('anomaly') ?? 0) >= 3, 'through all panels');

  browser.click('anomaly 0');
  t.equal(browser.textOf('range'), '0.420 s to 1.080 s');
  t.equal(browser.painting('lanes').rectCounts.get('ok'), undefined, 'the others are out of view');
  browser.click('zoom-all');
  t.equal(browser.textOf('range'), '0.00 s to 2.10 s');
  browser.click('zoom-in');
  t.equal(browser.textOf('range'), '0.42 s to 1.68 s');
  t.equal(openPage(html, '#anomaly-1').textOf('range'), '0.420 s to 1.080 s');
  t.equal(openPage(html, '#from-1000-to-2000').textOf('range'), '1.00 s to 2.00 s');
  t.throws(() => browser.click('anomaly 1'), 'what has no place has no button');
});

t.test('the first anomalies are shown and the others folded, each under its number', async (t) => {
  const pageOf = (count: number) => {
    const witnesses = Array.from({ length: count }, (_unused, i) => ({ what: `witness ${i + 1}` }));
    const verdicts = { register: invalid('no order', witnesses) };
    return parsePage(timelinePage(inputOf({ verdicts }), SCRIPT));
  };
  const few = pageOf(3);
  t.notMatch(few.text, /and \d+ more/);
  const many = pageOf(5);
  t.ok(many.text.includes('5 anomalies'));
  t.match(many.text, /witness 3.*and 2 more.*witness 4.*witness 5/);
  t.ok(many.tags.includes('<ol start="4">'));
});

t.test('tables among the figures of a verdict are left to the files of the run', async (t) => {
  const windows = [{ name: 'kill at 3 ms', okRatio: 0.5 }];
  const words = wordsOf(valid({ faultCount: 2, okRatio: 0.256, windows, leader: null }));
  t.equal(words, 'fault count: 2, ok ratio: 0.26, leader: null');
});

t.test('a page says where the longest write gap was', async (t) => {
  const history = new History();
  for (const [beginMs, value] of [
    [100, 1],
    [900, 2],
  ] as const) {
    history.invoke(0, write('x', value), beginMs);
    history.finish(0, 'ok', write('x', value), beginMs + 10);
    const kill = { nemesis: 'kill', action: 'kill-leader', isHealing: false, detail: '' };
    const when = { timeMs: beginMs + 50, doneMs: beginMs + 60 };
    history.fault({ ...kill, ...when, outcome: 'installed', targets: ['n1'] });
  }
  const [line] = describeRun(history.events);
  t.equal(line, 'longest write gap 800 ms, from 110 ms on, around kill-leader');
});

t.test('a run of any size gives a page that can be opened', async (t) => {
  const history = new History();
  const operationCount = 120_000;
  const filler = `${'<'.repeat(20)}${'é'.repeat(20)}`;
  for (let i = 0; i < operationCount; i++) {
    const operation = write(filler, i);
    history.invoke(i % 20, operation, i);
    history.finish(i % 20, i % 100 === 0 ? 'fail' : 'ok', operation, i + 15);
  }
  const html = timelinePage(inputOf({ events: history.events, workerCount: 20 }), SCRIPT);
  t.ok(Buffer.byteLength(html) <= PAGE_SIZE_BYTES_MAX, `${Buffer.byteLength(html)} bytes`);
  const { data, text } = parsePage(html);
  const drawnCount = data.operations.outcomes.length;
  t.ok(drawnCount > 10_000 && drawnCount < operationCount, `${drawnCount} are drawn`);
  t.ok(text.includes(`${drawnCount} of ${operationCount} operations are drawn`), 'and it says so');
  const sum = (counts: readonly number[]) => counts.reduce((a, b) => a + b, 0);
  t.equal(sum(data.buckets.ok) + sum(data.buckets.fail), operationCount, 'all are counted');
  const painted = openPage(html).painting('lanes').rectCounts.get('ok') ?? 0;
  t.ok(painted > 0 && painted <= 20 * 510, `${painted} rectangles, one in two pixels`);
});

t.test('a page without events, faults or verdicts can be opened too', async (t) => {
  const html = timelinePage(inputOf({ events: [], verdicts: {} }), SCRIPT);
  t.doesNotThrow(() => openPage(html));
  t.ok(parsePage(html).text.includes('? unknown'), 'nothing checked is no pass');
});

t.test('page modules that use a form the bundle does not know are refused', async (t) => {
  const files: Readonly<Record<string, string>> = {
    good: "import { a } from './part.js';\nexport function b() { return a; }\n",
    part: 'export const a = 1;\nexport {};\n',
    starred: "import * as part from './part.js';\n",
    outside: "import { readFileSync } from 'node:fs';\n",
    ending: "export const a = '</script>';\n",
  };
  const read = (name: string) => files[name] ?? '';
  t.match(bundle('good', read), /modules\['part'\][\s\S]*modules\['good'\]/);
  for (const name of ['starred', 'outside', 'ending']) t.throws(() => bundle(name, read), name);
});

const FACTS: RunFacts = {
  formatVersion: 1,
  workload: 'register',
  nemeses: [{ name: 'kill', colour: '#7b52ab' }],
  seed: 7,
  nodeNames: ['n1', 'n2', 'n3'],
  cluster: 'process',
  workerCount: 2,
  durationMs: 2_000,
  commit: '0123456789ab',
  startedAt: '2026-11-22T02:30:00.000Z',
  reproduceLine: 'npm run jepsen -- --seed 7',
  settings: { intervalMs: 400 },
};

t.test('the list of runs says how each one ended, newest first', async (t) => {
  const run = (name: string, rest: Partial<ListedRun> = {}): ListedRun => ({
    ...{ kind: 'run', name, facts: FACTS, hasTimeline: true },
    ...{ verdicts: { register: valid() }, summary: summarizeRun(smallRun()), ...rest },
  });
  const bad = { register: valid(), bank: invalid(HOSTILE, []), logs: unknown('') };
  const html = indexPage(
    [
      run('c', { verdicts: null, summary: null, hasTimeline: false }),
      run('b "><', { verdicts: bad, facts: { ...FACTS, workload: HOSTILE } }),
      run('a'),
      { kind: 'unreadable', name: 'z', reason: 'run.json is damaged' },
    ],
    browserCode('run-list'),
  );
  const page = parsePage(html);
  const rows = page.tags.filter((tag) => tag.startsWith('<tr data'));
  const kinds = rows.map((row) => /data-verdict="(\w+)"/.exec(row)?.[1]);
  t.same(kinds, ['unfinished', 'invalid', 'valid', 'unfinished']);
  const links = page.tags.flatMap((tag) => / href="([^"]*)"/.exec(tag)?.[1] ?? []);
  t.same(links, ['./c/', './b%20%22%3E%3C/timeline.html', './a/timeline.html', './z/']);
  t.ok(page.text.includes('1 valid, 1 invalid, 0 unknown, 2 unfinished'));
  t.ok(page.text.includes('✗ invalid bank'), 'and which checker said so');
  t.ok(page.text.includes('✓ valid 2 1 1 1 (1 skipped)'), 'with its counts');
  t.ok(page.hasOwnHash);
});

t.test('pages are made from what is on disk, also when the harness died', async (t) => {
  const store = t.testdir();
  const events = smallRun();
  const writer = await RunWriter.create(store, FACTS);
  await writer.append(events);
  await writer.close();
  const name = directoryNameOf(FACTS);
  const history = join(store, name, 'history.jsonl');
  truncateSync(history, readFileSync(history).length - 5);
  const died = parsePage(readFileSync(await writeTimeline(store, name), 'utf8'));
  t.ok(died.text.includes('… unfinished register under kill, seed 7'));
  t.ok(died.text.includes('the harness died while it wrote'), 'a torn line is told');
  t.equal(died.data.operations.outcomes, 'oifi', 'its operation is open');
  t.equal(died.data.bands[0]?.colour, '#7b52ab', 'the colour that the nemesis ships');

  writeFileSync(history, '');
  await writer.writeVerdicts({ verdicts: { set: valid() }, summary: summarizeRun(events) });
  t.ok(existsSync(await writeTimeline(store, name)));
  const list = parsePage(readFileSync(await writeIndex(store), 'utf8'));
  t.ok(list.text.includes('1 valid, 0 invalid'));
});
