// A short torture on real processes, and one that must fail: a node that tells and repairs nothing.
import t from 'tap';
import type { DamageCounts } from '../src/torture/plan.ts';
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
const COUNTS: DamageCounts = { flip: 12, truncate: 2, zeroPage: 2, swap: 2, stale: 2, delete: 2 };

t.test('damage of every kind under load is found, repaired and never answered with', async (t) => {
  const report = await runTorture({
    ...{ ...SIZE, seed, counts: COUNTS, victimCount: 1 },
  });
  t.comment(renderReport(report));
  t.same(failuresOf(report), []);
});

t.test('a torture of nodes that repair nothing fails', async (t) => {
  const report = await runTorture({
    ...{ seed, victimCount: 1, outstandingMax: 20, timeoutMs: 12_000 },
    // Too few rows for a segment: rot of the other files does as well.
    ...{ rowCount: 2_000, shardCount: 1, checkpointIntervalMs: 4_000 },
    awaitedKinds: ['previousRoot', 'growing'],
    isSpared: (_damage, fileKind) => fileKind === 'segment' || fileKind === 'graph',
    counts: { ...COUNTS, truncate: 0, zeroPage: 0, swap: 0, stale: 0, delete: 0 },
    settings: { autoRepairEnabled: false },
    isCheckedAtEnd: false,
  });
  t.not(report.injuries.filter(({ state }) => state === 'detected').length, 0);
  t.match(failuresOf(report), [/^detected: #\d+ flip of n1/]);
});
