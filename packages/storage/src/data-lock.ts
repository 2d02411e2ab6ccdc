/**
 * One running process per data directory. Each process has a lock file of its own, whose name says
 * who it is: `LOCK.<pid>.<start ticks>.<boot id>`. To lock: make yours, then look for others; a
 * living one means refuse (and remove yours), dead ones are removed. Two processes that start at
 * once may both refuse, but never both hold. kill -9 leaves a file that the next start removes.
 *
 * Limits: the holder must be visible in this machine's process table (one pid namespace); a
 * directory on a network file system is not protected against another machine.
 */
import { HoldfastError } from '@holdfast/base';
import type { FileSystem } from './fs.ts';
import { isFileIoError, joinPath } from './fs.ts';
import type { ProcessIdentity, ProcessTable } from './process-table.ts';
import { NodeProcessTable } from './process-table.ts';

const LOCK_NAME_PATTERN = /^LOCK\.(\d+)\.(\d+)\.([0-9a-z]+)$/;

export interface DataLock {
  /** Removes the lock file. Idempotent. */
  release(): void;
}

/**
 * Locks `dataDirectory`, which must exist. Also makes its names durable: an identity or checkpoint
 * renamed by a process that died before its sync is durable after this.
 * @throws HoldfastError DATA_DIR_LOCKED naming the pid, FILE_IO
 */
export function lockDataDirectory(
  fileSystem: FileSystem,
  dataDirectory: string,
  processes: ProcessTable = new NodeProcessTable(),
): DataLock {
  const self = processes.current();
  const ownName = lockName(self);
  const path = joinPath(dataDirectory, ownName);
  createLockFile(fileSystem, dataDirectory, path, self);
  for (const name of fileSystem.list(dataDirectory)) {
    const holder = parseLockName(name);
    if (holder === null || name === ownName) continue;
    if (processes.isAlive(holder)) {
      fileSystem.remove(path);
      throw locked(dataDirectory, holder.pid);
    }
    removeIfPresent(fileSystem, joinPath(dataDirectory, name));
  }
  fileSystem.syncDirectory(dataDirectory);
  let isHeld = true;
  return {
    release() {
      if (!isHeld) return;
      isHeld = false;
      removeIfPresent(fileSystem, path);
    },
  };
}

export const isLockFileName = (name: string): boolean => LOCK_NAME_PATTERN.test(name);

/** The pid of a living holder, or null. Reads only: for tools that need a stopped node. */
export function findLockHolder(
  fileSystem: FileSystem,
  dataDirectory: string,
  processes: ProcessTable = new NodeProcessTable(),
): number | null {
  for (const name of fileSystem.list(dataDirectory)) {
    const holder = parseLockName(name);
    if (holder !== null && processes.isAlive(holder)) return holder.pid;
  }
  return null;
}

const lockName = (self: ProcessIdentity): string =>
  `LOCK.${self.pid}.${self.startTicks}.${self.bootId}`;

function parseLockName(name: string): ProcessIdentity | null {
  const match = LOCK_NAME_PATTERN.exec(name);
  if (match === null) return null;
  const [, pid, startTicks, bootId] = match;
  if (pid === undefined || startTicks === undefined || bootId === undefined) return null;
  return { pid: Number(pid), startTicks, bootId };
}

function createLockFile(
  fileSystem: FileSystem,
  dataDirectory: string,
  path: string,
  self: ProcessIdentity,
): void {
  try {
    fileSystem.open(path, 'createNew').close();
  } catch (error) {
    // Our own name exists: this very process holds the directory already.
    if (isFileIoError(error, 'EEXIST')) throw locked(dataDirectory, self.pid);
    throw error;
  }
}

function removeIfPresent(fileSystem: FileSystem, path: string): void {
  try {
    fileSystem.remove(path);
  } catch (error) {
    // Another starting process removed the same dead lock.
    if (!isFileIoError(error, 'ENOENT')) throw error;
  }
}

function locked(directory: string, pid: number): HoldfastError {
  const message = `${directory} is in use by process ${pid}: stop it or choose another directory`;
  return new HoldfastError('DATA_DIR_LOCKED', message, { details: { directory, pid } });
}
