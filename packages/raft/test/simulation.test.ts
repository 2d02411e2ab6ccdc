// Goal: whatever order disks, networks, clocks and crashes take, the group stays one history, and
// once healed it goes on. Method: seeded storms under a checker of global invariants.
// Replay one: HOLDFAST_SEED=123 node packages/raft/dist/test/simulation.test.js
import t from 'tap';
import { runChaos } from '../src/testing/chaos.ts';

const STEP_COUNT = 3_000;
const SEED_COUNT = 240;

const replayed = process.env.HOLDFAST_SEED;
const seeds =
  replayed === undefined ? Array.from({ length: SEED_COUNT }, (_, i) => i + 1) : [Number(replayed)];

t.test('a group under random faults keeps every invariant and converges when healed', async (t) => {
  const total = { committed: 0, terms: 0, reads: 0, crashes: 0, snapshots: 0, truncations: 0 };
  for (const seed of seeds) {
    try {
      const result = runChaos({ seed, stepCount: STEP_COUNT });
      total.committed += result.committedIndex;
      total.terms += result.termsLed;
      total.reads += result.readsChecked;
      total.crashes += result.crashCount;
      total.snapshots += result.snapshotCount;
      total.truncations += result.truncationCount;
    } catch (cause) {
      t.fail(`seed ${seed} broke; replay with HOLDFAST_SEED=${seed}`, { cause });
      throw cause;
    }
  }
  t.comment(JSON.stringify(total));
  if (replayed !== undefined) return;
  // The storm must have reached what it is meant to test.
  t.ok(total.committed > 30 * seeds.length, 'entries are committed');
  t.ok(total.terms > 3 * seeds.length, 'leadership changes');
  t.ok(total.reads > seeds.length, 'reads are answered');
  t.ok(total.crashes > 2 * seeds.length, 'replicas crash');
  t.ok(total.snapshots > seeds.length / 4, 'snapshots are sent');
  t.ok(total.truncations > seeds.length / 4, 'tails are replaced');
});
