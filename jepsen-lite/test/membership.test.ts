// Members come and go, and leaders stand still, on real processes under load. Short versions of
// `npm run demo:membership` and of `node jepsen-lite/dist/src/pause-leader.js`.
import t from 'tap';
import { ProcessCluster } from '../src/cluster/process-cluster.ts';
import { runMembership } from '../src/scenario/membership.ts';
import { runPauseLeader } from '../src/scenario/pause-leader.ts';

// Real processes take as long as the machine lets them: no time limit of the test runner.
t.setTimeout(0);

t.test('members join, lead, leave, come back and are replaced under load', async (t) => {
  const cluster = await ProcessCluster.launch({ name: 'test-membership' });
  t.teardown(() => cluster.stop());
  const report = await runMembership({
    cluster,
    pauseMs: 300,
    workerCount: 4,
    onStep: ({ name, tookMs, writeGapMs }) =>
      t.comment(`${name}: ${Math.round(tookMs)} ms, gap ${Math.round(writeGapMs)} ms`),
  });
  t.ok(report.acknowledgedCount > 0, `${report.acknowledgedCount} writes acknowledged`);
  t.same(report.lostIds, [], 'nothing acknowledged is lost');
  t.same(report.staleReads, [], 'every read saw what was acknowledged before it');
  const failures = report.steps.flatMap((step) => step.failures);
  t.same(failures, [], 'no operation failed beyond the retries of the client');
  t.equal(report.memberNames.length, 3);
  t.equal(report.removedNames.length, 2);
  const isLeft = (name: string): boolean => report.memberNames.includes(name);
  t.notOk(report.removedNames.some(isLeft), 'who left is gone');
});

t.test('a leader that stood still answers nothing stale when it goes on', async (t) => {
  const cluster = await ProcessCluster.launch({ name: 'test-pause-leader' });
  t.teardown(() => cluster.stop());
  const report = await runPauseLeader({
    cluster,
    pauseMs: 3_000,
    hasLeases: true,
    log: (line) => t.comment(line),
  });
  t.comment(`write gap ${Math.round(report.writeGapMs)} ms`);
  t.ok(report.answeredCount > 0, `${report.answeredCount} answers of the paused node`);
  t.same(report.staleReads, [], 'none of them stale');
  t.same(report.lostIds, [], 'nothing acknowledged is lost');
  t.equal(report.failureCount, 0, 'no operation failed beyond the retries of the client');
  t.not(report.successor, report.paused);
  t.equal(report.roleAfterwards, 'follower');
});
