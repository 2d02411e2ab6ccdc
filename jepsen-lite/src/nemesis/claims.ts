/**
 * Who holds which node down or has harmed its data, over all nemeses of one cluster: a node that
 * one of them has taken away is not started, killed or damaged by another, and the data of at most
 * a minority are harmed at one time (more would be a loss that no product can make good).
 */
import type { Cluster, NodeName } from '../cluster/cluster.ts';
import { minorityOf } from './targets.ts';

export type ClaimKind = 'held' | 'harmed';

interface Claim {
  readonly owner: string;
  readonly kind: ClaimKind;
}

export class Claims {
  readonly #nodeCount: number;
  readonly #claims = new Map<NodeName, Claim>();

  constructor(nodeCount: number) {
    this.#nodeCount = nodeCount;
  }

  /** False: another has it, or too many are harmed already. One's own claim is renewed. */
  take(nodeName: NodeName, owner: string, kind: ClaimKind): boolean {
    const claim = this.#claims.get(nodeName);
    if (claim !== undefined && claim.owner !== owner) return false;
    const harmedCount = [...this.#claims].filter(
      ([name, one]) => one.kind === 'harmed' && name !== nodeName,
    ).length;
    if (kind === 'harmed' && harmedCount >= minorityOf(this.#nodeCount)) return false;
    this.#claims.set(nodeName, { owner, kind });
    return true;
  }

  /** Harms all at different places, when nobody else has any. False: somebody has. */
  takeAll(nodeNames: readonly NodeName[], owner: string): boolean {
    if ([...this.#claims.values()].some((claim) => claim.owner !== owner)) return false;
    for (const nodeName of nodeNames) this.#claims.set(nodeName, { owner, kind: 'harmed' });
    return true;
  }

  release(nodeName: NodeName, owner: string): void {
    if (this.#claims.get(nodeName)?.owner === owner) this.#claims.delete(nodeName);
  }

  /** Whether somebody else has it. */
  isTaken(nodeName: NodeName, owner: string): boolean {
    const claim = this.#claims.get(nodeName);
    return claim !== undefined && claim.owner !== owner;
  }

  ownedBy(owner: string): readonly NodeName[] {
    return [...this.#claims].flatMap(([name, one]) => (one.owner === owner ? [name] : []));
  }
}

const claimsByCluster = new WeakMap<Cluster, Claims>();

/** The one list of this cluster. */
export function claimsOf(cluster: Cluster): Claims {
  const known = claimsByCluster.get(cluster);
  if (known !== undefined) return known;
  const claims = new Claims(cluster.nodeNames.length);
  claimsByCluster.set(cluster, claims);
  return claims;
}
