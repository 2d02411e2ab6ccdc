/** Pure: who is hit. Everything is drawn from one number, so that a schedule repeats. */
import { deriveSeed, type Random, SeededRandom } from '@holdfast/base';
import type { Cluster, NodeName } from '../cluster/cluster.ts';

/** Chance of one action. */
export const chanceOf = (pick: number): Random => new SeededRandom(deriveSeed(pick, 'targets'));

/** The most that may be lost while the others still are a majority. */
export const minorityOf = (nodeCount: number): number => Math.floor((nodeCount - 1) / 2);

/** Fisher and Yates. */
export function shuffled<Item>(items: readonly Item[], random: Random): readonly Item[] {
  const copy = [...items];
  for (let last = copy.length - 1; last > 0; last--) {
    const other = random.nextBelow(last + 1);
    [copy[last], copy[other]] = [copy[other] as Item, copy[last] as Item];
  }
  return copy;
}

/** Null when there is nothing to draw from. */
export function oneOf<Item>(items: readonly Item[], random: Random): Item | null {
  return items.length === 0 ? null : (items[random.nextBelow(items.length)] ?? null);
}

export type TargetKind = 'leader' | 'follower' | 'one' | 'minority' | 'majority' | 'all';

export interface TargetFacts {
  /** Those that may be hit. */
  readonly candidates: readonly NodeName[];
  /** Of the whole cluster. */
  readonly nodeCount: number;
  readonly leader: NodeName | null;
}

/** Who is hit; empty when there is nobody of that kind now. */
export function drawTargets(
  kind: TargetKind,
  { candidates, leader, nodeCount }: TargetFacts,
  random: Random,
): readonly NodeName[] {
  switch (kind) {
    case 'leader':
      return leader !== null && candidates.includes(leader) ? [leader] : [];
    case 'follower':
      return shuffled(candidates, random)
        .filter((name) => name !== leader)
        .slice(0, 1);
    case 'one':
      return shuffled(candidates, random).slice(0, 1);
    case 'minority':
      return shuffled(candidates, random).slice(0, minorityOf(nodeCount));
    case 'majority':
      return shuffled(candidates, random).slice(0, nodeCount - minorityOf(nodeCount));
    case 'all':
      return candidates;
  }
}

export async function leaderNameOf(cluster: Cluster): Promise<NodeName | null> {
  return (await cluster.leader())?.nodeName ?? null;
}
