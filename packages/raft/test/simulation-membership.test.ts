// Goal: while members come, go, change roles and lose their disks, the group stays one history, and
// once healed it goes on with whoever is left. Method: the storms of simulation.test.ts with an
// operator who cannot leave the membership alone.
// Replay one: HOLDFAST_SEED=123 node packages/raft/dist/test/simulation-membership.test.js
import t from 'tap';
import { runChaos } from '../src/testing/chaos.ts';
import { noCounts } from '../src/testing/chaos-membership.ts';

// The work is bounded by its count; a busy machine may take its time.
t.setTimeout(0);

const STEP_COUNT = 4_000;
const SEED_COUNT = 200;

t.setTimeout(0);

const replayed = process.env.HOLDFAST_SEED;
const seeds =
  replayed === undefined ? Array.from({ length: SEED_COUNT }, (_, i) => i + 1) : [Number(replayed)];

t.test('a group whose members change under random faults keeps every invariant', async (t) => {
  const total = { ...noCounts(), committed: 0, confs: 0 };
  for (const seed of seeds) {
    try {
      const result = runChaos({ seed, stepCount: STEP_COUNT, isMembershipOn: true });
      total.committed += result.committedIndex;
      total.confs += result.committedConfCount;
      const { refused, ...counts } = result.membership;
      for (const [name, count] of Object.entries(counts))
        total[name as keyof typeof counts] += count;
      for (const [name, count] of Object.entries(refused))
        total.refused[name as keyof typeof refused] =
          (total.refused[name as keyof typeof refused] ?? 0) + count;
    } catch (cause) {
      t.fail(`seed ${seed} broke; replay with HOLDFAST_SEED=${seed}`, { cause });
      throw cause;
    }
  }
  t.comment(JSON.stringify(total));
  if (replayed !== undefined) return;
  // The storm must have reached what it is meant to test.
  t.ok(total.committed > 30 * seeds.length, 'entries are committed');
  t.ok(total.confs > 3 * seeds.length, 'configurations are committed');
  t.ok(total.joint > seeds.length / 4, 'joint configurations are entered');
  t.ok(total.wiped > seeds.length / 4, 'disks are lost');
  t.ok(total.readmitted > seeds.length / 4, 'wiped nodes come back');
  t.ok(total.reverted > 10, 'configurations are taken back');
  t.ok(total.jointSnapshots > 0, 'snapshots are taken in joint configurations');
  t.ok(total.jointElections > 20, 'leaders change in joint configurations');
  t.ok(total.voicelessElections > 3, 'leaders are elected that have no vote');
  t.ok(total.leadersRemoved > 20, 'leaders are removed');
  t.ok(total.learnersCaughtUp > seeds.length / 2, 'learners catch up');
  t.ok(total.pendingRestarts > 50, 'replicas restart with an uncommitted configuration');
  t.ok((total.refused['conf-pending'] ?? 0) > 100, 'changes wait for each other');
  t.ok((total.refused['would-lose-quorum'] ?? 0) > 20, 'dangerous changes are refused');
});
