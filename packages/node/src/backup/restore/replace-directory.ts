/**
 * A restore into the place of a directory that holds data: laid beside it, and swapped in when it
 * is complete. Until then nothing of what was there is touched; afterwards it is all there, under a
 * name that says which plan took its place.
 */
import { HoldfastError } from '@holdfast/base';
import type { FileSystem } from '@holdfast/storage';
import type { LaidDirectory, LayOptions } from './lay-directory.ts';
import { layDirectory } from './lay-directory.ts';
import { restorePlanDigest } from './restore-plan.ts';
import { readRestored } from './restored-record.ts';
import { readRestoring } from './restoring-marker.ts';
import { swapDirectory } from './swap-directory.ts';

export interface ReplacedDirectory {
  /** Null: an earlier call had laid it. */
  readonly laid: LaidDirectory | null;
  /** Where what was there is now; null: nothing was there. */
  readonly aside: string | null;
}

/** Enough to tell plans apart. */
const NAME_DIGEST_LENGTH = 16;

/** Beside `directory`, on the same file system. */
export const restoredPathOf = (directory: string): string => `${directory}.restored`;

/** What was in `directory` before this plan. */
export const asidePathOf = (directory: string, planDigest: string): string =>
  `${directory}.before-${planDigest.slice(0, NAME_DIGEST_LENGTH)}`;

/**
 * The directory must be locked against nodes by the caller. Called again after a failure or a crash
 * it goes on, and when all was done it does nothing.
 * @throws HoldfastError as layDirectory does; DATA_DIR_FOREIGN when a name that it needs is taken
 */
export async function replaceDirectory(options: LayOptions): Promise<ReplacedDirectory> {
  const { directory, fileSystem, nodeId, plan } = options;
  const planDigest = restorePlanDigest(plan);
  const restored = restoredPathOf(directory);
  const aside = asidePathOf(directory, planDigest);
  const isOurs = (path: string): boolean => isLaid(fileSystem, path, { nodeId, planDigest });
  const isAside = fileSystem.exists(aside);
  if (isAside && !fileSystem.exists(restored)) {
    if (isOurs(directory)) return { laid: null, aside };
    throw foreign(aside, directory);
  }
  const laid = isOurs(restored) ? null : await layDirectory({ ...options, directory: restored });
  const isReplacing = isAside || fileSystem.exists(directory);
  swapDirectory({ fileSystem, restored, dataDirectory: directory, aside });
  return { laid, aside: isReplacing ? aside : null };
}

interface Owner {
  readonly nodeId: string;
  readonly planDigest: string;
}

/** Complete, by this plan, for this node. */
function isLaid(fileSystem: FileSystem, path: string, { nodeId, planDigest }: Owner): boolean {
  if (!fileSystem.exists(path) || readRestoring(fileSystem, path) !== null) return false;
  const record = readRestored(fileSystem, path);
  return record?.planDigest === planDigest && record.nodeId === nodeId;
}

const foreign = (aside: string, directory: string): HoldfastError =>
  new HoldfastError(
    'DATA_DIR_FOREIGN',
    `${aside} is there, and ${directory} is not what this plan made: move one of them away`,
    { details: { directory: aside } },
  );
