/**
 * A second copy of who owns the directory, so that rot of one small file does not cost a node its
 * life. Written at every start; used only when identity.json is unreadable, or gone from a
 * directory that was in use. A new life moves the copy away before anything else, and is completed
 * before this is asked, so that a copy never brings a life back that was ended.
 */
import type { Logger } from '@holdfast/base';
import { toHoldfastError } from '@holdfast/base';
import type { FileSystem, NodeIdentity } from '@holdfast/storage';
import {
  CHECKPOINT_FILE_NAME,
  IDENTITY_FILE_NAME,
  identitiesEqual,
  joinPath,
  listWalFiles,
  readIdentity,
  WAL_DIRECTORY_NAME,
  writeIdentity,
} from '@holdfast/storage';

/** A folder of its own: the file in it has the name and the format of the first. */
export const IDENTITY_COPY_DIRECTORY = 'identity-copy';
export const IDENTITY_COPY_PATH = `${IDENTITY_COPY_DIRECTORY}/${IDENTITY_FILE_NAME}`;

/** With the directory locked, once the identity was read. @throws HoldfastError FILE_IO */
export function keepIdentityCopy(
  fileSystem: FileSystem,
  dataDirectory: string,
  identity: NodeIdentity,
): void {
  const directory = joinPath(dataDirectory, IDENTITY_COPY_DIRECTORY);
  const known = readOrNull(fileSystem, directory);
  if (known !== null && identitiesEqual(known, identity)) return;
  fileSystem.makeDirectory(directory);
  writeIdentity(fileSystem, directory, identity);
}

/** Puts identity.json back from the copy when it has rot. Returns whether it did. */
export function restoreIdentity(
  fileSystem: FileSystem,
  dataDirectory: string,
  logger: Logger,
): boolean {
  if (!isIdentityDamaged(fileSystem, dataDirectory)) return false;
  const copy = readOrNull(fileSystem, joinPath(dataDirectory, IDENTITY_COPY_DIRECTORY));
  if (copy === null) return false;
  writeIdentity(fileSystem, dataDirectory, copy);
  logger.error({ nodeId: copy.nodeId }, 'identity.json was damaged; its copy took its place');
  return true;
}

/** True: identity.json cannot be read, or is gone from a directory that was in use. */
export function isIdentityDamaged(fileSystem: FileSystem, dataDirectory: string): boolean {
  if (!fileSystem.exists(dataDirectory)) return false;
  try {
    readIdentity(fileSystem, dataDirectory);
    return false;
  } catch (thrown) {
    const { code } = toHoldfastError(thrown);
    if (code === 'FILE_CORRUPT') return true;
    return code === 'DATA_DIR_EMPTY' && isInUse(fileSystem, dataDirectory);
  }
}

/** A directory that was only formatted has no log yet. */
function isInUse(fileSystem: FileSystem, dataDirectory: string): boolean {
  if (fileSystem.exists(joinPath(dataDirectory, CHECKPOINT_FILE_NAME))) return true;
  const wal = joinPath(dataDirectory, WAL_DIRECTORY_NAME);
  return fileSystem.exists(wal) && listWalFiles(fileSystem, wal).length > 0;
}

function readOrNull(fileSystem: FileSystem, directory: string): NodeIdentity | null {
  try {
    return readIdentity(fileSystem, directory);
  } catch (thrown) {
    const { code } = toHoldfastError(thrown);
    if (code !== 'FILE_CORRUPT' && code !== 'DATA_DIR_EMPTY') throw thrown;
    return null;
  }
}
