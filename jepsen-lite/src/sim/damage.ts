/**
 * Damage of one file of a simulated disk, as rot, broken firmware and wrong hands do it.
 *
 * What no log that keeps one copy can tell from a crash is spared, because no promise covers it
 * (docs/adr/0014): the newest batches of the log, a cut or an old state of the file that is written
 * to, and files that are made ahead, of which nobody knows whether they have been begun. Everything
 * else of a disk may be hit.
 */
import { SeededRandom } from '@holdfast/base';
import type { ScrubTarget, SimNode } from '@holdfast/node/testing';
import { DATA_DIRECTORY, filesOnDisk } from '@holdfast/node/testing';
import type { Damage, DamagedFile } from './plan.ts';

export interface Damaged {
  readonly target: ScrubTarget;
  readonly damage: Damage;
}

/** Contents that files of a node once had, by path. */
export type OlderContents = (path: string) => Uint8Array | null;

/** What a damage is drawn from. */
export interface DamageParts {
  readonly file: DamagedFile;
  readonly damage: Damage;
  readonly salt: number;
  /** Files of the log, as `logFilesOf` told them while the node ran. */
  readonly logFiles: LogFiles;
  readonly older: OlderContents;
}

/** By path: whether a file of the log is closed; made-ahead ones are left out. */
export type LogFiles = ReadonlyMap<string, boolean>;

const PAGE_SIZE_BYTES = 512;
/** Smaller than the smallest file with two pieces in it. */
const PIECE_SIZE_BYTES = 16;
/** The newest batches of the log: of what is not confirmed yet nobody can tell rot from a crash. */
const LOG_END_SIZE_BYTES = 1_024;

export function logFilesOf(node: SimNode): LogFiles {
  return new Map(
    node.wal
      .files()
      .map(({ fileId, isClosed }) => [`wal/${String(fileId).padStart(16, '0')}.wal`, isClosed]),
  );
}

/**
 * Damages a file of this kind that is part of the state of `node`; null when there is none, or when
 * its bytes would stay what they were.
 */
export function damageFile(node: SimNode, parts: DamageParts): Damaged | null {
  const { damage, file, logFiles } = parts;
  const random = new SeededRandom(parts.salt);
  const targets = filesOnDisk(node).filter(
    ({ kind, path }) => kind === file && isClaimed(kind, path, damage, logFiles),
  );
  const target = targets[random.nextBelow(Math.max(1, targets.length))];
  if (target === undefined) return null;
  const path = pathOf(target);
  const { fileSystem } = node;
  if (!fileSystem.exists(path)) return null;
  if (damage === 'delete') {
    fileSystem.lose(path);
    return { target, damage };
  }
  const bytes = fileSystem.contentOf(path);
  const others = targets.filter((one) => one !== target).map(pathOf);
  const other = others[random.nextBelow(Math.max(1, others.length))];
  const isOpenLog = logFiles.get(target.path) === false;
  const changed =
    damage === 'stale'
      ? (parts.older(target.path) ?? contentOrNull(node, other))
      : changedBytes(damage, bytes, random, isOpenLog ? endOfOld(bytes) : bytes.byteLength);
  if (changed === null || Buffer.compare(changed, bytes) === 0) return null;
  fileSystem.tamper(path, changed);
  return { target, damage };
}

/** The whole of a log file may be lost only when the next one says how it ended. */
function isClaimed(
  kind: ScrubTarget['kind'],
  path: string,
  damage: Damage,
  logFiles: LogFiles,
): boolean {
  if (kind !== 'wal') return true;
  const isWhole = damage === 'delete' || damage === 'truncate' || damage === 'stale';
  return isWhole ? logFiles.get(path) === true : logFiles.has(path);
}

const pathOf = ({ path }: ScrubTarget): string => `${DATA_DIRECTORY}/${path}`;

function contentOrNull({ fileSystem }: SimNode, path: string | undefined): Uint8Array | null {
  return path !== undefined && fileSystem.exists(path) ? fileSystem.contentOf(path) : null;
}

/** Changes bytes below `end`; null when this damage cannot be done to them. */
function changedBytes(
  damage: Exclude<Damage, 'delete' | 'stale'>,
  bytes: Uint8Array,
  random: SeededRandom,
  end: number,
): Uint8Array | null {
  const changed = bytes.slice();
  if (end < 2 * PIECE_SIZE_BYTES) return null;
  switch (damage) {
    case 'flip':
      changed[random.nextBelow(end)]! ^= 1 << random.nextBelow(8);
      return changed;
    case 'truncate':
      return changed.subarray(0, random.nextBelow(end));
    case 'zeroPage': {
      const start = random.nextBelow(Math.ceil(end / PAGE_SIZE_BYTES)) * PAGE_SIZE_BYTES;
      return changed.fill(0, start, Math.min(end, start + PAGE_SIZE_BYTES));
    }
    case 'swap': {
      const count = Math.floor(end / PIECE_SIZE_BYTES);
      const [left, right] = [random.nextBelow(count), random.nextBelow(count)].map(
        (piece) => piece * PIECE_SIZE_BYTES,
      ) as [number, number];
      changed.set(bytes.subarray(left, left + PIECE_SIZE_BYTES), right);
      changed.set(bytes.subarray(right, right + PIECE_SIZE_BYTES), left);
      return changed;
    }
  }
}

/** Where the newest batches of a file of the log begin. */
function endOfOld(bytes: Uint8Array): number {
  let left = LOG_END_SIZE_BYTES;
  for (let at = bytes.byteLength - 1; at >= 0; at--) {
    if (bytes[at] !== 0) left -= 1;
    if (left === 0) return at;
  }
  return 0;
}
