/**
 * `node jepsen-lite/dist/src/report/cli.js [directory of runs]`: makes the pages of all runs anew,
 * also of those whose harness died. Default: jepsen-lite/store. Exit code 1: one could not be read.
 */
import { fileURLToPath } from 'node:url';
import { listRuns } from '../store/run-reader.ts';
import { writeIndex, writeTimeline } from './write-reports.ts';

const storeDirectory = process.argv[2] ?? fileURLToPath(new URL('../../../store', import.meta.url));
for (const run of listRuns(storeDirectory)) {
  if (run.kind === 'unreadable') {
    process.stderr.write(`${run.name}: ${run.reason}\n`);
    process.exitCode = 1;
    continue;
  }
  process.stdout.write(`${await writeTimeline(storeDirectory, run.name)}\n`);
}
process.stdout.write(`${await writeIndex(storeDirectory)}\n`);
