/**
 * `npm run proof:archive [-- --kills 20 --store file|s3|URL --seed 1]`: leaders are killed while
 * the log is archived and full backups are made all the time; then the store is read whole. Exit
 * code 0: the archive is the log without gap or overlap, every backup is complete or invisible; 1:
 * something of that does not hold.
 */
import { parseArgs } from 'node:util';
import { ProcessCluster } from './cluster/process-cluster.ts';
import type { ArchiveProofReport } from './drill/archive-proof.ts';
import { PROOF_SETTINGS, proveArchive } from './drill/archive-proof.ts';
import { openProofStore } from './drill/proof-store.ts';

const { values } = parseArgs({
  options: {
    store: { type: 'string', default: 'file' },
    kills: { type: 'string', default: '20' },
    seed: { type: 'string', default: '1' },
  },
});
const startMs = performance.now();
const print = (line: string): void => void process.stdout.write(`${line}\n`);
const onProgress = (line: string): void => {
  print(`${((performance.now() - startMs) / 1_000).toFixed(1).padStart(7)} s  ${line}`);
};

const WIDTH = 56;
const WRONG_SHOWN_MAX = 20;
const row = (name: string, value: string | number): void =>
  print(`${name.padEnd(WIDTH)} ${String(value).padStart(14)}`);

function printReport(report: ArchiveProofReport): void {
  const { audit, kills, wrong } = report;
  print('');
  const placed = kills.filter(({ how }) => how.includes('=')).length;
  row('leaders killed', kills.length);
  row('  of them at a place of archive or backup', placed);
  row('writes acknowledged', report.acknowledgedCount);
  row('archive: last index', audit.lastIndex);
  row('archive: objects, entries', `${audit.chunkCount}, ${audit.entryCount}`);
  row('archive: gaps (must be 0)', audit.gapCount);
  row('entries compared with logs of nodes', report.comparedEntryCount);
  row('backups that can be seen, all complete', audit.backups.length);
  row('  said to be good by who made them', report.madeBackupCount);
  row('backups that were broken off', report.brokenBackupCount);
  row('what is wrong (must be 0)', wrong.length);
  for (const what of wrong.slice(0, WRONG_SHOWN_MAX)) print(`  ${what}`);
  print(wrong.length === 0 ? 'GOOD' : 'NOT GOOD');
}

const store = await openProofStore(values.store);
try {
  const settings = { ...PROOF_SETTINGS, backupSinks: store.url };
  const cluster = await ProcessCluster.form({ name: 'proof-archive', settings });
  try {
    print(`seed ${values.seed}, store ${store.url}`);
    const report = await proveArchive({
      ...{ cluster, store: store.url, seed: Number(values.seed), onProgress },
      killCount: Number(values.kills),
    });
    printReport(report);
    process.exitCode = report.wrong.length === 0 ? 0 : 1;
  } catch (thrown) {
    print(cluster.describeLogs());
    throw thrown;
  } finally {
    await cluster.stop();
  }
} finally {
  await store.close();
}
