/**
 * What befalls the disks and lanes of a plan. From numbers of its own, so that what is drawn here
 * changes nothing else of a seed.
 */
import { deriveSeed, SeededRandom } from '@holdfast/base';
import { node, span } from './draw-parts.ts';
import type { Damage, DamagedFile, SimPlan, StorageFault, TimedFault } from './plan.ts';

type StorageFaultKind = StorageFault['kind'];

const DAMAGES: readonly Damage[] = ['flip', 'truncate', 'zeroPage', 'swap', 'stale', 'delete'];

/** As often as there are of them on a disk, or nearly so. */
const DAMAGED_FILES: readonly DamagedFile[] = [
  ...(['segment', 'segment', 'segment', 'growing', 'growing', 'manifest', 'meta'] as const),
  ...(['root', 'previousRoot', 'identity', 'identityCopy', 'epoch', 'hardState'] as const),
  ...(['wal', 'wal', 'wal'] as const),
];

function pick<Item>(random: SeededRandom, items: readonly Item[]): Item {
  return items[random.nextBelow(items.length)]!;
}

function drawDamage(random: SeededRandom): StorageFault {
  const file = pick(random, DAMAGED_FILES);
  const isDown = random.nextBelow(2) === 0;
  return {
    kind: 'damageFile',
    node: node(random),
    file,
    damage: pick(random, DAMAGES),
    downMs: isDown ? span(random, 2_000) : null,
    salt: random.nextU32(),
  };
}

const RECIPES: Readonly<
  Record<StorageFaultKind, { readonly weight: number; draw(random: SeededRandom): StorageFault }>
> = {
  damageFile: { weight: 8, draw: drawDamage },
  diverge: { weight: 1, draw: (r) => ({ kind: 'diverge', node: node(r) }) },
  loseLane: {
    weight: 2,
    draw: (r) => ({
      kind: 'loseLane',
      node: node(r),
      lane: r.nextBelow(3),
      loss: r.nextBelow(3) === 0 ? 'hangs' : 'dies',
    }),
  },
  diskRefusal: {
    weight: 3,
    draw: (r) => ({
      kind: 'diskRefusal',
      node: node(r),
      of: r.nextBelow(3) === 0 ? 'checkpoint' : 'log',
      code: pick(r, ['ENOSPC', 'EDQUOT', 'EIO']),
      forMs: span(r, 3_000),
    }),
  },
};

export const STORAGE_FAULT_KINDS = Object.keys(RECIPES) as readonly StorageFaultKind[];

/** Mean time between two faults, per temper. */
const GAP_MS = [700, 1_500, 4_000] as const;

export function drawStorageFaults(seed: number, durationMs: number): readonly TimedFault[] {
  const random = new SeededRandom(deriveSeed(seed, 'storage faults'));
  const known = STORAGE_FAULT_KINDS.filter(() => random.nextBelow(2) === 0);
  if (known.length === 0) return [];
  const gapMs = pick(random, GAP_MS);
  const urn = known.flatMap((kind) => Array.from({ length: RECIPES[kind].weight }, () => kind));
  const faults: TimedFault[] = [];
  for (let atMs = random.nextBelow(2 * gapMs); atMs < durationMs; ) {
    faults.push({ atMs, fault: RECIPES[pick(random, urn)].draw(random) });
    atMs += 1 + random.nextBelow(2 * gapMs);
  }
  return faults;
}

export function drawCare(seed: number): SimPlan['care'] {
  const random = new SeededRandom(deriveSeed(seed, 'care'));
  return {
    // A pass costs as much as a second of everything else, and all disks are scrubbed in the end.
    scrubIntervalMs: pick(random, [0, 2_000, 5_000, 12_000]),
    digestVerifyIntervalMs: pick(random, [0, 700, 3_000]),
    writeBreakerTimeoutMs: pick(random, [300, 2_000]),
  };
}
