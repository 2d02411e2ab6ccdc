/**
 * Holds the files of one checkpoint while they are backed up: every file gets a second name below
 * `<data>/backup/<backup id>/`, which no clean-up of checkpoints looks at. No bytes are copied. The
 * names are taken away at the end, and at every start, since a crash leaves them.
 */
import { failpoint } from '@holdfast/base';
import { checkpointFiles } from '@holdfast/shard-worker';
import type { BackupFileKind, CheckpointRoot, FileSystem } from '@holdfast/storage';
import { joinPath, parentDirectory } from '@holdfast/storage';
import { manifestReferences } from '../replica/checkpointer.ts';
import type { Pause } from '../replica/slices.ts';

export const BACKUP_DIRECTORY_NAME = 'backup';
/** Giving a file a name takes some 10 microseconds. */
const LINKS_PER_SLICE = 32;

export interface PinnedFile {
  /** Relative to the data directory. */
  readonly path: string;
  /** Under its second name. */
  readonly fullPath: string;
  readonly kind: BackupFileKind;
  /** What the checkpoint names it by (ChecksummedFileFacts.checksum). */
  readonly checksum: string;
  readonly sizeBytes: number;
}

export interface PinnedCheckpoint {
  readonly root: CheckpointRoot;
  /** Laid out as a data directory: paths of the root lead to its files from here. */
  readonly directory: string;
  /** Ordered by path, the meta file included. */
  readonly files: readonly PinnedFile[];
  readonly sizeBytes: number;
  /** Takes the second names away. @throws HoldfastError FILE_IO; the next start does it then */
  release(): void;
}

export interface PinOptions {
  readonly fileSystem: FileSystem;
  readonly dataDirectory: string;
  readonly pause: Pause;
}

/**
 * The files of `root` must stay until this settles: see Checkpointer.pin. `name` is new, and a
 * part of a path.
 * @throws HoldfastError CHECKPOINT_CORRUPT, FORMAT_UNKNOWN, FILE_IO; nothing is left behind
 */
export async function pinCheckpoint(
  options: PinOptions,
  name: string,
  root: CheckpointRoot,
): Promise<PinnedCheckpoint> {
  const { fileSystem, dataDirectory } = options;
  const directory = joinPath(dataDirectory, BACKUP_DIRECTORY_NAME, name);
  failpoint('backup.before-pins');
  fileSystem.makeDirectory(directory);
  try {
    const files = await linkFiles(options, directory, root);
    const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
    failpoint('backup.after-pins');
    const release = (): void => fileSystem.removeTree(directory);
    return { root, directory, files, sizeBytes, release };
  } catch (error) {
    fileSystem.removeTree(directory);
    throw error;
  }
}

/** Called at a start, before anything is backed up: what a crash has left. */
export function removePins(fileSystem: FileSystem, dataDirectory: string): void {
  fileSystem.removeTree(joinPath(dataDirectory, BACKUP_DIRECTORY_NAME));
}

async function linkFiles(
  { fileSystem, dataDirectory, pause }: PinOptions,
  directory: string,
  root: CheckpointRoot,
): Promise<readonly PinnedFile[]> {
  const listed = [
    ...checkpointFiles(fileSystem, dataDirectory, manifestReferences(root)),
    { kind: 'meta' as const, ...root.metaFile },
  ].sort((left, right) => (left.path < right.path ? -1 : 1));
  const made = new Set<string>();
  const files: PinnedFile[] = [];
  for (const { kind, path, checksum } of listed) {
    const fullPath = joinPath(directory, path);
    const parent = parentDirectory(fullPath);
    if (!made.has(parent)) fileSystem.makeDirectory(parent);
    made.add(parent);
    fileSystem.link(joinPath(dataDirectory, path), fullPath);
    files.push({ path, fullPath, kind, checksum, sizeBytes: fileSystem.sizeBytes(fullPath) });
    if (files.length % LINKS_PER_SLICE === 0) await pause();
  }
  return files;
}
