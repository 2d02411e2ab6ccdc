/**
 * `node jepsen-lite/dist/src/pause-leader.js [--seconds 30] [--leases on|off]`: SIGSTOP of the
 * leader under load, SIGCONT after the time. Exit code 0: no stale read, no lost write, no failed
 * operation, and the paused node is a follower; 1: something of that does not hold.
 */
import { parseArgs } from 'node:util';
import { ProcessCluster } from './cluster/process-cluster.ts';
import { runPauseLeader } from './scenario/pause-leader.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '30' },
    leases: { type: 'string', default: 'on' },
  },
});
const print = (line: string): void => void process.stdout.write(`${line}\n`);

const cluster = await ProcessCluster.launch({ name: 'pause-leader' });
try {
  const report = await runPauseLeader({
    cluster,
    pauseMs: 1_000 * Number(values.seconds),
    hasLeases: values.leases === 'on',
    log: print,
  });
  const { paused, roleAfterwards, lostIds, staleReads, failureCount } = report;
  print(`longest write gap ${Math.round(report.writeGapMs)} ms`);
  print(`${report.acknowledgedCount} writes acknowledged, ${lostIds.length} lost`);
  print(`${failureCount} operations failed beyond retries`);
  print(
    `${paused} was asked all the time: ${report.answeredCount} answers, ` +
      `${report.refusedCount} refusals, ${staleReads.length} stale reads`,
  );
  print(`${paused} is ${roleAfterwards} now`);
  for (const stale of staleReads.slice(0, 20)) print(`stale: ${stale}`);
  const isSafe = lostIds.length === 0 && staleReads.length === 0 && failureCount === 0;
  process.exitCode = isSafe && roleAfterwards === 'follower' ? 0 : 1;
} catch (thrown) {
  print(cluster.describeLogs());
  throw thrown;
} finally {
  await cluster.stop();
}
