/**
 * Goal: a failing plan becomes small. Method: a run that "fails" when its plan holds two certain
 * faults, so that the smallest failing plan is known.
 */
import t from 'tap';
import { drawPlan } from '../src/sim/draw-plan.ts';
import type { SimPlan } from '../src/sim/plan.ts';
import type { RunResult } from '../src/sim/run-plan.ts';
import { runPlan } from '../src/sim/run-plan.ts';
import { shrink, signatureOf } from '../src/sim/shrink.ts';

function resultOf(plan: SimPlan, problems: readonly string[]): RunResult {
  return {
    seed: plan.seed,
    problems,
    traceHash: '',
    lastEvents: [],
    simulatedMs: 0,
    counts: {} as RunResult['counts'],
    faults: {},
    rareStates: {},
  };
}

/** A seed whose plan knows both kinds. */
function planWith(first: string, second: string): SimPlan {
  for (let seed = 1; ; seed++) {
    const plan = drawPlan(seed);
    const kinds = plan.faults.map(({ fault }) => fault.kind as string);
    if (kinds.includes(first) && kinds.includes(second) && kinds.length > 40) return plan;
  }
}

t.test('only what the failure needs is left', async (t) => {
  const plan = planWith('kill', 'isolate');
  const isFailing = ({ faults }: SimPlan): boolean =>
    ['kill', 'isolate'].every((kind) => faults.some(({ fault }) => fault.kind === kind));
  const run = async (candidate: SimPlan): Promise<RunResult> =>
    resultOf(candidate, isFailing(candidate) ? ['lost 12 writes of n1'] : []);
  const steps: number[] = [];
  const shrunk = await shrink(plan, await run(plan), {
    run,
    runCountMax: 1_000,
    onStep: ({ runCount }) => steps.push(runCount),
  });
  t.strictSame(shrunk.plan.faults.map(({ fault }) => fault.kind).sort(), ['isolate', 'kill']);
  t.equal(shrunk.plan.clientCount, 1);
  t.ok(shrunk.plan.durationMs < plan.durationMs);
  t.ok(steps.length > 0 && shrunk.runCount < 200, `${shrunk.runCount} runs`);
});

t.test('a plan that fails in another way does not count', async (t) => {
  const plan = planWith('kill', 'pause');
  const run = async (candidate: SimPlan): Promise<RunResult> => {
    const isWhole = candidate.faults.length === plan.faults.length;
    return resultOf(candidate, [isWhole ? 'lost a write' : 'a term was led twice']);
  };
  const shrunk = await shrink(plan, await run(plan), { run, runCountMax: 500, onStep: () => {} });
  t.equal(shrunk.plan.faults.length, plan.faults.length);
});

t.test('two failures are the same when only numbers and nodes differ', (t) => {
  const signature = (problem: string): string =>
    signatureOf(resultOf(drawPlan(1), [problem, 'another']));
  t.equal(signature('n1 lost 3 entries {"id":"n1"}'), signature('n2 lost 14 entries {"id":"n2"}'));
  t.not(signature('n1 lost 3 entries'), signature('n1 lost 3 votes'));
  t.end();
});

t.test('the number of runs is bounded', async (t) => {
  const plan = planWith('kill', 'isolate');
  let runCount = 0;
  const run = async (candidate: SimPlan): Promise<RunResult> => {
    runCount += 1;
    return resultOf(candidate, ['always']);
  };
  await shrink(plan, resultOf(plan, ['always']), { run, runCountMax: 7, onStep: () => {} });
  t.equal(runCount, 7);
});

t.test('a plan without any fault runs clean', async (t) => {
  const result = await runPlan({ ...drawPlan(2, 1_000), faults: [] });
  t.strictSame(result.problems, []);
});
