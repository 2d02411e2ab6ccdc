// The parts of the benchmarks that could make a figure lie: counting, percentiles, recall, reports.
import t from 'tap';
import { runClosedLoop, runClosedLoopCount } from '../src/closed-loop.ts';
import { clusteredDataset } from '../src/dataset.ts';
import { exactNearest, recallOf } from '../src/ground-truth.ts';
import { parseOptions } from '../src/options.ts';
import { buildRawIndex } from '../src/peers/raw-hnswlib.ts';
import { parseMemory, parseProcessorMs, parseSystemCalls } from '../src/process-facts.ts';
import { readIdxImages, readIdxLabels, readIvecs } from '../src/real-data.ts';
import { hasMetTargets, renderTable } from '../src/report.ts';
import { atLeast, atMost, type BenchResult, below, figure, formatNumber } from '../src/result.ts';
import { median, medianOrNull, percentile } from '../src/statistics.ts';

t.test('percentiles are samples that occurred', async (t) => {
  const samples = [5, 1, 4, 2, 3];
  t.equal(median(samples), 3);
  t.equal(median([1, 2, 3, 4]), 2);
  t.equal(percentile(samples, 0.99), 5);
  t.equal(percentile(samples, 0.2), 1);
  t.same(samples, [5, 1, 4, 2, 3], 'the samples stay as they were');
  t.equal(medianOrNull([]), null);
  t.throws(() => median([]), /needs samples/);
});

t.test(
  'a closed loop never has more calls open than allowed, and counts only answers',
  async (t) => {
    let open = 0;
    let openMax = 0;
    let answered = 0;
    // Time passes with the answers: two milliseconds each.
    const options = { inFlight: 4, durationMs: 30, nowMs: () => 2 * answered };
    const result = await runClosedLoop(options, async () => {
      open += 1;
      openMax = Math.max(openMax, open);
      await new Promise((resolve) => setImmediate(resolve));
      open -= 1;
      answered += 1;
    });
    t.equal(openMax, 4);
    t.equal(result.answeredCount, 15, 'those that came in time');
    t.ok(answered > 15 && answered <= 19, 'of those that were asked');
    t.equal(result.latenciesMs.length, result.answeredCount);
    t.equal(result.rate, result.answeredCount / 0.03);
  },
);

t.test('a counted loop makes each call once, and stops at the first failure', async (t) => {
  const made: number[] = [];
  await runClosedLoopCount({ inFlight: 3, count: 10 }, async (i) => {
    await new Promise((resolve) => setImmediate(resolve));
    made.push(i);
  });
  t.same(
    made.sort((left, right) => left - right),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
  );
  let calls = 0;
  const failing = runClosedLoopCount({ inFlight: 2, count: 1_000 }, async (i) => {
    calls += 1;
    await new Promise((resolve) => setImmediate(resolve));
    if (i === 4) throw new Error('refused');
  });
  await t.rejects(failing, /refused/);
  t.ok(calls < 20, `${calls} calls`);
});

t.test('a closed loop reports the first failure and stops asking', async (t) => {
  let calls = 0;
  const run = runClosedLoop({ inFlight: 2, durationMs: 60_000 }, async (i) => {
    calls += 1;
    await new Promise((resolve) => setImmediate(resolve));
    if (i === 5) throw new Error('refused');
  });
  await t.rejects(run, /refused/);
  t.ok(calls < 20, `${calls} calls`);
});

t.test(
  'the dataset is the same for the same seed, clustered, and without its queries',
  async (t) => {
    const options = {
      seed: 7,
      dimension: 16,
      vectorCount: 300,
      queryCount: 20,
      clusterCount: 10,
      clusterSpread: 0.1,
    };
    const dataset = clusteredDataset(options);
    t.same(clusteredDataset(options), dataset);
    t.notSame(clusteredDataset({ ...options, seed: 8 }).vectors[0], dataset.vectors[0]);
    const query = dataset.queries[0] ?? new Float32Array(16);
    const nearest = exactNearest(dataset.vectors, query, 10);
    const distance = (i: number) =>
      (dataset.vectors[i] ?? query).reduce((sum, v, j) => sum + (v - (query[j] ?? 0)) ** 2, 0);
    const byHand = dataset.vectors.map((_v, i) => i).sort((a, b) => distance(a) - distance(b));
    t.same(nearest, byHand.slice(0, 10), 'the exact answer agrees with sorting everything');
    t.ok(distance(nearest[0] ?? 0) > 0, 'a query is none of the vectors');
    t.ok(distance(byHand[0] ?? 0) * 20 < distance(byHand[250] ?? 0), 'neighbours are much nearer');
  },
);

t.test('ties go to the lower position, and k may exceed the number of vectors', async (t) => {
  const same = new Float32Array([1, 1]);
  t.same(exactNearest([same, same, same], new Float32Array([0, 0]), 2), [0, 1]);
  t.same(exactNearest([same], new Float32Array([0, 0]), 5), [0]);
});

t.test('recall counts wanted neighbours found, and a missing answer finds none', async (t) => {
  t.equal(recallOf([[1, 2], [3]], [[2, 1], [3]]), 1);
  t.equal(recallOf([[1, 9]], [[1, 2]]), 0.5);
  t.equal(recallOf([], [[1, 2]]), 0);
  t.equal(recallOf([[1]], []), 0);
});

t.test('the raw peer finds what exact search finds', async (t) => {
  const dataset = clusteredDataset({
    seed: 1,
    dimension: 8,
    vectorCount: 200,
    queryCount: 5,
    clusterCount: 4,
    clusterSpread: 0.5,
  });
  const index = await buildRawIndex(dataset.vectors, { dimension: 8, m: 16, efConstruction: 100 });
  if (index === null) {
    t.comment('hnswlib-node is not installed: the peer is absent, and says so by null');
    return;
  }
  index.setEf(200);
  const found = dataset.queries.map((query) => index.search(Array.from(query), 10));
  const wanted = dataset.queries.map((query) => exactNearest(dataset.vectors, query, 10));
  t.ok(recallOf(found, wanted) > 0.97);
});

t.test('facts of the operating system are read from their tables', async (t) => {
  const status = 'Name:\tnode\nVmHWM:\t  204800 kB\nVmRSS:\t  102400 kB\n';
  t.same(parseMemory(status), { residentBytes: 104_857_600, residentPeakBytes: 209_715_200 });
  t.throws(() => parseMemory('Name:\tnode\n'), /VmRSS/);
  const stat = '7 (node (x) y) S 1 7 7 0 -1 4194560 9 0 0 0 250 50 0 0 20 0 11 0 8 1 2';
  t.equal(parseProcessorMs(stat), 3_000);
  const report = [
    '% time     seconds  usecs/call     calls    errors syscall',
    '------ ----------- ----------- --------- --------- ----------------',
    ' 98.00    1.234567         123      2001           fdatasync',
    '  2.00    0.000100          33         3         1 fsync',
    '------ ----------- ----------- --------- --------- ----------------',
    '100.00    1.234667                  2004         1 total',
  ].join('\n');
  t.same(parseSystemCalls(report), { fdatasync: 2001, fsync: 3 });
  t.same(parseSystemCalls(''), {});
});

t.test('IDX and ivecs files are read, and cut ones are refused', async (t) => {
  const idx = new Uint8Array(16 + 8);
  const view = new DataView(idx.buffer);
  [0x803, 2, 2, 2].forEach((word, i) => {
    view.setUint32(i * 4, word);
  });
  idx.set([1, 2, 3, 4, 5, 6, 7, 255], 16);
  t.same(readIdxImages(idx), [new Float32Array([1, 2, 3, 4]), new Float32Array([5, 6, 7, 255])]);
  t.throws(() => readIdxImages(idx.subarray(0, 20)), /size differs/);
  t.throws(() => readIdxImages(new Uint8Array(20)), /not an IDX/);
  const labels = new Uint8Array([0, 0, 8, 1, 0, 0, 0, 2, 7, 3]);
  t.same(readIdxLabels(labels), [7, 3]);
  t.throws(() => readIdxLabels(labels.subarray(0, 9)), /size differs/);
  t.throws(() => readIdxLabels(idx), /not an IDX/);
  const ivecs = new Uint8Array(new Int32Array([2, 10, 11, 1, 12]).buffer);
  t.same(readIvecs(ivecs), [[10, 11], [12]]);
  t.throws(() => readIvecs(ivecs.subarray(0, 18)), /cut/);
});

t.test('targets are met, missed or not measured, and a miss is seen', async (t) => {
  t.match(atLeast('a', 5, 'x', 5), { check: 'met', target: '>= 5' });
  t.match(atLeast('a', 4.9, 'x', 5), { check: 'missed' });
  t.match(below('a', 5, 'ms', 5), { check: 'missed' });
  t.match(atMost('a', 0, '', 0), { check: 'met' });
  t.match(atLeast('a', null, 'x', 5), { check: 'notMeasured' });
  const result = (...figures: BenchResult['figures']): BenchResult => ({
    name: 'writes',
    figures,
    notes: ['peer absent'],
    raw: {},
    durationMs: 1,
  });
  t.ok(hasMetTargets([result(atLeast('a', null, 'x', 5), figure('b', 1, 's'))]));
  t.notOk(hasMetTargets([result(atLeast('a', 1, 'x', 5))]));
  const table = renderTable([
    result(atLeast('ratio', 1.234, 'x', 1.5), figure('upserts', 12_345.6, '/s')),
  ]);
  t.match(table, /writes +ratio +1\.23 +x +>= 1\.5 +MISSED/);
  t.match(table, /writes +upserts +12,346 +\/s/);
  t.match(table, /writes: peer absent/);
  t.equal(formatNumber(0.98765), '0.988');
});

t.test('the command line names what it does not know', async (t) => {
  const known = ['writes', 'search'];
  t.match(parseOptions(['search', '--quick'], known), {
    ok: true,
    value: { names: ['search'], isQuick: true },
  });
  t.match(parseOptions(['writes', '--kills', '100', '--minutes', '0.5'], known), {
    ok: true,
    value: { names: ['writes'], sizes: { kills: 100, minutes: 0.5 } },
  });
  t.match(parseOptions(['--kills'], known), { ok: false, error: /--kills/ });
  t.match(parseOptions(['--entries', '-3'], known), { ok: false, error: /--entries/ });
  t.match(parseOptions(['--fast'], known), { ok: false, error: /--fast/ });
  t.match(parseOptions(['reads'], known), { ok: false, error: /reads.*writes, search/ });
});
