/**
 * `npm run drill [-- --store URL --seconds 5 --workers 8 --seed 1]`: all nodes and all disks of a
 * cluster are lost during writes, and it is rebuilt from a store of backups: by default a folder,
 * removed afterwards. Exit code 0: everything acknowledged up to the restored moment is there,
 * nothing else is, and what is lost is younger than a second; 1: something of that does not hold.
 */
import { rmSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { ProcessCluster } from './cluster/process-cluster.ts';
import { makeScratchDirectory } from './cluster/scratch-directory.ts';
import { type DrillReport, RPO_MS_MAX, runDrill } from './drill/drill.ts';

const { values } = parseArgs({
  options: {
    store: { type: 'string' },
    seconds: { type: 'string', default: '5' },
    workers: { type: 'string', default: '8' },
    seed: { type: 'string', default: '1' },
  },
});
const startMs = performance.now();
const print = (line: string): void => void process.stdout.write(`${line}\n`);
const milliseconds = (ms: number): string => `${Math.round(ms)} ms`;
const onProgress = (line: string): void => {
  print(`${((performance.now() - startMs) / 1_000).toFixed(1).padStart(7)} s  ${line}`);
};

const WIDTH = 56;
const row = (name: string, value: string | number): void =>
  print(`${name.padEnd(WIDTH)} ${String(value).padStart(14)}`);

function printReport(report: DrillReport) {
  const { digests, drain, isGood, phases, restoredIndex, rtoMs, verdict } = report;
  print('');
  row(`${drain.nodeName}, which led, out of service in`, milliseconds(drain.stoppedMs));
  row('  until the others were ready and wrote', milliseconds(drain.healthyMs));
  row('  from its start until all were ready', milliseconds(drain.returnedMs));
  row('  digests that were equal then', drain.digests.length);
  row('RTO: from the loss to the first acknowledged write', milliseconds(rtoMs));
  for (const { name, tookMs } of phases) row(`  ${name}`, milliseconds(tookMs));
  row('RPO: acknowledged writes that are lost', verdict.lostCount);
  const most = `must be below ${milliseconds(RPO_MS_MAX)}`;
  row(`  age of the oldest of them (${most})`, milliseconds(verdict.oldestLostAgeMs));
  row('writes acknowledged before the loss', verdict.acknowledgedCount);
  row('restored through index', restoredIndex);
  row('rows', verdict.rowCount);
  row('rows that are wrong, missing or too many', verdict.wrong.length);
  for (const what of verdict.wrong.slice(0, 20)) print(`  ${what}`);
  for (const { appliedIndex, digest, nodeName } of digests) {
    print(`${nodeName}: digest ${digest} at index ${appliedIndex}`);
  }
  print(isGood ? 'GOOD' : 'NOT GOOD');
}

const folder = values.store === undefined ? makeScratchDirectory('drill-store') : null;
const store = values.store ?? pathToFileURL(folder ?? '').href;
try {
  const cluster = await ProcessCluster.launch({ name: 'drill', settings: { backupSinks: store } });
  try {
    const report = await runDrill({
      ...{ cluster, store, onProgress, seed: Number(values.seed) },
      workerCount: Number(values.workers),
      writeMs: 1_000 * Number(values.seconds),
    });
    printReport(report);
    process.exitCode = report.isGood ? 0 : 1;
  } catch (thrown) {
    print(cluster.describeLogs());
    throw thrown;
  } finally {
    await cluster.stop();
  }
} finally {
  if (folder !== null) rmSync(folder, { recursive: true, force: true });
}
