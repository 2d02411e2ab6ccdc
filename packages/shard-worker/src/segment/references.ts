/**
 * Which files checkpoints need, and the removal of all others. Both read the manifests first, so a
 * manifest that cannot be read removes nothing.
 */
import { HoldfastError, must } from '@holdfast/base';
import type { FileSystem } from '@holdfast/storage';
import { joinPath } from '@holdfast/storage';
import type { ShardManifestReference } from '../tasks.ts';
import { readManifest } from './manifest.ts';
import { COLLECTIONS_DIRECTORY, isOwnFileName } from './paths.ts';

/** A file with the checksum that the checkpoint names it by (ChecksummedFileFacts.checksum). */
export interface CheckpointFile {
  /** Relative to the data directory. */
  readonly path: string;
  readonly checksum: string;
}

/**
 * Every file the given checkpoint needs, manifests included, ordered by path.
 * @throws HoldfastError CHECKPOINT_CORRUPT, FORMAT_UNKNOWN, FILE_IO
 */
export function checkpointFiles(
  fs: FileSystem,
  dataDirectory: string,
  references: readonly ShardManifestReference[],
): readonly CheckpointFile[] {
  const files = new Map<string, string>();
  for (const reference of references) {
    const { manifest } = readManifest(fs, dataDirectory, reference);
    files.set(reference.manifestPath, reference.checksum);
    for (const segment of manifest.segments) files.set(segment.path, segment.checksum);
    const { file } = manifest.growing;
    if (file !== null) files.set(file.path, file.checksum);
  }
  return [...files.keys()].sort().map((path) => ({ path, checksum: must(files.get(path)) }));
}

/** The paths of `checkpointFiles`. */
export function manifestFiles(
  fs: FileSystem,
  dataDirectory: string,
  references: readonly ShardManifestReference[],
): string[] {
  return checkpointFiles(fs, dataDirectory, references).map(({ path }) => path);
}

/**
 * Removes every file of shards that no manifest in `references` reaches, and folders left empty.
 * Pass the manifests of every checkpoint that may still be opened (both generations of the root),
 * and do not call it while a lane writes a checkpoint. Returns what was removed.
 * @throws HoldfastError CHECKPOINT_CORRUPT, FORMAT_UNKNOWN, FILE_IO; nothing was removed when a
 *   manifest could not be read
 */
export function removeUnreferenced(
  fs: FileSystem,
  dataDirectory: string,
  references: readonly ShardManifestReference[],
): string[] {
  const kept = new Set(manifestFiles(fs, dataDirectory, references));
  const removed: string[] = [];
  const root = joinPath(dataDirectory, COLLECTIONS_DIRECTORY);
  if (!fs.exists(root)) return removed;
  for (const uid of fs.list(root)) {
    const collection = `${COLLECTIONS_DIRECTORY}/${uid}`;
    if (!isDirectory(fs, dataDirectory, collection)) continue;
    for (const shard of fs.list(joinPath(dataDirectory, collection))) {
      const directory = `${collection}/${shard}`;
      if (!isDirectory(fs, dataDirectory, directory)) continue;
      removeIn(fs, dataDirectory, directory, kept, removed);
    }
    removeIfEmpty(fs, dataDirectory, collection);
  }
  return removed;
}

function removeIn(
  fs: FileSystem,
  dataDirectory: string,
  directory: string,
  kept: ReadonlySet<string>,
  removed: string[],
): void {
  const before = removed.length;
  for (const name of fs.list(joinPath(dataDirectory, directory))) {
    const path = `${directory}/${name}`;
    if (kept.has(path) || !isOwnFileName(name)) continue;
    fs.remove(joinPath(dataDirectory, path));
    removed.push(path);
  }
  if (removed.length > before) fs.syncDirectory(joinPath(dataDirectory, directory));
  removeIfEmpty(fs, dataDirectory, directory);
}

function removeIfEmpty(fs: FileSystem, dataDirectory: string, directory: string): void {
  const path = joinPath(dataDirectory, directory);
  if (fs.list(path).length === 0) fs.removeTree(path);
}

function isDirectory(fs: FileSystem, dataDirectory: string, path: string): boolean {
  return fs.isDirectory(joinPath(dataDirectory, path));
}

/** Refuses a set of manifests that names a shard twice: one of them would silently win. */
export function assertUniqueShards(references: readonly ShardManifestReference[]): void {
  const seen = new Set<string>();
  for (const { uid, shard, manifestPath } of references) {
    const key = `${uid}/${shard}`;
    if (seen.has(key))
      throw new HoldfastError(
        'CHECKPOINT_CORRUPT',
        `The checkpoint names shard ${key} twice (${manifestPath}); restore this node.`,
        { details: { uid, shard } },
      );
    seen.add(key);
  }
}
