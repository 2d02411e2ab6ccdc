/**
 * A torture as data: which damages, to which kind of file of which node, drawn from a seed. What a
 * draw hits in the end depends on the files that are there when its turn comes; the fractions say
 * which of them and where in it, so that a seed repeats the intent and not the timing.
 */
import { SeededRandom } from '@holdfast/base';
import type { NodeName } from '../cluster/cluster.ts';
import { FILE_KINDS, type FileKind, type FileKindFacts, isWeighted } from './file-kinds.ts';

export const DAMAGE_KINDS = ['flip', 'truncate', 'zeroPage', 'swap', 'stale', 'delete'] as const;
export type DamageKind = (typeof DAMAGE_KINDS)[number];
export type DamageCounts = Readonly<Record<DamageKind, number>>;

export interface PlannedDamage {
  /** Counts from 1, in the order in which damages are tried. */
  readonly number: number;
  readonly damage: DamageKind;
  readonly nodeName: NodeName;
  readonly fileKind: FileKind;
  /** All that can be damaged like that, this one among them: when of this one there is none. */
  readonly fileKinds: readonly FileKind[];
  /** In [0, 1): which of the files that there are. */
  readonly fileAt: number;
  /** In [0, 1): where in the file; the second is for damages that need two places. */
  readonly placeAt: number;
  readonly secondPlaceAt: number;
  /** 0 to 7: of a flip. */
  readonly bit: number;
}

export interface PlanOptions {
  readonly seed: number;
  readonly counts: DamageCounts;
  readonly nodeNames: readonly NodeName[];
  /** True: this kind of file is never damaged like that. Default: none is spared. */
  readonly isSpared?: (damage: DamageKind, fileKind: FileKind) => boolean;
}

/** The same options give the same plan. */
export function drawPlan({
  seed,
  counts,
  isSpared,
  nodeNames,
}: PlanOptions): readonly PlannedDamage[] {
  const random = new SeededRandom(seed);
  const damages = DAMAGE_KINDS.flatMap((kind) => Array<DamageKind>(counts[kind]).fill(kind));
  return shuffled(damages, random).map((damage, i) => {
    const able = FILE_KINDS.filter(
      (facts) => isWeighted(facts, damage) && isSpared?.(damage, facts.kind) !== true,
    );
    return {
      ...{ number: i + 1, damage, nodeName: pick(nodeNames, random) },
      fileKind: drawFileKind(able, random),
      fileKinds: able.map(({ kind }) => kind),
      fileAt: random.nextFloat(),
      placeAt: random.nextFloat(),
      secondPlaceAt: random.nextFloat(),
      bit: random.nextBelow(8),
    };
  });
}

function drawFileKind(able: readonly FileKindFacts[], random: SeededRandom): FileKind {
  let rest = random.nextBelow(able.reduce((sum, { weight }) => sum + weight, 0));
  for (const { kind, weight } of able) {
    if (rest < weight) return kind;
    rest -= weight;
  }
  throw new Error('the weights of the file kinds do not add up');
}

function pick<Item>(items: readonly Item[], random: SeededRandom): Item {
  const item = items[random.nextBelow(items.length)];
  if (item === undefined) throw new TypeError('nothing to pick from');
  return item;
}

/** Fisher and Yates. */
function shuffled<Item>(items: readonly Item[], random: SeededRandom): readonly Item[] {
  const copy = [...items];
  for (let last = copy.length - 1; last > 0; last--) {
    const other = random.nextBelow(last + 1);
    [copy[last], copy[other]] = [copy[other] as Item, copy[last] as Item];
  }
  return copy;
}
