/**
 * What was damaged and whether it is whole again. The same thing must never be lost on two nodes:
 * so there is at most one damaged, diverged or emptied node at a time, and everybody else has an
 * intact copy of everything.
 */
import type { Incarnation } from '@holdfast/base';
import type { SimNode } from '@holdfast/node/testing';
import { flawsOf } from '@holdfast/node/testing';
import type { Damaged } from './damage.ts';
import { damageFile } from './damage.ts';
import type { StorageFault } from './plan.ts';

export type DamageFault = Extract<StorageFault, { readonly kind: 'damageFile' }>;

interface Hurt {
  readonly node: SimNode;
  readonly incarnation: Incarnation;
  /** Null: what its lanes tell is not what they hold. */
  readonly path: string | null;
}

export class DamageFaults {
  readonly #note: (words: string) => void;
  #hurt: readonly Hurt[] = [];
  /** Lives that may end, because something of them was damaged. */
  readonly hurtLives = new Set<Incarnation>();

  constructor(note: (words: string) => void) {
    this.#note = note;
  }

  /** Nothing is known to be damaged. */
  get isClean(): boolean {
    this.#hurt = this.#hurt.filter((hurt) => !isWhole(hurt));
    return this.#hurt.length === 0;
  }

  damage(node: SimNode, fault: DamageFault): Damaged | null {
    const damaged = damageFile(node, fault);
    if (damaged === null) return null;
    this.#note(`${damaged.damage} of ${damaged.target.path} of ${node.id}`);
    this.#add(node, damaged.target.path);
    return damaged;
  }

  diverge(node: SimNode): void {
    node.tellOtherDigests();
    this.#add(node, null);
  }

  #add(node: SimNode, path: string | null): void {
    const { incarnation } = node;
    this.hurtLives.add(incarnation);
    this.#hurt = [...this.#hurt, { node, incarnation, path }];
  }
}

function isWhole({ incarnation, node, path }: Hurt): boolean {
  if (!node.isRunning) return false;
  if (node.incarnation !== incarnation) return true;
  if (path === null) return !node.isLying;
  return flawsOf(node, path).length === 0;
}
