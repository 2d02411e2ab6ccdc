// Goal: leaders may die at any place of archive and backup, and the store is whole afterwards. The
// short form of `npm run proof:archive`; HOLDFAST_TEST_PROOF_KILLS makes it longer.
import { pathToFileURL } from 'node:url';
import t from 'tap';
import { ProcessCluster } from '../src/cluster/process-cluster.ts';
import { PROOF_SETTINGS, proveArchive } from '../src/drill/archive-proof.ts';

// Real processes take as long as the machine lets them: no time limit of the test runner.
t.setTimeout(0);

const SEED = Number(process.env.HOLDFAST_TEST_SEED ?? 11);
/** Two leaders die when they begin the archive. */
const KILL_COUNT = Number(process.env.HOLDFAST_TEST_PROOF_KILLS ?? 3);

t.test('leaders are killed while they archive and back up, and the store is whole', async (t) => {
  const store = pathToFileURL(t.testdir()).href;
  const settings = { ...PROOF_SETTINGS, backupSinks: store };
  const cluster = await ProcessCluster.form({ name: 'test-archive-proof', settings });
  t.teardown(() => cluster.stop());
  const { audit, kills, ...report } = await proveArchive({
    ...{ cluster, store, seed: SEED, killCount: KILL_COUNT },
    onProgress: (line) => t.comment(line),
  });
  t.same(report.wrong, []);
  t.ok(kills.length >= KILL_COUNT, `${kills.length} kills, seed ${SEED}`);
  t.ok(audit.lastIndex > report.acknowledgedCount, `${audit.entryCount} entries archived`);
  t.ok(audit.backups.length >= report.madeBackupCount, `${audit.backups.length} backups`);
});
