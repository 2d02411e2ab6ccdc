/** The layout of a data directory, and how it is formatted: once, before a node first starts. */
import { HoldfastError } from '@holdfast/base';
import { TEMPORARY_SUFFIX } from './atomic-file.ts';
import { isLockFileName } from './data-lock.ts';
import type { FileSystem } from './fs.ts';
import { joinPath } from './fs.ts';
import type { NodeIdentity } from './identity.ts';
import {
  IDENTITY_FILE_NAME,
  identitiesEqual,
  identityPath,
  readIdentity,
  writeIdentity,
} from './identity.ts';

export const WAL_DIRECTORY_NAME = 'wal';
export const META_DIRECTORY_NAME = 'meta';
export const COLLECTIONS_DIRECTORY_NAME = 'collections';
export const QUARANTINE_DIRECTORY_NAME = 'quarantine';
/** Copies of damaged files while they are made whole; removed at every start. */
export const REPAIR_DIRECTORY_NAME = 'repair';

const OWN_DIRECTORIES: readonly string[] = [
  WAL_DIRECTORY_NAME,
  META_DIRECTORY_NAME,
  COLLECTIONS_DIRECTORY_NAME,
  QUARANTINE_DIRECTORY_NAME,
];
/** Made by mkfs at the root of every ext file system; put there before a node joins. */
const HARMLESS_NAMES: readonly string[] = ['lost+found', 'cluster.secret'];

/**
 * Makes the directories and, last, identity.json. A format that was cut off, or the same format
 * again, is completed; anything else that is not empty is refused and left as it is.
 * @throws HoldfastError DATA_DIR_FOREIGN, FILE_CORRUPT (unreadable identity), FILE_IO
 */
export function formatDataDirectory(
  fileSystem: FileSystem,
  dataDirectory: string,
  identity: NodeIdentity,
): void {
  if (fileSystem.exists(dataDirectory)) refuseForeign(fileSystem, dataDirectory, identity);
  fileSystem.makeDirectory(dataDirectory);
  for (const name of OWN_DIRECTORIES) fileSystem.makeDirectory(joinPath(dataDirectory, name));
  writeIdentity(fileSystem, dataDirectory, identity);
}

function refuseForeign(fileSystem: FileSystem, directory: string, identity: NodeIdentity): void {
  if (!fileSystem.isDirectory(directory)) throw foreign(directory, 'is not a directory');
  if (fileSystem.exists(identityPath(directory))) {
    const found = readIdentity(fileSystem, directory);
    if (identitiesEqual(found, identity)) return;
    throw foreign(directory, `belongs to node ${found.nodeId} of cluster ${found.clusterId}`);
  }
  for (const name of fileSystem.list(directory)) {
    const isOwn = OWN_DIRECTORIES.includes(name) && isEmpty(fileSystem, joinPath(directory, name));
    const isLeftover = name === `${IDENTITY_FILE_NAME}${TEMPORARY_SUFFIX}` || isLockFileName(name);
    if (isOwn || isLeftover || HARMLESS_NAMES.includes(name)) continue;
    throw foreign(directory, `has no identity but holds "${name}"`);
  }
}

const isEmpty = (fileSystem: FileSystem, path: string): boolean =>
  fileSystem.isDirectory(path) && fileSystem.list(path).length === 0;

function foreign(directory: string, what: string): HoldfastError {
  const message = `${directory} ${what}: choose an empty directory`;
  return new HoldfastError('DATA_DIR_FOREIGN', message, { details: { directory, what } });
}
