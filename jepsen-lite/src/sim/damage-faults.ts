/**
 * What was damaged and whether it is whole again. The same thing must never be lost on two nodes:
 * so there is at most one damaged, diverged or emptied node at a time, and everybody else has an
 * intact copy of everything.
 */
import type { Incarnation, LogFields } from '@holdfast/base';
import type { SimNode } from '@holdfast/node/testing';
import { DATA_DIRECTORY, filesOnDisk, flawsOf } from '@holdfast/node/testing';
import type { Damaged, LogFiles } from './damage.ts';
import { damageFile } from './damage.ts';
import type { Damage, DamagedFile, StorageFault } from './plan.ts';
import type { RareState } from './rare-state-table.ts';

export type DamageFault = Extract<StorageFault, { readonly kind: 'damageFile' }>;

interface Hurt {
  readonly node: SimNode;
  readonly incarnation: Incarnation;
  /** Null: what its lanes tell is not what they hold. */
  readonly path: string | null;
  readonly damage: Damage | null;
}

const STATE_OF_LOG_DAMAGE: Readonly<Partial<Record<Damage, RareState>>> = {
  truncate: 'cutLogFileMended',
  delete: 'lostLogFileMended',
  stale: 'oldLogFileMended',
};

export class DamageFaults {
  readonly #note: (words: string) => void;
  /** By life and path. */
  readonly #older = new Map<string, Uint8Array>();
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

  /** Keeps what files of this kind hold now, to be put back one day. */
  keep(node: SimNode, file: DamagedFile): void {
    const { fileSystem, incarnation } = node;
    // A node that is down may have lost its disk.
    if (!node.isRunning || fileSystem.faults.hasCrashed) return;
    for (const { kind, path } of filesOnDisk(node)) {
      const full = `${DATA_DIRECTORY}/${path}`;
      if (kind === file && fileSystem.exists(full))
        this.#older.set(`${incarnation} ${path}`, fileSystem.contentOf(full));
    }
  }

  /** `logFiles` of the node when it ran last. */
  damage(node: SimNode, fault: DamageFault, logFiles: LogFiles): Damaged | null {
    const older = (path: string): Uint8Array | null =>
      this.#older.get(`${node.incarnation} ${path}`) ?? null;
    const damaged = damageFile(node, { ...fault, logFiles, older });
    if (damaged === null) return null;
    this.#note(`${damaged.damage} of ${damaged.target.path} of ${node.id}`);
    this.#add(node, damaged.target.path, damaged.damage);
    return damaged;
  }

  diverge(node: SimNode): void {
    node.tellOtherDigests();
    this.#add(node, null, null);
  }

  /** Which rare state a line of the log of `node` tells of, by what was done to its disk. */
  stateOf(node: SimNode, fields: LogFields, message: string): RareState | null {
    if (message !== 'recovery recovered') return null;
    const { incarnation } = node;
    const hurt = this.#hurt.find(
      ({ incarnation: life, path }) => life === incarnation && path === fields.key,
    );
    if (hurt === undefined || hurt.damage === null) return null;
    if (fields.action === 'rewriteEntries') return STATE_OF_LOG_DAMAGE[hurt.damage] ?? null;
    return hurt.damage === 'stale' ? 'staleFileReplaced' : null;
  }

  #add(node: SimNode, path: string | null, damage: Damage | null): void {
    const { incarnation } = node;
    this.hurtLives.add(incarnation);
    this.#hurt = [...this.#hurt, { node, incarnation, path, damage }];
  }
}

function isWhole({ incarnation, node, path }: Hurt): boolean {
  // At its end, though nobody has noticed yet: its disk is not to be read.
  if (!node.isRunning || node.fileSystem.faults.hasCrashed) return false;
  if (node.incarnation !== incarnation) return true;
  if (path === null) return !node.isLying;
  return flawsOf(node, path).length === 0;
}
