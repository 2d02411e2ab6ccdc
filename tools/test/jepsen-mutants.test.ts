// The bugs planted for jepsen-lite fit the code as it is compiled now, their killers exist, and
// what a run says is read right. Whether each is caught is for `npm run jepsen:mutants`: that takes
// a good part of an hour.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import {
  type ClusterKiller,
  describeKiller,
  type HarnessMutant,
  judge,
  killerAt,
} from '../src/mutants/harness-killers.ts';
import { HARNESS_MUTANTS } from '../src/mutants/harness-mutants.ts';
import { harnessClosingLine, harnessReport } from '../src/mutants/harness-report.ts';
import { applyMutant } from '../src/mutants/mutant.ts';
import { type KillerRun, runKiller } from '../src/mutants/run-killer.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const MUTANT_COUNT_MIN = 24;
const ON_PROCESSES_COUNT_MIN = 14;

const CLUSTER: ClusterKiller = {
  ...{ kind: 'cluster', workload: 'set', nemesis: 'kill-all', nodeCount: 3 },
  ...{ seconds: 12, intervalSeconds: 2, seed: 5 },
};
const SIMULATOR = { kind: 'simulator', firstSeed: 1, seedCount: 20 } as const;

const run = (exitCode: number, output: string): KillerRun => ({
  outcome: exitCode === 0 ? 'passed' : 'failed',
  ...{ exitCode, output, seconds: 1, detail: '', seed: null },
});

t.test('every planted bug fits the compiled text exactly once and changes it', async (t) => {
  t.ok(HARNESS_MUTANTS.length >= MUTANT_COUNT_MIN, `${HARNESS_MUTANTS.length} mutants`);
  t.equal(new Set(HARNESS_MUTANTS.map(({ id }) => id)).size, HARNESS_MUTANTS.length, 'unique ids');
  for (const mutant of HARNESS_MUTANTS) {
    const mutated = applyMutant(mutant, readFileSync(join(ROOT, mutant.file), 'utf8'));
    t.ok(mutated !== null, `${mutant.id} fits ${mutant.file}`);
    t.not(mutant.find, mutant.replace, `${mutant.id} changes something`);
    t.match(mutant.file, /^packages\//, `${mutant.id} is in the product`);
  }
});

t.test('a planted bug changes behaviour only: no throw, assertion or log line', async (t) => {
  for (const { id, find, replace } of HARNESS_MUTANTS)
    for (const word of ['throw', 'assert', 'console', 'logger', 'process'])
      t.ok(replace.split(word).length <= find.split(word).length, `${id} adds no ${word}`);
});

t.test('planted bugs are for every workload there is, and their killers exist', async (t) => {
  const list = { file: 'jepsen-lite/dist/src/cli.js', arguments: ['--list'], isSeeded: false };
  const { output } = await runKiller(list, ROOT, 600);
  const namesOf = (what: string): readonly string[] =>
    new RegExp(`^${what}: (.*)$`, 'm').exec(output)?.[1]?.split(', ') ?? [];
  const killers = HARNESS_MUTANTS.flatMap(({ killer }) =>
    killer.kind === 'cluster' ? [killer] : [],
  );
  t.ok(killers.length >= ON_PROCESSES_COUNT_MIN, `${killers.length} on real processes`);
  const workloads = new Set(killers.map(({ workload }) => workload));
  t.strictSame([...workloads].sort(), [...namesOf('workloads')].sort());
  const nemeses = new Set(['none', ...namesOf('nemeses')]);
  for (const { nemesis } of killers)
    for (const name of nemesis.split(',')) t.ok(nemeses.has(name), name);
});

t.test(
  'an experiment is tried again with the next seed, seeds of the simulator are not',
  async (t) => {
    t.strictSame(killerAt(CLUSTER, 2, 'out').arguments, [
      ...['--workload', 'set', '--nemesis', 'kill-all', '--nodes', '3', '--seconds', '12'],
      ...['--interval-seconds', '2', '--seed', '7', '--store', 'out', '--coverage', 'shown'],
    ]);
    t.strictSame(killerAt(SIMULATOR, 2, 'out').arguments, [
      ...['--seeds', '20', '--first-seed', '1', '--jobs', '2'],
    ]);
    t.equal(describeKiller(CLUSTER), 'set x kill-all');
  },
);

t.test('only a checker that says invalid has caught a bug', async (t) => {
  const verdicts = [
    'ok 812, fail 3, info 9',
    'set                invalid  2 elements: 2 x lost',
    'replica-agreement  valid    {"comparedIndexCount":1,"nodeCountMax":3}',
    'invalid: store/x/timeline.html',
  ].join('\n');
  t.strictSame(judge(CLUSTER, run(1, verdicts), 1), {
    ...{ kind: 'caught', checker: 'set', reason: '2 elements: 2 x lost', seed: 6 },
  });
  const stopped = verdicts.replace(/^set .*$/m, 'node-logs  invalid  1 problem: n1 assertion');
  t.match(judge(CLUSTER, run(1, stopped), 0), { kind: 'missed', reason: /node-logs invalid/ });
  t.match(judge(CLUSTER, run(0, 'valid: x'), 0), { kind: 'missed', isValid: true });
  const unknown = 'set  unknown  no read of the set succeeded\nunknown: x';
  t.match(judge(CLUSTER, run(3, unknown), 0), {
    kind: 'missed',
    isValid: false,
    reason: /no read/,
  });
  // Broken, whatever it printed before.
  t.match(judge(CLUSTER, run(4, verdicts), 0), { kind: 'missed', isValid: false });
  t.match(judge(CLUSTER, run(1, 'Error: a bug of the harness'), 0), { kind: 'missed' });
  const late = { ...run(1, verdicts), outcome: 'hung', detail: 'longer than 300 s' } as const;
  t.match(judge(CLUSTER, late, 0), { kind: 'missed', reason: /longer/ });
});

t.test('a simulated node that stops by itself is no catch, a broken invariant is', async (t) => {
  const stopped = [
    'seed 3 FAILED at commit abc',
    '  n2 stopped by itself: two leaders in one term',
    '  last events:',
    '    n1 something',
    '  replay: npm run sim -- --seed 3',
    '',
  ].join('\n');
  t.match(judge(SIMULATOR, run(1, stopped), 0), { kind: 'missed', reason: /n2 stopped by itself/ });
  const broken = stopped
    .replace('seed 3', 'seed 4')
    .replace(
      'n2 stopped by itself: two leaders in one term',
      'not linearizable: key 1 {"index":1}',
    );
  t.strictSame(judge(SIMULATOR, run(1, `${stopped}\n${broken}`), 0), {
    ...{ kind: 'caught', checker: 'simulator', reason: 'not linearizable: key 1', seed: 4 },
  });
  t.match(judge(SIMULATOR, run(3, 'not reached: x'), 0), { kind: 'missed', isValid: false });
});

t.test(
  'the report says workload, nemesis, checker, tries and seconds, and who is alive',
  async (t) => {
    const base = { bug: 'b', breaks: 'p', file: 'packages/node/dist/src/x.js' };
    const change = { find: 'x', replace: 'y' };
    const mutants: readonly HarnessMutant[] = [
      { id: 'caught-one', ...base, ...change, killer: CLUSTER },
      { id: 'alive-one', ...base, ...change, killer: SIMULATOR },
    ];
    const findings = [
      {
        ...{ id: 'caught-one', killer: 'set x kill-all', detail: 'set: 1 x lost', seed: 6 },
        ...{ seconds: 51.4, triedCount: 1 },
      },
      {
        ...{ id: 'alive-one', killer: null, detail: 'everything was valid', seed: null },
        ...{ seconds: 68.6, triedCount: 1 },
      },
    ];
    const report = harnessReport(mutants, findings, {
      ...{ commit: 'abc', date: '2026-11-22', processorCount: 2 },
    });
    t.match(
      report,
      '| caught-one | b: p | node/x.js | set x kill-all, 3 nodes, 12 s | set: 1 x lost (seed 6) | 2 | 51 |',
    );
    t.match(report, '| **survives**: everything was valid | 1 | 69 |');
    t.equal(
      harnessClosingLine(mutants, findings),
      '1 of 2 mutants caught, 1 on real processes and 0 in simulation, in 2.0 minutes ' +
        'without baselines; alive: alive-one',
    );
  },
);
