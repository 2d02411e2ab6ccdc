// Suites as data: the same experiments each time, resumed where they were, reported as they ended.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { checkNames, type Experiment, reproduceLine } from '../src/suite/experiment.ts';
import { REGISTRY } from '../src/suite/registry.ts';
import {
  chooseRuns,
  experimentsOf,
  keyOf,
  parseSuite,
  type RepeatChoice,
  type Suite,
} from '../src/suite/suite.ts';
import { appendSuiteLine, readSuiteLog, type SuiteLine } from '../src/suite/suite-log.ts';
import { countSuite, reportSuite } from '../src/suite/suite-report.ts';

const SUITE: Suite = {
  ...{ name: 'test', seed: 7, nodeCount: 5, seconds: 45, faultIntervalSeconds: 5 },
  blocks: [
    { workloads: ['register', 'set'], nemeses: [['kill'], ['kill', 'pause'], []], repeat: 2 },
  ],
};

const lineOf = (experiment: Experiment, verdict: SuiteLine['verdict']): SuiteLine => ({
  ...{ key: keyOf(experiment), commit: 'abc', run: 'dir', verdict, reasons: [], seconds: 1 },
  summary: null,
});

t.test('a suite gives every workload under every set of faults, with a seed each', async (t) => {
  const experiments = experimentsOf(SUITE);
  t.equal(experiments.length, 12);
  t.equal(new Set(experiments.map(keyOf)).size, 12);
  t.equal(new Set(experiments.map(({ seed }) => seed)).size, 12);
  t.same(experimentsOf(SUITE), experiments, 'again the same');
  const more = {
    ...SUITE,
    blocks: [{ workloads: ['bank'], nemeses: [['kill']] }, ...SUITE.blocks],
  };
  t.same(experimentsOf(more).slice(1), experiments, 'another block changes none of them');
});

t.test('a block may be slower than its suite', async (t) => {
  const block = { workloads: ['set'], nemeses: [['power']], seconds: 65, faultIntervalSeconds: 10 };
  const [slow] = experimentsOf({ ...SUITE, blocks: [block] });
  t.match(slow, { durationMs: 65_000, faultIntervalMs: 10_000 });
  t.match(experimentsOf(SUITE)[0], { durationMs: 45_000, faultIntervalMs: 5_000 });
});

t.test('the line that reproduces a run says all of it', async (t) => {
  const [experiment] = experimentsOf(SUITE) as [Experiment];
  t.match(
    reproduceLine(experiment),
    /^npm run jepsen -- --workload register --nemesis kill --seed \d+ --nodes 5 --seconds 45 /,
  );
});

t.test('a block may archive, and says so in its seeds, keys and lines', async (t) => {
  const block = { workloads: ['set'], nemeses: [['kill']] };
  const [plain] = experimentsOf({ ...SUITE, blocks: [block] }) as [Experiment];
  const [archiving] = experimentsOf({ ...SUITE, blocks: [{ ...block, archive: true }] }) as [
    Experiment,
  ];
  t.notOk(plain.isArchiving);
  t.ok(archiving.isArchiving);
  t.not(archiving.seed, plain.seed);
  t.match(keyOf(archiving), /\|archive$/);
  t.match(reproduceLine(archiving), / --archive$/);
  t.notMatch(reproduceLine(plain), /archive/);
  t.throws(() => checkNames({ ...archiving, cluster: 'sim', nemeses: [] }, REGISTRY), /--archive/);
});

t.test('after a mend the touched runs are repeated, and some more by chance', async (t) => {
  const block = { workloads: ['bank'], nemeses: [['pause']] };
  const archiving = { ...block, archive: true };
  const experiments = experimentsOf({ ...SUITE, blocks: [...SUITE.blocks, block, archiving] });
  const nothing = { workloads: [], nemeses: [], isArchiving: false, sampleCount: 0, seed: 1 };
  const choose = (choice: Partial<RepeatChoice>) =>
    chooseRuns(experiments, { ...nothing, ...choice });
  t.same(choose({}), []);
  t.equal(choose({ workloads: ['register'] }).length, 6);
  t.equal(choose({ nemeses: ['pause'] }).length, 6);
  t.same(choose({ isArchiving: true }), experiments.slice(-1));
  const drawn = choose({ workloads: ['bank'], sampleCount: 3 });
  t.equal(drawn.length, 5, 'the sample is of the others');
  t.same(choose({ workloads: ['bank'], sampleCount: 3 }), drawn, 'the seed draws the same');
  t.notSame(choose({ workloads: ['bank'], sampleCount: 3, seed: 2 }), drawn);
  t.same(choose({ sampleCount: 100 }), experiments);
});

t.test('a name that nobody knows is refused with those that are known', async (t) => {
  const [experiment] = experimentsOf(SUITE) as [Experiment];
  checkNames(experiment, REGISTRY);
  t.throws(() => checkNames({ ...experiment, workload: 'nothing' }, REGISTRY), /there are: .*set/);
  t.throws(() => checkNames({ ...experiment, nemeses: ['rain'] }, REGISTRY), /there are: .*kill/);
});

t.test('the suites of the project name only what there is', async (t) => {
  const directory = new URL('../../suites/', import.meta.url);
  for (const name of readdirSync(directory)) {
    const suite = parseSuite(readFileSync(new URL(name, directory), 'utf8'));
    t.equal(`${suite.name}.json`, name);
    for (const experiment of experimentsOf(suite)) checkNames(experiment, REGISTRY);
  }
});

t.test('a log that was torn goes on, and the newest verdict of a run counts', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-suite-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'log.jsonl');
  const [first, second] = experimentsOf(SUITE) as [Experiment, Experiment];
  appendSuiteLine(path, lineOf(first, 'invalid'));
  appendSuiteLine(path, lineOf(first, 'valid'));
  writeFileSync(path, `${readFileSync(path, 'utf8')}{"key":"torn`);
  t.equal(readSuiteLog(path).length, 2);
  const lines = [...readSuiteLog(path), lineOf(second, 'unknown')];
  const counts = countSuite(experimentsOf(SUITE), lines);
  t.same(counts, { total: 12, valid: 1, invalid: 0, unknown: 1, failed: 0, missing: 10 });
  const report = reportSuite(SUITE, experimentsOf(SUITE), lines);
  t.match(report, /12 runs on 5 nodes, 2 workloads, 2 kinds of/);
  t.match(report, /Verdicts before a repetition:\n\n- register\|kill/);
});
