/**
 * Whether the product lets go of a file before it looked at it: then nobody will say a word about
 * the damage. Of a file that was deleted this shows only in what is left of its kind. Pure.
 */
import { factsOf } from './file-kinds.ts';
import type { Injury } from './injuries.ts';

export interface SeenFiles {
  /** Null when there is no such file. */
  readonly inodeOf: (path: string) => number | null;
  /** Empty when there is none. */
  readonly oldestLogPath: () => string;
  /** New checkpoints since the damage. */
  readonly rootChanges: number;
}

/** Generations of checkpoints that are kept: after so many new ones a file is of none. */
const GENERATION_COUNT = 2;

export function isLetGo(injury: Injury, seen: SeenFiles): boolean {
  const { damage, fileKind, inode, path } = injury;
  const found = seen.inodeOf(path);
  if (damage !== 'delete') return found !== inode;
  if (found !== null) return true;
  if (factsOf(fileKind).replacedWith === 'checkpoint') return seen.rootChanges >= GENERATION_COUNT;
  // Both files of a generation go together, and neither is named by anything else.
  if (fileKind === 'graph') return seen.inodeOf(twinOf(path)) === null;
  return fileKind === 'wal' && path < seen.oldestLogPath();
}

/** A saved graph and its sidecar. */
const twinOf = (path: string): string =>
  path.endsWith('.json') ? path.replace(/\.json$/, '.graph') : path.replace(/\.graph$/, '.json');
