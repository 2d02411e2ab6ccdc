/** Damage of one file of a simulated disk, as rot, broken firmware and wrong hands do it. */
import { SeededRandom } from '@holdfast/base';
import type { ScrubTarget, SimNode } from '@holdfast/node/testing';
import { DATA_DIRECTORY, filesOnDisk } from '@holdfast/node/testing';
import type { Damage, DamagedFile } from './plan.ts';

export interface Damaged {
  readonly target: ScrubTarget;
  readonly damage: Damage;
}

const PAGE_SIZE_BYTES = 512;
/** Smaller than the smallest file with two pieces in it. */
const PIECE_SIZE_BYTES = 16;
/** The newest batches of the log: of what is not confirmed yet nobody can tell rot from a crash. */
const LOG_END_SIZE_BYTES = 1_024;

/**
 * Damages a file of this kind that is part of the state of `node`; null when there is none, or when
 * its bytes would stay what they were.
 */
export function damageFile(
  node: SimNode,
  fault: { readonly file: DamagedFile; readonly damage: Damage; readonly salt: number },
): Damaged | null {
  const random = new SeededRandom(fault.salt);
  const targets = filesOnDisk(node).filter(({ kind }) => kind === fault.file);
  const target = targets[random.nextBelow(Math.max(1, targets.length))];
  if (target === undefined) return null;
  const path = pathOf(target);
  const { fileSystem } = node;
  if (!fileSystem.exists(path)) return null;
  const { damage } = fault;
  if (damage === 'delete') {
    fileSystem.lose(path);
    return { target, damage };
  }
  const bytes = fileSystem.contentOf(path);
  const others = targets.filter((other) => other !== target).map(pathOf);
  const other = others[random.nextBelow(Math.max(1, others.length))];
  const stale = other !== undefined && fileSystem.exists(other) ? other : null;
  const changed =
    damage === 'stale'
      ? stale === null
        ? null
        : fileSystem.contentOf(stale)
      : changedBytes(damage, bytes, random, target.kind === 'wal');
  if (changed === null || Buffer.compare(changed, bytes) === 0) return null;
  fileSystem.tamper(path, changed);
  return { target, damage };
}

const pathOf = ({ path }: ScrubTarget): string => `${DATA_DIRECTORY}/${path}`;

/** Null when this damage cannot be done to these bytes. */
function changedBytes(
  damage: Exclude<Damage, 'delete' | 'stale'>,
  bytes: Uint8Array,
  random: SeededRandom,
  isLog: boolean,
): Uint8Array | null {
  const changed = bytes.slice();
  const sizeBytes = bytes.byteLength;
  if (sizeBytes < 2 * PIECE_SIZE_BYTES) return null;
  switch (damage) {
    case 'flip': {
      const position = isLog ? oldPosition(bytes, random) : random.nextBelow(sizeBytes);
      if (position === null) return null;
      changed[position]! ^= 1 << random.nextBelow(8);
      return changed;
    }
    case 'truncate':
      return changed.subarray(0, random.nextBelow(sizeBytes));
    case 'zeroPage': {
      const start = random.nextBelow(Math.ceil(sizeBytes / PAGE_SIZE_BYTES)) * PAGE_SIZE_BYTES;
      return changed.fill(0, start, start + PAGE_SIZE_BYTES);
    }
    case 'swap': {
      const count = Math.floor(sizeBytes / PIECE_SIZE_BYTES);
      const [left, right] = [random.nextBelow(count), random.nextBelow(count)].map(
        (piece) => piece * PIECE_SIZE_BYTES,
      ) as [number, number];
      changed.set(bytes.subarray(left, left + PIECE_SIZE_BYTES), right);
      changed.set(bytes.subarray(right, right + PIECE_SIZE_BYTES), left);
      return changed;
    }
  }
}

/** Of the log: what was written a while ago. */
function oldPosition(bytes: Uint8Array, random: SeededRandom): number | null {
  const used: number[] = [];
  for (const [position, byte] of bytes.entries()) if (byte !== 0) used.push(position);
  const old = used.slice(0, -LOG_END_SIZE_BYTES);
  return old[random.nextBelow(Math.max(1, old.length))] ?? null;
}
