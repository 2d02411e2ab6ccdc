/**
 * Which files checkpoints need, whether they are what they must be, and the removal of all others.
 * The removal reads the manifests first, so a manifest that cannot be read removes nothing.
 */
import { HoldfastError, must } from '@holdfast/base';
import type { FileSystem, Steps } from '@holdfast/storage';
import { digestSteps, joinPath, verifyChecksummedFile } from '@holdfast/storage';
import { isGraphFileName } from '../graph-cache/files.ts';
import type { ShardManifestReference } from '../tasks.ts';
import type { CheckpointFile, FileDamage } from './file-damage.ts';
import { asDamage, isDamage } from './file-damage.ts';
import type { LoadedManifest, ShardManifest } from './manifest.ts';
import { readManifest } from './manifest.ts';
import { COLLECTIONS_DIRECTORY, isOwnFileName } from './paths.ts';

/**
 * Every file the given checkpoint needs, manifests included, ordered by path: the one list.
 * @throws HoldfastError CHECKPOINT_CORRUPT, FORMAT_UNKNOWN, FILE_IO
 */
export function checkpointFiles(
  fs: FileSystem,
  dataDirectory: string,
  references: readonly ShardManifestReference[],
): readonly CheckpointFile[] {
  const files = new Map<string, CheckpointFile>();
  for (const reference of references) {
    const { manifest } = readManifest(fs, dataDirectory, reference);
    for (const file of shardFiles(reference, manifest)) files.set(file.path, file);
  }
  return [...files.keys()].sort().map((path) => must(files.get(path)));
}

/** Of one shard: its manifest first, then the files that it names. */
function shardFiles(
  reference: ShardManifestReference,
  manifest: ShardManifest,
): readonly CheckpointFile[] {
  const { uid, shard } = reference;
  const { growing, segments } = manifest;
  const files: CheckpointFile[] = [manifestFile(reference)];
  for (const { ordinal, path, checksum, sizeBytes } of segments)
    files.push({ kind: 'segment', uid, shard, ordinal, path, checksum, sizeBytes });
  if (growing.file !== null)
    files.push({ kind: 'growing', uid, shard, ordinal: null, ...growing.file });
  return files;
}

export function manifestFile(reference: ShardManifestReference): CheckpointFile {
  const { uid, shard, manifestPath: path, checksum } = reference;
  return { kind: 'manifest', uid, shard, ordinal: null, path, checksum, sizeBytes: null };
}

/**
 * Verifies every file of a checkpoint without loading it: each block, and the checksum of the whole
 * file against the one it is named by, so that an old or a foreign file is found as well. Steps of
 * about a megabyte; the result lists every damage.
 * @throws HoldfastError FORMAT_UNKNOWN, FILE_IO (other than a refused read)
 */
export function* verifyCheckpoint(
  fs: FileSystem,
  dataDirectory: string,
  references: readonly ShardManifestReference[],
): Steps<readonly FileDamage[]> {
  const damages: FileDamage[] = [];
  for (const reference of references) {
    try {
      const loaded = readManifest(fs, dataDirectory, reference);
      damages.push(...(yield* verifyShardFiles(fs, dataDirectory, reference, loaded)));
    } catch (error) {
      if (!isDamage(error)) throw error;
      damages.push(...manifestDamages(fs, dataDirectory, reference, error));
    }
    yield;
  }
  return damages;
}

/** Where a manifest that could not be read with `error` is wrong. At least one. */
export function manifestDamages(
  fs: FileSystem,
  dataDirectory: string,
  reference: ShardManifestReference,
  error: HoldfastError,
): readonly FileDamage[] {
  const file = manifestFile(reference);
  const path = joinPath(dataDirectory, file.path);
  const blocks = fs.exists(path) ? verifyChecksummedFile(fs, path) : [];
  if (blocks.length === 0) return [asDamage(file, error)];
  return blocks.map(({ offset, what }) => ({ ...file, offset, what }));
}

/** As `verifyCheckpoint`, for the files that one manifest names. */
export function* verifyShardFiles(
  fs: FileSystem,
  dataDirectory: string,
  reference: ShardManifestReference,
  { manifest }: LoadedManifest,
): Steps<readonly FileDamage[]> {
  const damages: FileDamage[] = [];
  for (const file of shardFiles(reference, manifest)) {
    if (file.kind !== 'manifest') damages.push(...(yield* verifyFile(fs, dataDirectory, file)));
  }
  return damages;
}

function* verifyFile(
  fs: FileSystem,
  dataDirectory: string,
  file: CheckpointFile,
): Steps<readonly FileDamage[]> {
  const path = joinPath(dataDirectory, file.path);
  if (!fs.exists(path)) return [{ ...file, offset: null, what: 'it is missing' }];
  try {
    if ((yield* digestSteps(fs, path)) === file.checksum) return [];
  } catch (error) {
    if (!isDamage(error)) throw error;
  }
  const blocks = verifyChecksummedFile(fs, path).map(({ offset, what }) => ({
    ...{ ...file, offset, what },
  }));
  if (blocks.length > 0) return blocks;
  return [{ ...file, offset: null, what: 'it is not the file that the checkpoint names' }];
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
  const hasManifest = [...kept].some((path) => path.startsWith(`${directory}/`));
  for (const name of fs.list(joinPath(dataDirectory, directory))) {
    const path = `${directory}/${name}`;
    // A saved graph goes with its shard: no manifest of the folder is needed any more.
    const isOrphan = isGraphFileName(name) && !hasManifest;
    if (kept.has(path) || !(isOwnFileName(name) || isOrphan)) continue;
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
