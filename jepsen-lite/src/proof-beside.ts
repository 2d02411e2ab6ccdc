/**
 * `npm run proof:beside [-- --rounds 12 --rows 30000 --store file|s3|URL --seed 1]`: a collection
 * is restored beside live data, again and again, while leaders or the command itself are killed.
 * Exit code 0: what was done is there as it was, of what was not nobody sees anything; 1: not so.
 */
import { parseArgs } from 'node:util';
import { ProcessCluster } from './cluster/process-cluster.ts';
import { PROOF_SETTINGS } from './drill/archive-proof.ts';
import { type BesideRound, proveBeside } from './drill/beside-proof.ts';
import { print, printProgress, printRow, printVerdict } from './drill/proof-output.ts';
import { withProofStore } from './drill/proof-store.ts';

const { values } = parseArgs({
  options: {
    store: { type: 'string', default: 'file' },
    rounds: { type: 'string', default: '12' },
    rows: { type: 'string', default: '30000' },
    seed: { type: 'string', default: '1' },
  },
});

await withProofStore(values.store, async (store) => {
  const settings = { ...PROOF_SETTINGS, backupSinks: store };
  const cluster = await ProcessCluster.form({ name: 'proof-beside', settings });
  try {
    print(`seed ${values.seed}, store ${store}`);
    const { acknowledgedCount, rounds, wrong } = await proveBeside({
      ...{ cluster, store, seed: Number(values.seed), onProgress: printProgress },
      ...{ roundCount: Number(values.rounds), rowCount: Number(values.rows) },
    });
    const count = (isMeant: (round: BesideRound) => boolean) => rounds.filter(isMeant).length;
    print('');
    printRow('restores', rounds.length);
    printRow(
      '  leaders killed meanwhile, and restored',
      count(({ isRestored, isStruck, strike }) => isStruck && isRestored && strike !== 'command'),
    );
    printRow(
      '  command killed meanwhile',
      count(({ isStruck, strike }) => isStruck && strike === 'command'),
    );
    printRow(
      '  hidden collections left behind',
      rounds.reduce((sum, { leftCount }) => sum + leftCount, 0),
    );
    printRow('writes of others acknowledged meanwhile', acknowledgedCount);
    printRow('what is wrong (must be 0)', wrong.length);
    for (const what of wrong) print(`  ${what}`);
    printVerdict(wrong.length === 0);
  } catch (thrown) {
    print(cluster.describeLogs());
    throw thrown;
  } finally {
    await cluster.stop();
  }
});
