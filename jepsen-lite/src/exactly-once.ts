/**
 * `node jepsen-lite/dist/src/exactly-once.js [--writes 1000] [--phases plain,snapshot]`:
 * conditional and counter writes whose reply is cut after commit, retried across leader kills,
 * restarts from checkpoints and snapshot installation; exit code 1 if one of them did not happen
 * exactly once.
 */
import { parseArgs } from 'node:util';
import { ALL_PHASES, runExactlyOnce } from './scenario/exactly-once.ts';

const { values } = parseArgs({
  options: {
    writes: { type: 'string', default: '1000' },
    phases: { type: 'string', default: ALL_PHASES.join(',') },
  },
});
const phases = values.phases.split(',');
const print = (line: string): void => void process.stdout.write(`${line}\n`);

const report = await runExactlyOnce({
  writeCount: Number(values.writes),
  phases: ALL_PHASES.filter((phase) => phases.includes(phase)),
  log: print,
});
print(
  `${report.writeCount} writes, ${report.cutCount} first replies cut, ` +
    `${report.violations.length} violations`,
);
for (const violation of report.violations.slice(0, 20)) print(`violation: ${violation}`);
process.exitCode = report.violations.length === 0 ? 0 : 1;
