/**
 * Puts a complete restored directory where a node looks for its data. What was there is moved aside
 * by a rename, never removed: at each moment there is the old directory, or none, or the new one
 * under the name, and each of them is whole.
 */
import { failpoint, HoldfastError } from '@holdfast/base';
import type { FileSystem } from '@holdfast/storage';
import { parentDirectory } from '@holdfast/storage';
import { refuseRestoring } from './restoring-marker.ts';

export interface SwapOptions {
  readonly fileSystem: FileSystem;
  /** Laid by layDirectory, on the same file system as `dataDirectory`. */
  readonly restored: string;
  readonly dataDirectory: string;
  /** Where what is there now goes; not there itself. */
  readonly aside: string;
}

/**
 * The directory must be locked by no node. Called again after a crash it completes the swap.
 * @throws HoldfastError RECOVERY_UNFINISHED (the restored one is not complete), DATA_DIR_FOREIGN,
 *   FILE_IO
 */
export function swapDirectory({ aside, dataDirectory, fileSystem, restored }: SwapOptions): void {
  if (!fileSystem.exists(restored)) {
    if (fileSystem.exists(dataDirectory) && fileSystem.exists(aside)) return;
    throw refuse(restored, 'is not there: restore into it first');
  }
  refuseRestoring(fileSystem, restored);
  const sync = (path: string): void => fileSystem.syncDirectory(parentDirectory(path));
  if (fileSystem.exists(dataDirectory)) {
    if (fileSystem.exists(aside)) throw refuse(aside, 'is there already: choose another name');
    failpoint('restore.before-aside');
    fileSystem.rename(dataDirectory, aside);
    sync(dataDirectory);
    sync(aside);
  }
  failpoint('restore.before-swap');
  fileSystem.rename(restored, dataDirectory);
  failpoint('restore.after-swap');
  sync(restored);
  sync(dataDirectory);
}

const refuse = (directory: string, what: string): HoldfastError =>
  new HoldfastError('DATA_DIR_FOREIGN', `${directory} ${what}`, { details: { directory } });
