/**
 * `npm run proof:pitr [-- --runs 20 --per-history 5 --store s3|file|URL --seed 1]`: so many moments
 * of histories with leader kills are restored by the commands into a directory each, and compared
 * with what the writers were told. Exit code 0: all are equal; 1: one is not.
 */
import { parseArgs } from 'node:util';
import { PROOF_SETTINGS } from './drill/archive-proof.ts';
import { provePitr, type TargetResult } from './drill/pitr-proof.ts';
import { print, printProgress, printVerdict } from './drill/proof-output.ts';
import { withProofStore } from './drill/proof-store.ts';

const { values } = parseArgs({
  options: {
    store: { type: 'string', default: 's3' },
    runs: { type: 'string', default: '20' },
    'per-history': { type: 'string', default: '5' },
    seed: { type: 'string', default: '1' },
  },
});

const WIDTHS = [8, 26, 8, 9, 7, 34, 6];
const row = (cells: readonly (string | number)[]): void =>
  print(cells.map((cell, i) => String(cell).padEnd(WIDTHS[i] ?? 0)).join(' '));

function cellsOf(result: TargetResult): readonly (string | number)[] {
  const { digest, history, index, replayedEntryCount, rowCount, target, wrong } = result;
  return [history, target, index, replayedEntryCount, rowCount, digest, wrong ?? 'equal'];
}

await withProofStore(values.store, async (store) => {
  print(`seed ${values.seed}, store ${store}`);
  const results = await provePitr({
    ...{ store, seed: Number(values.seed), onProgress: printProgress },
    targetCount: Number(values.runs),
    targetsPerHistory: Number(values['per-history']),
    settings: { ...PROOF_SETTINGS, backupSinks: store },
    onTarget: (result) => printProgress(cellsOf(result).join(' ')),
  });
  print('');
  row(['HISTORY', 'TARGET', 'INDEX', 'REPLAYED', 'ROWS', 'DIGEST OF ROWS', 'EQUAL']);
  for (const result of results) row(cellsOf(result));
  const wrongCount = results.filter(({ wrong }) => wrong !== null).length;
  print(`${results.length} targets, ${wrongCount} of them wrong`);
  printVerdict(wrongCount === 0);
});
