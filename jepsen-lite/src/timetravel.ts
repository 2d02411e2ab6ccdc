/**
 * `npm run demo:timetravel [-- --store file|s3|URL]`: a bad deployment overwrites and deletes rows,
 * and the moment before it comes back as a second cluster on other ports; both states are shown
 * side by side. Exit code 0: the second cluster has exactly the state of the moment, the first one
 * what the deployment left; 1: something of that does not hold.
 */
import { parseArgs } from 'node:util';
import { ProcessCluster } from './cluster/process-cluster.ts';
import { print, printProgress, printVerdict } from './drill/proof-output.ts';
import { withProofStore } from './drill/proof-store.ts';
import {
  PRODUCT_COUNT,
  type Product,
  runTimeTravel,
  type TimeTravelReport,
} from './drill/time-travel.ts';

const { values } = parseArgs({ options: { store: { type: 'string', default: 'file' } } });

const WIDTHS = [4, 22, 22, 22] as const;
const row = (cells: readonly (string | number)[]): void =>
  print(cells.map((cell, i) => String(cell).padEnd(WIDTHS[i] ?? 0)).join(' '));

const describe = (product: Product | undefined): string =>
  product === undefined ? '(deleted)' : `${product.payload.name}, ${product.payload.priceCents}`;

function printReport({ before, digests, moment, past, present, wrong }: TimeTravelReport): void {
  print('');
  row(['ID', 'NOTED AT THE MOMENT', 'NOW, FIRST CLUSTER', 'RESTORED, SECOND']);
  for (let id = 1; id <= PRODUCT_COUNT; id++) {
    row([id, ...[before, present, past].map((state) => describe(state.get(id)))]);
  }
  print('');
  print(`${present.size} rows now, ${past.size} rows of ${moment} in the second cluster`);
  for (const { appliedIndex, digest, nodeName } of digests) {
    print(`second cluster, ${nodeName}: digest ${digest} at index ${appliedIndex}`);
  }
  for (const what of wrong) print(`WRONG: ${what}`);
  printVerdict(wrong.length === 0);
}

async function travel(store: string): Promise<void> {
  const settings = { backupSinks: store };
  const present = await ProcessCluster.launch({ name: 'timetravel', settings });
  let past: ProcessCluster | null = null;
  try {
    past = await ProcessCluster.form({ name: 'timetravel-past', settings });
    const report = await runTimeTravel({ present, past, store, onProgress: printProgress });
    printReport(report);
  } catch (thrown) {
    print(present.describeLogs());
    throw thrown;
  } finally {
    await past?.stop();
    await present.stop();
  }
}

await withProofStore(values.store, travel);
