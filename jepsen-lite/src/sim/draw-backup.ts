/**
 * Whether a run has a store for backups, how it is set up, and what happens to it. From numbers of
 * its own, so that what is drawn here changes nothing else of a seed.
 */
import { deriveSeed, SeededRandom } from '@holdfast/base';
import { node, span } from './draw-parts.ts';
import type { BackupAction, BackupPlan, TimedBackupAction } from './plan.ts';

/** One seed of so many has a store: what it costs is bounded over all seeds. */
const SHARE = 3;
const GAP_MS = [600, 1_500, 4_000] as const;
const KIB = 1_024;

export function drawBackup(seed: number, durationMs: number): BackupPlan | null {
  const random = new SeededRandom(deriveSeed(seed, 'backup'));
  if (random.nextBelow(SHARE) !== 0) return null;
  const pick = <Item>(items: readonly Item[]): Item => items[random.nextBelow(items.length)]!;
  return {
    delayMsMax: pick([1, 10, 60]),
    chunkSizeBytesMax: pick([512, 4 * KIB, 1_024 * KIB]),
    chunkAgeMsMax: pick([0, 200, 1_000]),
    // Mostly all of a short run; otherwise so little that a store that is away makes a gap.
    holdSizeBytesMax: pick([1_024 * KIB, 1_024 * KIB, 8 * KIB]),
    keepLast: pick([1, 2, 100]),
    logRetentionMs: pick([0, 2_000, 3_600_000]),
    salt: random.nextU32(),
    actions: drawActions(random, durationMs, pick(GAP_MS)),
  };
}

function drawActions(
  random: SeededRandom,
  durationMs: number,
  gapMs: number,
): readonly TimedBackupAction[] {
  const actions: TimedBackupAction[] = [];
  for (let atMs = random.nextBelow(2 * gapMs); atMs < durationMs; ) {
    actions.push({ atMs, action: drawAction(random) });
    atMs += 1 + random.nextBelow(2 * gapMs);
  }
  return actions;
}

function drawAction(random: SeededRandom): BackupAction {
  const dice = random.nextBelow(10);
  if (dice < 2) return { kind: 'backUp', type: 'full', node: node(random) };
  if (dice < 4) return { kind: 'backUp', type: 'incremental', node: node(random) };
  if (dice < 5) return { kind: 'prune' };
  if (dice < 8) return { kind: 'note' };
  const mood = (['away', 'slow', 'unsure'] as const)[random.nextBelow(3)] ?? 'away';
  return { kind: 'mood', mood, forMs: span(random, 5_000) };
}
