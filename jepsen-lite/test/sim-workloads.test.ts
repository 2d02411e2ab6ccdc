/**
 * Goal: the simulator is a cluster like any other. Every workload plays in it under faults of all
 * kinds and is judged by its own checker, and a seed is all that a failure needs.
 * HOLDFAST_SEED=7 runs one seed of each.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { worstOf } from '../src/checker/verdict.ts';
import { History, type HistoryEvent } from '../src/history.ts';
import { FaultStory, forceMsOf } from '../src/sim/fault-story.ts';
import { judgeWorkloadCoverage } from '../src/sim/workload-coverage.ts';
import { workloadPlan } from '../src/sim/workload-plan.ts';
import { runWorkload } from '../src/sim/workload-run.ts';
import { lineOf } from '../src/store/history-lines.ts';
import { checkNames, EXPERIMENT_DEFAULTS } from '../src/suite/experiment.ts';
import { REGISTRY } from '../src/suite/registry.ts';
import { experimentsOf } from '../src/suite/suite.ts';
import { WORKLOAD_NAMES, WORKLOADS, type WorkloadName } from '../src/workload/catalogue.ts';
import type { NodeAsker } from '../src/workload/workload.ts';

const NODE_COUNT = 3;
const WORKER_COUNT = 8;
const DURATION_MS = 8_000;
/** A sixth of what real clusters are offered: the time is for faults, not for load. */
const RATE_PER_SECOND = 40;
const given = process.env.HOLDFAST_SEED;
const SEEDS = given === undefined ? [1] : [Number(given)];

// A slow machine is no failure.
t.setTimeout(0);

interface Play {
  readonly name: WorkloadName;
  readonly seed: number;
  readonly durationMs: number;
  readonly hasFaults?: boolean;
  readonly ratePerSecond?: number;
  readonly throughAsker?: (asker: NodeAsker) => NodeAsker;
}

function play({ durationMs, hasFaults = true, name, ratePerSecond, seed, throughAsker }: Play) {
  return runWorkload({
    workload: WORKLOADS[name]({
      ...{ seed, nodeCount: NODE_COUNT },
      ...(ratePerSecond === undefined ? {} : { ratePerSecond }),
    }),
    plan: workloadPlan({ seed, nodeCount: NODE_COUNT, durationMs, hasFaults }),
    workerCount: WORKER_COUNT,
    ...(throughAsker === undefined ? {} : { throughAsker }),
  });
}

const acknowledgedCount = (events: readonly HistoryEvent[]): number =>
  events.filter((event) => event.kind === 'operation' && event.phase === 'ok').length;

const harmsOf = (events: readonly HistoryEvent[]) =>
  events.flatMap((event) =>
    event.kind === 'fault' && !event.isHealing && event.outcome !== 'skipped' ? [event] : [],
  );

for (const name of WORKLOAD_NAMES) {
  t.test(`${name} holds in the simulator under faults of every kind`, async (t) => {
    for (const seed of SEEDS) {
      const again = `npm run jepsen -- --cluster sim --workload ${name} --seed ${seed}`;
      const report = await play({
        ...{ name, seed, durationMs: DURATION_MS, ratePerSecond: RATE_PER_SECOND },
      });
      const { events, verdicts } = report;
      for (const [checker, verdict] of Object.entries(verdicts)) {
        const why = JSON.stringify(verdict).slice(0, 1_000);
        t.equal(verdict.kind, 'valid', `${checker} of seed ${seed}: ${why}; like ${again}`);
      }
      t.ok(harmsOf(events).length > 0, `faults struck with seed ${seed}`);
      t.ok(acknowledgedCount(events) > 100, `clients got something done with seed ${seed}`);
    }
  });
}

t.test('a seed gives the same history byte for byte, also in another process', async (t) => {
  const store = mkdtempSync(join(tmpdir(), 'holdfast-sim-workload-'));
  t.teardown(() => rmSync(store, { recursive: true }));
  const cli = fileURLToPath(new URL('../src/cli.js', import.meta.url));
  const words = '--cluster sim --workload set --seed 5 --nodes 3 --workers 8 --seconds 2';
  const args = [cli, ...words.split(' '), '--coverage', 'shown', '--store', store];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  t.match(stdout, /--nemesis plan .*--cluster sim --coverage shown\n/, 'says how to do it again');
  t.match(stdout, /valid: .*timeline\.html\n$/);
  const [directory = ''] = readdirSync(store).filter((one) => one.includes('-set-plan-5'));
  const text = readFileSync(join(store, directory, 'history.jsonl'), 'utf8');
  const here = await play({ name: 'set', seed: 5, durationMs: 2_000 });
  t.equal(here.events.map(lineOf).join(''), text);
  const other = await play({ name: 'set', seed: 6, durationMs: 2_000 });
  t.not(other.events.map(lineOf).join(''), text, 'another seed, another history');
  t.ok(readdirSync(join(store, directory)).includes('timeline.html'));
  t.match(readFileSync(join(store, directory, 'logs', 'simulator.log'), 'utf8'), here.traceHash);
});

/** A node that now and then answers a read with what it answered to the same read long before. */
function forgetful(asker: NodeAsker): NodeAsker {
  const answers = new Map<string, unknown>();
  let askCount = 0;
  return {
    close: () => asker.close(),
    ask: async (kind, fields) => {
      const answer = await asker.ask(kind, fields);
      if (kind !== 'get') return answer;
      const question = JSON.stringify(fields);
      const old = answers.get(question);
      askCount += 1;
      if (old !== undefined && askCount % 3 === 0) return old as typeof answer;
      if (old === undefined) answers.set(question, answer);
      return answer;
    },
  };
}

t.test('an old answer of a node is found out', async (t) => {
  const lie = { name: 'register', seed: 1, durationMs: 3_000, hasFaults: false } as const;
  const honest = await play(lie);
  t.equal(worstOf(Object.values(honest.verdicts)).kind, 'valid');
  t.same(harmsOf(honest.events), [], 'nothing is broken in a calm run');
  const { verdicts } = await play({ ...lie, throughAsker: forgetful });
  t.equal(verdicts.register?.kind, 'invalid');
  t.equal(verdicts.simulator?.kind, 'valid', 'the cluster itself kept its promises');
});

t.test('a harness that breaks is an exception, not a verdict', async (t) => {
  const throughAsker = (asker: NodeAsker): NodeAsker => ({
    close: () => asker.close(),
    ask: () => Promise.reject(new Error('this is no answer of a node')),
  });
  const broken = { name: 'register', seed: 1, durationMs: 1_000, throughAsker } as const;
  await t.rejects(play(broken), { message: 'this is no answer of a node' });
});

t.test('the simulator has faults of its own and refuses others by name', async (t) => {
  const experiment = {
    ...{ ...EXPERIMENT_DEFAULTS, workload: 'bank', nemeses: ['plan'], seed: 1 },
    cluster: 'sim' as const,
  };
  checkNames(experiment, REGISTRY);
  checkNames({ ...experiment, nemeses: [] }, REGISTRY);
  const kill = { ...experiment, nemeses: ['kill'] };
  t.throws(() => checkNames(kill, REGISTRY), /'plan' or 'none' there, not 'kill'/);
  t.throws(() => checkNames({ ...experiment, workerCount: 31 }, REGISTRY), /30 workers at most/);
  t.throws(() => checkNames({ ...experiment, prefillRowCount: 9 }, REGISTRY), /no --prefill/);
  const real = { ...experiment, cluster: 'process' as const };
  t.throws(() => checkNames(real, REGISTRY), /unknown nemesis 'plan'/);
  const suite = { name: 'test', seed: 7, nodeCount: 3, seconds: 30, faultIntervalSeconds: 5 };
  const blocks = [{ workloads: ['bank'], nemeses: [['plan'], []], cluster: 'sim' as const }];
  for (const one of experimentsOf({ ...suite, blocks })) checkNames(one, REGISTRY);
});

t.test('a fault is in force until the last of its kind is over', async (t) => {
  const history = new History();
  const timers: { readonly dueMs: number; readonly action: () => void }[] = [];
  let nowMs = 0;
  const story = new FaultStory({
    ...{ history, nowMs: () => nowMs },
    after: (delayMs, action) => timers.push({ dueMs: nowMs + delayMs, action }),
  });
  const passTo = (timeMs: number): void => {
    nowMs = timeMs;
    for (const { action, dueMs } of timers) if (dueMs === timeMs) action();
  };
  const pause = (forMs: number) => ({ kind: 'pause', node: 0, forMs }) as const;
  story.struck({ fault: pause(100), nodes: [], outcome: 'installed' });
  passTo(50);
  story.struck({ fault: pause(100), nodes: [], outcome: 'installed' });
  story.struck({ fault: { kind: 'kill', node: 1, downMs: 5 }, nodes: [], outcome: 'skipped' });
  passTo(100);
  passTo(150);
  story.struck({ fault: pause(100), nodes: [], outcome: 'indeterminate' });
  nowMs = 160;
  story.healed();
  passTo(250);
  const told = history.events.map((event) => {
    if (event.kind !== 'fault') return [];
    const { action, isHealing, outcome, timeMs } = event;
    return [timeMs, action, isHealing, outcome];
  });
  t.same(told, [
    [0, 'pause', false, 'installed'],
    [50, 'pause', false, 'installed'],
    [50, 'kill', false, 'skipped'],
    [150, 'end-pause', true, 'installed'],
    [150, 'pause', false, 'indeterminate'],
    [160, 'end-pause', true, 'installed'],
  ]);
  t.equal(forceMsOf({ kind: 'clientReset', node: 0 }), 0, 'over at once');
});

t.test('a plan in whose faults hardly anything ran shows nothing', async (t) => {
  const { events } = await play({ name: 'set', seed: 1, durationMs: 1_000, ratePerSecond: 60 });
  t.match(judgeWorkloadCoverage(events), { kind: 'unknown', reason: /operations/ });
});
