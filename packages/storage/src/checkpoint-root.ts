/**
 * The root of a node's durable state: one small file names the meta file and every shard manifest
 * of one checkpoint, so one rename moves all of them together. The generation before stays as
 * CHECKPOINT.previous, so that a damaged root can be left without losing the node.
 *
 * Rules for the caller: every file named by a root is durable before the root is written; files
 * named by either generation are kept; the log is compacted at most to the index of the generation
 * before, so that falling back to it leaves no gap.
 */
import type { SnapshotMeta } from '@holdfast/base';
import { assert, HoldfastError } from '@holdfast/base';
import { writeAtomicFile } from './atomic-file.ts';
import { readAtomicJson, writeAtomicJson } from './atomic-json.ts';
import type { FileSystem } from './fs.ts';
import { joinPath, readWholeFile } from './fs.ts';
import { JsonFields } from './json-shape.ts';
import { snapshotFromJson, snapshotToJson } from './snapshot-json.ts';

export const CHECKPOINT_FILE_NAME = 'CHECKPOINT';
export const CHECKPOINT_PREVIOUS_FILE_NAME = 'CHECKPOINT.previous';
const CHECKPOINT_FORMAT = { format: 'holdfast-checkpoint', version: 1 } as const;

/** Paths are relative to the data directory; checksums are those of ChecksummedFileFacts. */
export interface CheckpointMetaFile {
  readonly path: string;
  readonly checksum: string;
  readonly sizeBytes: number;
}

export interface CheckpointShard {
  readonly collectionUid: string;
  readonly shard: number;
  readonly manifestPath: string;
  readonly checksum: string;
}

export interface CheckpointRoot {
  /** Strictly increasing from one checkpoint to the next. */
  readonly generation: number;
  /** Index, term and sum of the last applied entry, the configuration there, and the id. */
  readonly meta: SnapshotMeta;
  readonly metaFile: CheckpointMetaFile;
  readonly shards: readonly CheckpointShard[];
}

export interface FoundCheckpoint {
  readonly root: CheckpointRoot;
  /** `previous` when CHECKPOINT is damaged or missing: tell the operator. */
  readonly source: 'current' | 'previous';
  /** Why CHECKPOINT could not be used, when `source` is `previous`. */
  readonly damage: HoldfastError | null;
}

type Attempt =
  | { readonly kind: 'root'; readonly root: CheckpointRoot }
  | { readonly kind: 'missing' }
  | { readonly kind: 'damaged'; readonly error: HoldfastError };

/**
 * The newest valid generation; null when there was never one. Reads only.
 * @throws HoldfastError CHECKPOINT_CORRUPT (no generation is readable), FORMAT_UNKNOWN, FILE_IO
 */
export function readCheckpointRoot(
  fileSystem: FileSystem,
  dataDirectory: string,
): FoundCheckpoint | null {
  const current = attemptRead(fileSystem, joinPath(dataDirectory, CHECKPOINT_FILE_NAME));
  if (current.kind === 'root') return { root: current.root, source: 'current', damage: null };
  const previousPath = joinPath(dataDirectory, CHECKPOINT_PREVIOUS_FILE_NAME);
  const previous = attemptRead(fileSystem, previousPath);
  if (current.kind === 'missing' && previous.kind === 'missing') return null;
  const damage = describe(dataDirectory, current, previous);
  if (previous.kind !== 'root') throw damage;
  return { root: previous.root, source: 'previous', damage };
}

/**
 * As readCheckpointRoot, and then writes what was found once more: what a process reads after
 * another one died may be in the page cache only. Call once at start, before the root is relied on.
 */
export function recoverCheckpointRoot(
  fileSystem: FileSystem,
  dataDirectory: string,
): FoundCheckpoint | null {
  const found = readCheckpointRoot(fileSystem, dataDirectory);
  if (found?.source === 'current') {
    const path = joinPath(dataDirectory, CHECKPOINT_FILE_NAME);
    writeAtomicFile(fileSystem, path, [readWholeFile(fileSystem, path)]);
  }
  return found;
}

/**
 * Makes `root` the newest generation, atomically and durably; the valid one before is kept.
 * @throws HoldfastError FILE_IO: stop, do not retry
 */
export function writeCheckpointRoot(
  fileSystem: FileSystem,
  dataDirectory: string,
  root: CheckpointRoot,
): void {
  const path = joinPath(dataDirectory, CHECKPOINT_FILE_NAME);
  const current = attemptRead(fileSystem, path);
  if (current.kind === 'root') {
    const { generation } = current.root;
    assert(root.generation > generation, 'checkpoint generation must grow', {
      generation,
      next: root.generation,
    });
    const previousPath = joinPath(dataDirectory, CHECKPOINT_PREVIOUS_FILE_NAME);
    writeAtomicFile(fileSystem, previousPath, [readWholeFile(fileSystem, path)]);
  }
  const body = { ...root, meta: snapshotToJson(root.meta) };
  writeAtomicJson(fileSystem, path, CHECKPOINT_FORMAT, body);
}

/** Relative paths of every file that a readable generation names; all others may be removed. */
export function referencedFiles(
  fileSystem: FileSystem,
  dataDirectory: string,
): ReadonlySet<string> {
  const files = new Set<string>();
  for (const name of [CHECKPOINT_FILE_NAME, CHECKPOINT_PREVIOUS_FILE_NAME]) {
    const attempt = attemptRead(fileSystem, joinPath(dataDirectory, name));
    if (attempt.kind !== 'root') continue;
    files.add(attempt.root.metaFile.path);
    for (const shard of attempt.root.shards) files.add(shard.manifestPath);
  }
  return files;
}

function attemptRead(fileSystem: FileSystem, path: string): Attempt {
  if (!fileSystem.exists(path)) return { kind: 'missing' };
  try {
    const body = readAtomicJson(fileSystem, path, CHECKPOINT_FORMAT);
    return { kind: 'root', root: parseRoot(path, body) };
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'FILE_CORRUPT') throw error;
    return { kind: 'damaged', error };
  }
}

/**
 * One generation by its path; null when there is none.
 * @throws HoldfastError FILE_CORRUPT, FORMAT_UNKNOWN, FILE_IO
 */
export function readCheckpointFile(fileSystem: FileSystem, path: string): CheckpointRoot | null {
  const attempt = attemptRead(fileSystem, path);
  if (attempt.kind === 'damaged') throw attempt.error;
  return attempt.kind === 'root' ? attempt.root : null;
}

function parseRoot(path: string, body: unknown): CheckpointRoot {
  const fields = new JsonFields(path, body);
  const metaFile = fields.object('metaFile');
  return {
    generation: fields.integer('generation'),
    meta: snapshotFromJson(fields.object('meta')),
    metaFile: {
      path: metaFile.text('path'),
      checksum: metaFile.text('checksum'),
      sizeBytes: metaFile.integer('sizeBytes'),
    },
    shards: fields.objects('shards').map((shard) => ({
      collectionUid: shard.text('collectionUid'),
      shard: shard.integer('shard'),
      manifestPath: shard.text('manifestPath'),
      checksum: shard.text('checksum'),
    })),
  };
}

function describe(directory: string, current: Attempt, previous: Attempt): HoldfastError {
  const state = (attempt: Attempt): string =>
    attempt.kind === 'damaged' ? attempt.error.message : attempt.kind;
  const message =
    `checkpoint of ${directory} is damaged: ${CHECKPOINT_FILE_NAME}: ${state(current)}; ` +
    `${CHECKPOINT_PREVIOUS_FILE_NAME}: ${state(previous)}`;
  return new HoldfastError('CHECKPOINT_CORRUPT', message, {
    details: { directory, current: state(current), previous: state(previous) },
    ...(current.kind === 'damaged' ? { cause: current.error } : {}),
  });
}
