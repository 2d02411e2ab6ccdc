/**
 * `node jepsen-lite/dist/src/lanes.js`: threads of lanes die, hang and leak on the leader and on a
 * follower of three real processes under checked load. Exit code 0: each came back by itself within
 * its target, no answer was wrong, nothing acknowledged is lost, no operation failed.
 */
import { ProcessCluster } from './cluster/process-cluster.ts';
import { faultyServerEntryPath } from './cluster/server-command.ts';
import { LANE_FAULTS, LANE_SETTINGS, runLanes } from './scenario/lanes.ts';

const print = (line: string): void => void process.stdout.write(`${line}\n`);

const cluster = await ProcessCluster.launch({
  ...{ name: 'lanes', settings: LANE_SETTINGS, serverEntry: faultyServerEntryPath() },
});
try {
  const steps = LANE_FAULTS.flatMap((fault) => [
    { fault, victim: 'leader' as const },
    { fault, victim: 'follower' as const },
  ]);
  const report = await runLanes({ cluster, steps, log: print });
  const { acknowledgedCount, failures, lostIds, outcomes, searchCount, wrongAnswers } = report;
  const late = outcomes.filter(({ targetMs, tookMs }) => tookMs > targetMs);
  print(`${outcomes.length} lanes came back by themselves, ${late.length} later than their target`);
  print(`${acknowledgedCount} writes acknowledged, ${lostIds.length} lost`);
  print(`${searchCount} searches, ${wrongAnswers.length} wrong answers`);
  print(`${failures.length} operations failed beyond retries`);
  for (const line of [...wrongAnswers, ...failures].slice(0, 20)) print(line);
  const isSafe = lostIds.length === 0 && wrongAnswers.length === 0;
  process.exitCode = isSafe && late.length === 0 && failures.length === 0 ? 0 : 1;
} catch (thrown) {
  print(cluster.describeLogs());
  throw thrown;
} finally {
  await cluster.stop();
}
