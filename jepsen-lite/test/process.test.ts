// The promises on real processes: three nodes on loopback, killed without warning. Short versions
// of what the scripts and `npm run jepsen` do for longer.
import t from 'tap';
import { ProcessCluster } from '../src/cluster/process-cluster.ts';
import { runExactlyOnce } from '../src/scenario/exactly-once.ts';
import { runKillAll } from '../src/scenario/kill-all.ts';

// Real processes take as long as the machine lets them: no time limit of the test runner.
t.setTimeout(0);

const seed = Date.now() % 1_000_000;
t.comment(`seed ${seed}`);

t.test('acknowledged points survive kill -9 of all three nodes during an import', async (t) => {
  const cluster = await ProcessCluster.launch({ name: 'test-kill-all' });
  t.teardown(() => cluster.stop());
  const report = await runKillAll({ cluster, roundCount: 2, seed, log: (line) => t.comment(line) });
  t.ok(report.acknowledgedCount > 0, `${report.acknowledgedCount} points acknowledged`);
  t.same(report.lostIds, [], 'nothing acknowledged is lost');
});

t.test('writes whose reply is cut happen exactly once, also when the leader dies', async (t) => {
  const report = await runExactlyOnce({
    writeCount: 128,
    phases: ['plain', 'leader kill'],
    log: (line) => t.comment(line),
  });
  t.equal(report.writeCount, 128);
  t.equal(report.cutCount, 128, 'the first reply of every write was lost');
  t.same(report.violations, []);
});
