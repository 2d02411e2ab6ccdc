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
import { print, printProgress, printRow, printVerdict } from './drill/proof-output.ts';
import { withProofStore } from './drill/proof-store.ts';

const { values } = parseArgs({
  options: {
    store: { type: 'string', default: 'file' },
    kills: { type: 'string', default: '20' },
    seed: { type: 'string', default: '1' },
  },
});

const WRONG_SHOWN_MAX = 20;

function printReport(report: ArchiveProofReport): void {
  const { audit, kills, wrong } = report;
  print('');
  const placed = kills.filter(({ how }) => how.includes('=')).length;
  printRow('leaders killed', kills.length);
  printRow('  of them at a place of archive or backup', placed);
  printRow('writes acknowledged', report.acknowledgedCount);
  printRow('archive: last index', audit.lastIndex);
  printRow('archive: objects, entries', `${audit.chunkCount}, ${audit.entryCount}`);
  printRow('archive: gaps (must be 0)', audit.gapCount);
  printRow('entries compared with logs of nodes', report.comparedEntryCount);
  printRow('backups that can be seen, all complete', audit.backups.length);
  printRow('  said to be good by who made them', report.madeBackupCount);
  printRow('backups that were broken off', report.brokenBackupCount);
  printRow('what is wrong (must be 0)', wrong.length);
  for (const what of wrong.slice(0, WRONG_SHOWN_MAX)) print(`  ${what}`);
  printVerdict(wrong.length === 0);
}

await withProofStore(values.store, async (store) => {
  const settings = { ...PROOF_SETTINGS, backupSinks: store };
  const cluster = await ProcessCluster.form({ name: 'proof-archive', settings });
  try {
    print(`seed ${values.seed}, store ${store}`);
    const report = await proveArchive({
      ...{ cluster, store, seed: Number(values.seed), onProgress: printProgress },
      killCount: Number(values.kills),
    });
    printReport(report);
  } catch (thrown) {
    print(cluster.describeLogs());
    throw thrown;
  } finally {
    await cluster.stop();
  }
});
