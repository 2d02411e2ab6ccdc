/**
 * `npm run bench [-- name...] [--quick]`: runs the benchmarks one after the other on clusters of
 * real processes, prints a table for people and JSON for machines, and keeps the JSON.
 *
 * A missed target is printed, not hidden; exit code 1 is for a benchmark that could not run.
 */
import { fileURLToPath } from 'node:url';
import { readEnvironment } from './environment.ts';
import { type BenchOptions, parseOptions } from './options.ts';
import { renderTable, writeReport } from './report.ts';
import type { Bench, BenchResult } from './result.ts';
import { archiveBench } from './suites/archive.ts';
import { backupBench } from './suites/backup.ts';
import { catchUpBench } from './suites/catch-up.ts';
import { enginesBench } from './suites/engines.ts';
import { failoverBench } from './suites/failover.ts';
import { failpointsBench } from './suites/failpoints.ts';
import { falseElectionsBench } from './suites/false-elections.ts';
import { filteredBench } from './suites/filtered.ts';
import { graphsBench } from './suites/graphs.ts';
import { ingestBench } from './suites/ingest.ts';
import { kernelBench } from './suites/kernel.ts';
import { memoryBench } from './suites/memory.ts';
import { raftBench } from './suites/raft.ts';
import { recallBench } from './suites/recall.ts';
import { restartBench } from './suites/restart.ts';
import { scrubBench } from './suites/scrub.ts';
import { sealingBench } from './suites/sealing.ts';
import { search768Bench, searchBench } from './suites/search.ts';
import { sinksBench } from './suites/sinks.ts';
import { storageBench } from './suites/storage.ts';
import { writesBench } from './suites/writes.ts';

const BENCHES: readonly Bench[] = [
  writesBench,
  ingestBench,
  searchBench,
  search768Bench,
  kernelBench,
  enginesBench,
  graphsBench,
  failoverBench,
  falseElectionsBench,
  catchUpBench,
  memoryBench,
  recallBench,
  filteredBench,
  raftBench,
  storageBench,
  restartBench,
  scrubBench,
  failpointsBench,
  backupBench,
  archiveBench,
  sinksBench,
  sealingBench,
];
const RESULTS_DIRECTORY = fileURLToPath(new URL('../../results', import.meta.url));
const EXIT_USAGE = 2;

/** Progress goes to stderr: stdout holds the table and the JSON only. */
const log = (line: string): void => void process.stderr.write(`${line}\n`);

async function runBenches(
  benches: readonly Bench[],
  { isQuick, sizes }: BenchOptions,
): Promise<number> {
  const results: BenchResult[] = [];
  let exitCode = 0;
  for (const bench of benches) {
    log(`== ${bench.name}: ${bench.description}`);
    const startMs = performance.now();
    try {
      const outcome = await bench.run({ isQuick, sizes, log });
      results.push({ name: bench.name, durationMs: performance.now() - startMs, ...outcome });
    } catch (thrown) {
      exitCode = 1;
      log(`benchmark ${bench.name} could not run`);
      for (let cause = thrown; cause instanceof Error; cause = cause.cause) {
        log(cause.stack ?? cause.message);
      }
    }
  }
  const report = { environment: readEnvironment(new Date()), isQuick, results };
  process.stdout.write(`${renderTable(results)}\n\n${JSON.stringify(withoutRaw(report))}\n`);
  // A quick run checks that everything works; its figures must not pass for results.
  if (!isQuick) log(`raw samples: ${writeReport(RESULTS_DIRECTORY, report)}`);
  return exitCode;
}

const withoutRaw = (report: { results: readonly BenchResult[] }) => ({
  ...report,
  results: report.results.map(({ raw: _raw, ...result }) => result),
});

const options = parseOptions(
  process.argv.slice(2),
  BENCHES.map((bench) => bench.name),
);
if (!options.ok) {
  log(options.error);
  process.exitCode = EXIT_USAGE;
} else if (options.value.isHelpWanted) {
  log('npm run bench [-- NAME...] [--quick] [--kills N] [--minutes N] [--entries N] [--rows N]');
  for (const bench of BENCHES) log(`  ${bench.name.padEnd(17)}${bench.description}`);
} else {
  const { names } = options.value;
  const chosen = BENCHES.filter((bench) =>
    names.length === 0 ? bench.isOnRequest !== true : names.includes(bench.name),
  );
  process.exitCode = await runBenches(chosen, options.value);
}
