/**
 * `node jepsen-lite/dist/src/kill-all.js [--rounds 10] [--seed N]`: kill -9 of all three nodes
 * during an import, restart, read everything back; exit code 1 if an acknowledged point is lost.
 */
import { parseArgs } from 'node:util';
import { ProcessCluster } from './cluster/process-cluster.ts';
import { runKillAll } from './scenario/kill-all.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '10' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
});
const print = (line: string): void => void process.stdout.write(`${line}\n`);

print(`seed ${values.seed}`);
const cluster = await ProcessCluster.launch({ name: 'kill-all' });
try {
  const report = await runKillAll({
    cluster,
    roundCount: Number(values.rounds),
    seed: Number(values.seed),
    log: print,
  });
  const { acknowledgedCount, indefiniteBatchCount, lostIds } = report;
  print(
    `${acknowledgedCount} points acknowledged, ${lostIds.length} lost, ` +
      `${indefiniteBatchCount} batches without answer`,
  );
  for (const id of lostIds.slice(0, 20)) print(`lost: ${id}`);
  process.exitCode = lostIds.length === 0 ? 0 : 1;
} catch (thrown) {
  print(cluster.describeLogs());
  throw thrown;
} finally {
  await cluster.stop();
}
