/**
 * `npm run drill [-- --store file|s3|URL --seconds 5 --workers 8 --seed 1]`: all nodes and all
 * disks of a cluster are lost during writes, and it is rebuilt from a store of backups: by default
 * a folder, removed afterwards. Exit code 0: everything acknowledged up to the restored moment is
 * there, nothing else is, and what is lost is younger than a second; 1: something of that does not
 * hold.
 */
import { parseArgs } from 'node:util';
import { ProcessCluster } from './cluster/process-cluster.ts';
import { type DrillReport, RPO_MS_MAX, runDrill } from './drill/drill.ts';
import { print, printProgress, printRow, printVerdict } from './drill/proof-output.ts';
import { withProofStore } from './drill/proof-store.ts';

const { values } = parseArgs({
  options: {
    store: { type: 'string', default: 'file' },
    seconds: { type: 'string', default: '5' },
    workers: { type: 'string', default: '8' },
    seed: { type: 'string', default: '1' },
  },
});
const milliseconds = (ms: number): string => `${Math.round(ms)} ms`;
function printReport(report: DrillReport) {
  const { digests, drain, isGood, phases, restoredIndex, rtoMs, verdict } = report;
  print('');
  printRow(`${drain.nodeName}, which led, out of service in`, milliseconds(drain.stoppedMs));
  printRow('  until the others were ready and wrote', milliseconds(drain.healthyMs));
  printRow('  from its start until all were ready', milliseconds(drain.returnedMs));
  printRow('  digests that were equal then', drain.digests.length);
  printRow('RTO: from the loss to the first acknowledged write', milliseconds(rtoMs));
  for (const { name, tookMs } of phases) printRow(`  ${name}`, milliseconds(tookMs));
  printRow('RPO: acknowledged writes that are lost', verdict.lostCount);
  const most = `must be below ${milliseconds(RPO_MS_MAX)}`;
  printRow(`  age of the oldest of them (${most})`, milliseconds(verdict.oldestLostAgeMs));
  printRow('writes acknowledged before the loss', verdict.acknowledgedCount);
  printRow('restored through index', restoredIndex);
  printRow('rows', verdict.rowCount);
  printRow('rows that are wrong, missing or too many', verdict.wrong.length);
  for (const what of verdict.wrong.slice(0, 20)) print(`  ${what}`);
  for (const { appliedIndex, digest, nodeName } of digests) {
    print(`${nodeName}: digest ${digest} at index ${appliedIndex}`);
  }
  printVerdict(isGood);
}

await withProofStore(values.store, async (store) => {
  const cluster = await ProcessCluster.launch({ name: 'drill', settings: { backupSinks: store } });
  try {
    const report = await runDrill({
      ...{ cluster, store, onProgress: printProgress, seed: Number(values.seed) },
      workerCount: Number(values.workers),
      writeMs: 1_000 * Number(values.seconds),
    });
    printReport(report);
  } catch (thrown) {
    print(cluster.describeLogs());
    throw thrown;
  } finally {
    await cluster.stop();
  }
});
