/**
 * Goal: a seed is all that a failure needs. The same seed does the same, byte for byte, in another
 * process; another seed does something else; a plan survives being written to a file.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { drawPlan } from '../src/sim/draw-plan.ts';
import type { SimPlan } from '../src/sim/plan.ts';
import { runPlan } from '../src/sim/run-plan.ts';
import { WorkerPool } from '../src/sim/worker-pool.ts';

const DURATION_MS = 2_000;
const cli = fileURLToPath(new URL('../src/sim/cli.js', import.meta.url));
const run = promisify(execFile);

// A slow machine is no failure: no time limit of the test runner.
t.setTimeout(0);

async function hashOf(...args: readonly string[]): Promise<string> {
  const { stdout } = await run(process.execPath, [cli, ...args]);
  return /trace ([0-9a-f]{16})/.exec(stdout)?.[1] ?? stdout;
}

t.test('the same seed leaves the same trace in two processes', async (t) => {
  const seconds = String(DURATION_MS / 1_000);
  const [first, second, other] = await Promise.all([
    hashOf('--seed', '11', '--seconds', seconds),
    hashOf('--seed', '11', '--seconds', seconds),
    hashOf('--seed', '12', '--seconds', seconds),
  ]);
  t.match(first, /^[0-9a-f]{16}$/);
  t.equal(second, first);
  t.not(other, first);
  const here = await runPlan(drawPlan(11, DURATION_MS));
  t.equal(here.traceHash, first, 'and the same in the process of this test');
  const pool = new WorkerPool(1);
  const there = await pool.run(drawPlan(11, DURATION_MS));
  await pool.close();
  t.equal(there.traceHash, first, 'and in a worker process of a suite');
});

t.test('a second run in one process is not touched by the first', async (t) => {
  const plan = drawPlan(13, DURATION_MS);
  const first = await runPlan(plan);
  await runPlan(drawPlan(14, DURATION_MS));
  const again = await runPlan(plan);
  t.equal(again.traceHash, first.traceHash);
  t.strictSame(again.counts, first.counts);
});

t.test('a plan is data: as JSON and back it is the same run', async (t) => {
  const plan = drawPlan(15, DURATION_MS);
  const copy = JSON.parse(JSON.stringify(plan)) as SimPlan;
  t.strictSame(copy, plan);
  t.equal((await runPlan(copy)).traceHash, (await runPlan(plan)).traceHash);
});

t.test('bad usage is refused with what was wrong', async (t) => {
  await t.rejects(run(process.execPath, [cli, '--seeds', 'many']), {
    code: 2,
    stderr: /--seeds must be a positive integer, not 'many'/,
  });
});
