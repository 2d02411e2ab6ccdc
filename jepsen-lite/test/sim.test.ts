/**
 * Goal: under every fault the simulator knows, whole nodes keep every promise and heal, and the
 * simulation is worth its time: it reaches the states in which Raft implementations have failed.
 * HOLDFAST_SEED=7 runs one seed; `npm run sim -- --seed 7` shows what happened in it.
 */
import t from 'tap';
import { commitName } from '../src/sim/commit-name.ts';
import { DURATION_MS, FAULT_KINDS } from '../src/sim/draw-plan.ts';
import { RARE_STATE_NAMES, SUITE_SEED_COUNT } from '../src/sim/rare-state-table.ts';
import { describeFailure } from '../src/sim/report.ts';
import { runSeeds } from '../src/sim/run-seeds.ts';

const JOB_COUNT = 2;
const EXPECTED_STATE_COUNT_MIN = 30;

const given = process.env.HOLDFAST_SEED;
const seeds =
  given === undefined ? Array.from({ length: SUITE_SEED_COUNT }, (_, i) => i + 1) : [Number(given)];

// A slow machine is no failure.
t.setTimeout(0);

t.test(`${seeds.length} seeds keep every promise and heal`, async (t) => {
  t.setTimeout(0);
  const range = { seeds, jobCount: JOB_COUNT, durationMs: DURATION_MS };
  const totals = await runSeeds(range, ({ doneCount, seedCount }) => {
    if (doneCount % 10 === 0) t.comment(`${doneCount} of ${seedCount} seeds`);
  });
  const failures = totals.failures.flatMap((failure) => describeFailure(failure, commitName()));
  t.strictSame(failures, []);
  for (const line of totals.tables()) t.comment(line);
  if (given !== undefined) return;
  t.strictSame(totals.unreached(), [], 'every kind of fault and every expected state was reached');
  const reached = RARE_STATE_NAMES.filter((state) => totals.rareStateCount(state) > 0);
  t.ok(reached.length >= EXPECTED_STATE_COUNT_MIN, `${reached.length} rare states`);
  t.ok(FAULT_KINDS.every((kind) => totals.faultCount(kind) > 0));
  t.ok(totals.count('acknowledged') > 10_000, 'clients got a lot done');
  t.ok(totals.count('searchesGivenUp') < totals.count('acknowledged') / 1_000);
  t.ok(totals.simulatedMs >= SUITE_SEED_COUNT * DURATION_MS, 'each at least its time of faults');
});
