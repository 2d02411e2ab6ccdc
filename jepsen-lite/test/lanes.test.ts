// Lanes of real processes that die, hang and leak, under checked load. A short version of what
// `npm run demo:lanes` does with every fault.
import t from 'tap';
import { ProcessCluster } from '../src/cluster/process-cluster.ts';
import { faultyServerEntryPath } from '../src/cluster/server-command.ts';
import { LANE_SETTINGS, runLanes } from '../src/scenario/lanes.ts';

// Real processes take as long as the machine lets them: no time limit of the test runner.
t.setTimeout(0);

t.test(
  'lanes of three processes die, hang and leak, come back in time, and no answer is wrong',
  async (t) => {
    const cluster = await ProcessCluster.launch({
      ...{ name: 'test-lanes', settings: LANE_SETTINGS, serverEntry: faultyServerEntryPath() },
    });
    t.teardown(() => cluster.stop());
    const report = await runLanes({
      cluster,
      steps: [
        { fault: 'exit', victim: 'follower' },
        { fault: 'hang', victim: 'leader' },
        { fault: 'leak', victim: 'leader' },
      ],
      log: (line) => t.comment(line),
    });
    t.equal(report.outcomes.length, 3);
    for (const { fault, targetMs, tookMs } of report.outcomes)
      t.ok(tookMs <= targetMs, `${fault}: ${Math.round(tookMs)} ms of ${targetMs}`);
    t.same(report.wrongAnswers, []);
    t.same(report.lostIds, [], `${report.acknowledgedCount} writes acknowledged`);
    t.same(report.failures, [], 'no operation failed beyond retries');
    t.ok(report.searchCount > 0);
  },
);
