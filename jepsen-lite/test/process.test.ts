// The promises on real processes: three nodes on loopback, killed without warning. Short versions
// of what the scripts and `npm run jepsen` do for longer.
import t from 'tap';
import { judgeAgreement } from '../src/checker/replica-agreement.ts';
import { digestsAtOneIndex } from '../src/cluster/agreement.ts';
import { ProcessCluster } from '../src/cluster/process-cluster.ts';
import { finishedOperations } from '../src/history.ts';
import { processNemesis } from '../src/nemesis/process.ts';
import { run } from '../src/runner.ts';
import { runExactlyOnce } from '../src/scenario/exactly-once.ts';
import { runKillAll } from '../src/scenario/kill-all.ts';
import { registerWorkload } from '../src/workload/register.ts';
import { setWorkload } from '../src/workload/set.ts';

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

t.test(
  'nothing is lost and reads stay linearizable while leaders are stranded and killed',
  async (t) => {
    const cluster = await ProcessCluster.launch({ name: 'test-leader-kill' });
    t.teardown(() => cluster.stop());
    const options = { seed, nodeCount: 3 };
    for (const workload of [setWorkload(options), registerWorkload(options)]) {
      const report = await run({
        cluster,
        workload,
        nemeses: [processNemesis([workload.name === 'set' ? 'strand-leader' : 'kill-leader'])],
        seed,
        durationMs: 4_500,
        faultIntervalMs: 1_200,
        log: (line) => t.comment(line),
      });
      t.ok(report.installedFaultCount > 0, 'at least one leader was killed');
      const answered = finishedOperations(report.events).filter((one) => one.outcome === 'ok');
      t.ok(answered.length > 0, `${workload.name}: ${answered.length} operations answered`);
      for (const [name, verdict] of Object.entries(report.verdicts)) {
        const whole = JSON.stringify(verdict);
        t.match(verdict, { kind: 'valid' }, `${workload.name}: ${name}: ${whole}`);
      }
    }
    const digests = await digestsAtOneIndex(cluster);
    t.equal(digests.length, 3);
    t.match(judgeAgreement(digests), { kind: 'valid' }, 'equal digests at an equal index');
  },
);

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
