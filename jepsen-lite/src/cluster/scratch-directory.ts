/**
 * Where test clusters keep their data: never on tmpfs, because an fdatasync that costs nothing and
 * a "disk" that is memory would make every durability figure a lie.
 */
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Set by whoever wants the data on a certain disk. */
export const SCRATCH_VARIABLE = 'HOLDFAST_TEST_DIRECTORY';
const MEMORY_FILE_SYSTEMS: readonly string[] = ['tmpfs', 'ramfs', 'devtmpfs'];

/** Type of the file system that holds `path`, as /proc/mounts names it; 'unknown' elsewhere. */
export function fileSystemTypeOf(path: string): string {
  if (!existsSync('/proc/mounts')) return 'unknown';
  return fileSystemTypeIn(readFileSync('/proc/mounts', 'utf8'), realpathSync(path));
}

/** Pure: the type of the longest mount point that is a prefix of `path`. */
export function fileSystemTypeIn(mountTable: string, path: string): string {
  let best = { mountPoint: '', type: 'unknown' };
  for (const line of mountTable.split('\n')) {
    const [, rawMountPoint, type] = line.split(' ');
    if (rawMountPoint === undefined || type === undefined) continue;
    // The kernel writes a blank in a mount point as \040.
    const mountPoint = rawMountPoint.replaceAll('\\040', ' ');
    const prefix = mountPoint.endsWith('/') ? mountPoint : `${mountPoint}/`;
    const isHolder = path === mountPoint || path.startsWith(prefix);
    // Equal length: the later mount hides the earlier one.
    if (isHolder && mountPoint.length >= best.mountPoint.length) best = { mountPoint, type };
  }
  return best.type;
}

export const isMemoryFileSystem = (type: string): boolean => MEMORY_FILE_SYSTEMS.includes(type);

/**
 * Makes an empty directory on a real disk.
 * @throws Error when every candidate is in memory; it names the variable to set
 */
export function makeScratchDirectory(prefix: string): string {
  const candidates = [process.env[SCRATCH_VARIABLE], tmpdir(), '/var/tmp', process.cwd()];
  for (const candidate of candidates) {
    if (candidate === undefined || candidate === '' || !existsSync(candidate)) continue;
    if (isMemoryFileSystem(fileSystemTypeOf(candidate))) continue;
    return mkdtempSync(join(candidate, `holdfast-${prefix}-`));
  }
  throw new Error(
    `${tmpdir()} and /var/tmp are in memory; set ${SCRATCH_VARIABLE} to a directory on a disk`,
  );
}

export function removeScratchDirectory(path: string): void {
  rmSync(path, { recursive: true, force: true, maxRetries: 3 });
}
