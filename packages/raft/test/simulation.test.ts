// Goal: whatever order disks, networks, clocks and crashes take, the group stays one history, and
// once healed it goes on. Method: seeded storms under a checker of global invariants.
// Replay one: HOLDFAST_SEED=123 node packages/raft/dist/test/simulation.test.js
import t from 'tap';
import { runChaos } from '../src/testing/chaos.ts';
import { runLeaseStorm } from '../src/testing/lease-storm.ts';

// The work is bounded by its count; a busy machine may take its time.
t.setTimeout(0);

const STEP_COUNT = 3_000;
const SEED_COUNT = 240;
const LEASE_STEP_COUNT = 400;

t.setTimeout(0);

const replayed = process.env.HOLDFAST_SEED;
const seeds =
  replayed === undefined ? Array.from({ length: SEED_COUNT }, (_, i) => i + 1) : [Number(replayed)];

t.test('a group under random faults keeps every invariant and converges when healed', async (t) => {
  const total = { committed: 0, terms: 0, reads: 0, crashes: 0, snapshots: 0, truncations: 0 };
  const more = { leaseReads: 0, transfers: 0, stalls: 0, pauses: 0 };
  for (const seed of seeds) {
    try {
      const result = runChaos({ seed, stepCount: STEP_COUNT });
      total.committed += result.committedIndex;
      total.terms += result.termsLed;
      total.reads += result.readsChecked;
      total.crashes += result.crashCount;
      total.snapshots += result.snapshotCount;
      total.truncations += result.truncationCount;
      more.leaseReads += result.leaseReadsChecked;
      more.transfers += result.transfersCompleted;
      more.stalls += result.diskStallCount;
      more.pauses += result.pauseCount;
    } catch (cause) {
      t.fail(`seed ${seed} broke; replay with HOLDFAST_SEED=${seed}`, { cause });
      throw cause;
    }
  }
  t.comment(JSON.stringify({ ...total, ...more }));
  if (replayed !== undefined) return;
  // The storm must have reached what it is meant to test.
  t.ok(total.committed > 30 * seeds.length, 'entries are committed');
  t.ok(total.terms > 3 * seeds.length, 'leadership changes');
  t.ok(total.reads > seeds.length, 'reads are answered');
  t.ok(total.crashes > 2 * seeds.length, 'replicas crash');
  t.ok(total.snapshots > seeds.length / 4, 'snapshots are sent');
  t.ok(more.leaseReads > seeds.length, 'lease reads are served');
  t.ok(more.transfers > seeds.length / 4, 'leadership is transferred');
  t.ok(more.stalls > seeds.length / 4, 'disks stall');
  t.ok(more.pauses > seeds.length, 'processes are stopped');
  t.ok(total.truncations > seeds.length / 4, 'tails are replaced');
});

t.test('no lease read is ever stale, whatever becomes of its leader', async (t) => {
  const total = { leaseReads: 0, terms: 0, transfers: 0, coups: 0 };
  for (const seed of seeds) {
    try {
      const result = runLeaseStorm(seed, LEASE_STEP_COUNT);
      total.leaseReads += result.leaseReadsChecked;
      total.terms += result.termsLed;
      total.transfers += result.transfersCompleted;
      total.coups += result.coupCount;
    } catch (cause) {
      t.fail(`seed ${seed} broke; replay with HOLDFAST_SEED=${seed}`, { cause });
      throw cause;
    }
  }
  t.comment(JSON.stringify(total));
  if (replayed !== undefined) return;
  t.ok(total.leaseReads > 20 * seeds.length, 'leases are held');
  t.ok(total.terms > 3 * seeds.length, 'leadership changes');
  t.ok(total.transfers > seeds.length / 4, 'leadership is transferred');
  t.ok(total.coups > 5 * seeds.length, 'attempts are made behind the back of leaders');
});
