/**
 * Replacing a file so that a crash leaves the old one or the new one, never a mixture:
 * write a temporary file beside it, fsync, rename over it, fsync the directory.
 * Invariant: when this returns, the new content survives a power cut.
 */
import { failpoint, HoldfastError } from '@holdfast/base';
import type { FileHandle, FileSystem } from './fs.ts';
import { joinPath, parentDirectory } from './fs.ts';

/** What a crash may leave behind; never read, removed at the next start. */
export const TEMPORARY_SUFFIX = '.temporary';

/**
 * Writes `chunks` as the new content of `path`. One writer per path at a time.
 * @throws HoldfastError FILE_IO; the old content is then still in place (or the new one, when only
 *   the last directory sync failed: the caller must stop, not retry)
 */
export function writeAtomicFile(
  fileSystem: FileSystem,
  path: string,
  chunks: Iterable<Uint8Array>,
): void {
  replaceFile(fileSystem, path, (handle) => {
    let position = 0;
    for (const chunk of chunks) {
      handle.write([chunk], position);
      position += chunk.byteLength;
    }
  });
}

/** As writeAtomicFile, for a caller that writes the temporary file itself. */
export function replaceFile<T>(
  fileSystem: FileSystem,
  path: string,
  fill: (handle: FileHandle) => T,
): T {
  const temporaryPath = `${path}${TEMPORARY_SUFFIX}`;
  if (fileSystem.exists(temporaryPath)) fileSystem.remove(temporaryPath);
  const handle = fileSystem.open(temporaryPath, 'createNew');
  let result: T;
  try {
    try {
      result = fill(handle);
      failpoint('file.before-sync');
      handle.sync();
    } finally {
      handle.close();
    }
    failpoint('file.before-rename');
    fileSystem.rename(temporaryPath, path);
  } catch (error) {
    dropTemporary(fileSystem, temporaryPath);
    throw error;
  }
  failpoint('file.after-rename');
  fileSystem.syncDirectory(parentDirectory(path));
  return result;
}

/**
 * After a failure: on a full disk what is left of every attempt would fill it for good. When it
 * cannot be removed either, the failure before counts; the file is removed by the next start.
 */
export function dropTemporary(fileSystem: FileSystem, temporaryPath: string): void {
  try {
    if (fileSystem.exists(temporaryPath)) fileSystem.remove(temporaryPath);
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
  }
}

/** Removes what interrupted replacements left in `directory` (not below it). Returns the names. */
export function removeTemporaryFiles(fileSystem: FileSystem, directory: string): readonly string[] {
  const leftovers = fileSystem.list(directory).filter((name) => name.endsWith(TEMPORARY_SUFFIX));
  for (const name of leftovers) fileSystem.remove(joinPath(directory, name));
  if (leftovers.length > 0) fileSystem.syncDirectory(directory);
  return leftovers;
}
