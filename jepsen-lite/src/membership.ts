/**
 * `npm run demo:membership [-- --pause-seconds 2]`: every change of the membership under load, on
 * real processes. Exit code 0: no operation failed, nothing acknowledged was lost, all members hold
 * the same state; 1: something of that does not hold.
 */
import { parseArgs } from 'node:util';
import { ProcessCluster } from './cluster/process-cluster.ts';
import { type MembershipStep, runMembership } from './scenario/membership.ts';

const { values } = parseArgs({
  options: { 'pause-seconds': { type: 'string', default: '2' } },
});
const print = (line: string): void => void process.stdout.write(`${line}\n`);

const WIDTHS = [28, 10, 8, 8, 15, 7] as const;
const row = (cells: readonly string[]): string =>
  cells.map((cell, i) => (i === 0 ? cell.padEnd(WIDTHS[0]) : cell.padStart(WIDTHS[i]!))).join(' ');
const milliseconds = (ms: number): string => `${Math.round(ms)} ms`;

function printStep({
  name,
  tookMs,
  acknowledgedCount,
  readCount,
  writeGapMs,
  failures,
}: MembershipStep) {
  const counts = [String(acknowledgedCount), String(readCount)];
  const took = milliseconds(tookMs);
  print(row([name, took, ...counts, milliseconds(writeGapMs), String(failures.length)]));
  for (const { what, code, message } of failures.slice(0, 3))
    print(`  ${what}: ${code}: ${message}`);
}

const cluster = await ProcessCluster.launch({ name: 'membership' });
try {
  print(row(['STEP', 'TOOK', 'WRITES', 'READS', 'LONGEST GAP', 'FAILED']));
  const pauseMs = 1_000 * Number(values['pause-seconds']);
  const report = await runMembership({ cluster, pauseMs, onStep: printStep });
  const { acknowledgedCount, failureCount, lostIds, staleReads, memberNames, digest } = report;
  print('');
  print(`${acknowledgedCount} writes acknowledged, ${lostIds.length} lost`);
  print(`${failureCount} operations failed beyond retries, ${staleReads.length} stale reads`);
  print(`members ${memberNames.join(', ')}; digest ${digest} on each of them`);
  for (const id of lostIds.slice(0, 20)) print(`lost: ${id}`);
  for (const stale of staleReads.slice(0, 20)) print(`stale: ${stale}`);
  const isGood = lostIds.length === 0 && failureCount === 0 && staleReads.length === 0;
  process.exitCode = isGood ? 0 : 1;
} catch (thrown) {
  print(cluster.describeLogs());
  throw thrown;
} finally {
  await cluster.stop();
}
