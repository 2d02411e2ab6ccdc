// A short torture on real processes, and one that must fail: a node that tells and repairs nothing.
import t from 'tap';
import type { DamageCounts, PlanOptions } from '../src/torture/plan.ts';
import { failuresOf, renderReport } from '../src/torture/report.ts';
import { runTorture } from '../src/torture/torture.ts';

// Real processes take as long as the machine lets them: no time limit of the test runner.
t.setTimeout(0);

const seed = Date.now() % 1_000_000;
t.comment(`seed ${seed}`);

/** One shard that has just sealed one segment. */
const SIZE = {
  ...{ rowCount: 70_000, shardCount: 1, outstandingMax: 20, timeoutMs: 240_000 },
  checkpointIntervalMs: 12_000,
} as const;
/**
 * Left out of the suite so far: saved graphs, whole log files or whole batches that are gone, and
 * older contents that are sound in themselves. Scrubs find them now, which heal-torture.test shows
 * on virtual time; with real processes they were not run often enough. `npm run torture` spares
 * nothing.
 */
const isSpared: PlanOptions['isSpared'] = (damage, fileKind) =>
  fileKind === 'graph' ||
  (damage !== 'flip' && fileKind === 'wal') ||
  (damage === 'stale' && ['epoch', 'root', 'previousRoot'].includes(fileKind));
const COUNTS: DamageCounts = { flip: 12, truncate: 2, zeroPage: 2, swap: 2, stale: 2, delete: 2 };

t.test('damage of every kind under load is found, repaired and never answered with', async (t) => {
  const report = await runTorture({
    ...{ ...SIZE, seed, counts: COUNTS, victimCount: 1, isSpared },
  });
  t.comment(renderReport(report));
  t.same(failuresOf(report), []);
});

t.test('a torture of nodes that repair nothing fails', async (t) => {
  const report = await runTorture({
    ...{ ...SIZE, seed, victimCount: 1, timeoutMs: 30_000 },
    counts: { ...COUNTS, truncate: 0, zeroPage: 0, swap: 0, stale: 0, delete: 0 },
    isSpared,
    settings: { autoRepairEnabled: false },
  });
  t.not(report.injuries.filter(({ state }) => state === 'detected').length, 0);
  t.match(failuresOf(report), [/^detected: #\d+ flip of n1/]);
});
