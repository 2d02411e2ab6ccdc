/**
 * The root of a node's durable state: one small file names the meta file and every shard manifest
 * of one checkpoint, so one rename moves all of them together. Generations before stay as
 * CHECKPOINT.previous, CHECKPOINT.previous-2, ..., so that a damaged root, or a damaged file that
 * it names, can be left without losing the node. The first one stands under both names.
 *
 * Rules for the caller: every file named by a root is durable before the root is written; files
 * named by any generation are kept; the log is compacted at most to the index of the oldest one, so
 * that falling back to it leaves no gap. What a generation is, its number says and not its file
 * name: a crash while they are moved on may leave a gap in the names, or one root under two.
 */
import type { SnapshotMeta } from '@holdfast/base';
import { assert, failpoint, HoldfastError } from '@holdfast/base';
import { writeAtomicFile } from './atomic-file.ts';
import { readAtomicJson, writeAtomicJson } from './atomic-json.ts';
import type { FileSystem } from './fs.ts';
import { joinPath, readWholeFile } from './fs.ts';
import { JsonFields } from './json-shape.ts';
import { snapshotFromJson, snapshotToJson } from './snapshot-json.ts';

export const CHECKPOINT_FILE_NAME = 'CHECKPOINT';
export const CHECKPOINT_PREVIOUS_FILE_NAME = 'CHECKPOINT.previous';
/** The newest and those before it. */
export const CHECKPOINT_GENERATION_COUNT_MAX = 10;
export const CHECKPOINT_GENERATION_COUNT_MIN = 2;
const ROOT_NAME_PATTERN = /^CHECKPOINT(\.previous(-\d+)?)?$/;
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

export interface CheckpointRoots {
  /** Every readable generation once, newest first. */
  readonly roots: readonly CheckpointRoot[];
  /** Root files that are there and cannot be read. */
  readonly damages: readonly { readonly name: string; readonly error: HoldfastError }[];
}

type Attempt =
  | { readonly kind: 'root'; readonly root: CheckpointRoot }
  | { readonly kind: 'missing' }
  | { readonly kind: 'damaged'; readonly error: HoldfastError };

/** Names of the root files that exist, newest first if no crash came between. */
export function checkpointRootNames(
  fileSystem: FileSystem,
  dataDirectory: string,
): readonly string[] {
  const names = fileSystem.list(dataDirectory).filter((name) => ROOT_NAME_PATTERN.test(name));
  return names.sort((left, right) => checkpointRootAge(left) - checkpointRootAge(right));
}

/** 0 for CHECKPOINT, 1 for CHECKPOINT.previous, then what the name says. */
export const checkpointRootAge = (name: string): number =>
  name === CHECKPOINT_FILE_NAME ? 0 : Number(name.split('-')[1] ?? 1);

const nameOfAge = (age: number): string =>
  age === 1 ? CHECKPOINT_PREVIOUS_FILE_NAME : `${CHECKPOINT_PREVIOUS_FILE_NAME}-${age}`;

/**
 * All generations that there are. Reads only.
 * @throws HoldfastError FORMAT_UNKNOWN, FILE_IO
 */
export function readCheckpointRoots(
  fileSystem: FileSystem,
  dataDirectory: string,
): CheckpointRoots {
  const byGeneration = new Map<number, CheckpointRoot>();
  const damages: { name: string; error: HoldfastError }[] = [];
  for (const name of checkpointRootNames(fileSystem, dataDirectory)) {
    const attempt = attemptRead(fileSystem, joinPath(dataDirectory, name));
    if (attempt.kind === 'damaged') damages.push({ name, error: attempt.error });
    if (attempt.kind === 'root') byGeneration.set(attempt.root.generation, attempt.root);
  }
  const roots = [...byGeneration.values()].sort((a, b) => b.generation - a.generation);
  return { roots, damages };
}

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
  const { roots, damages } = readCheckpointRoots(fileSystem, dataDirectory);
  const root = roots[0];
  if (root === undefined && damages.length === 0) return null;
  const damage = describe(dataDirectory, current, damages);
  if (root === undefined) throw damage;
  return { root, source: 'previous', damage };
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
    keepSecondCopy(fileSystem, dataDirectory);
  }
  return found;
}

/**
 * A generation that is alone stands under two names: without any root a node knows neither its
 * state nor, if it has joined later, its peers.
 */
function keepSecondCopy(fileSystem: FileSystem, dataDirectory: string): void {
  const previousPath = joinPath(dataDirectory, CHECKPOINT_PREVIOUS_FILE_NAME);
  if (attemptRead(fileSystem, previousPath).kind === 'root') return;
  const path = joinPath(dataDirectory, CHECKPOINT_FILE_NAME);
  writeAtomicFile(fileSystem, previousPath, [readWholeFile(fileSystem, path)]);
}

/**
 * Makes `root` the newest generation, atomically and durably; valid ones before are kept, at most
 * `generationCount` in all.
 * @throws HoldfastError FILE_IO: stop, do not retry
 */
export function writeCheckpointRoot(
  fileSystem: FileSystem,
  dataDirectory: string,
  root: CheckpointRoot,
  generationCount: number = CHECKPOINT_GENERATION_COUNT_MIN,
): void {
  assert(
    generationCount >= CHECKPOINT_GENERATION_COUNT_MIN &&
      generationCount <= CHECKPOINT_GENERATION_COUNT_MAX,
    'the number of generations must be possible',
    { generationCount },
  );
  const path = joinPath(dataDirectory, CHECKPOINT_FILE_NAME);
  const current = attemptRead(fileSystem, path);
  if (current.kind === 'root') {
    const { generation } = current.root;
    assert(root.generation > generation, 'checkpoint generation must grow', {
      generation,
      next: root.generation,
    });
    failpoint('root.before-previous');
    moveOlderOn(fileSystem, dataDirectory, generationCount);
    const previousPath = joinPath(dataDirectory, CHECKPOINT_PREVIOUS_FILE_NAME);
    writeAtomicFile(fileSystem, previousPath, [readWholeFile(fileSystem, path)]);
  }
  const body = checkpointRootToJson(root);
  failpoint('root.before-current');
  writeAtomicJson(fileSystem, path, CHECKPOINT_FORMAT, body);
  failpoint('root.after-current');
  keepSecondCopy(fileSystem, dataDirectory);
}

/** Makes room for one more: each older root gets the next name, the oldest ones go. */
function moveOlderOn(fileSystem: FileSystem, dataDirectory: string, generationCount: number): void {
  const pathOf = (name: string): string => joinPath(dataDirectory, name);
  let hasChanged = false;
  for (const name of [...checkpointRootNames(fileSystem, dataDirectory)].reverse()) {
    const age = checkpointRootAge(name);
    const isLast = age + 1 >= generationCount;
    // CHECKPOINT itself is copied, and the only one before it is overwritten.
    if (age === 0 || (isLast && age === 1)) continue;
    if (isLast) fileSystem.remove(pathOf(name));
    else fileSystem.rename(pathOf(name), pathOf(nameOfAge(age + 1)));
    hasChanged = true;
  }
  if (hasChanged) fileSystem.syncDirectory(dataDirectory);
}

/**
 * Writes `root`, which is the newest generation, once more: its file has rot. The generations
 * before stay as they are. @throws HoldfastError FILE_IO: stop, do not retry
 */
export function rewriteCheckpointRoot(
  fileSystem: FileSystem,
  dataDirectory: string,
  root: CheckpointRoot,
): void {
  const body = checkpointRootToJson(root);
  const path = joinPath(dataDirectory, CHECKPOINT_FILE_NAME);
  writeAtomicJson(fileSystem, path, CHECKPOINT_FORMAT, body);
}

/** Relative paths of every file that a readable generation names; all others may be removed. */
export function referencedFiles(
  fileSystem: FileSystem,
  dataDirectory: string,
): ReadonlySet<string> {
  const files = new Set<string>();
  for (const root of readCheckpointRoots(fileSystem, dataDirectory).roots) {
    files.add(root.metaFile.path);
    for (const shard of root.shards) files.add(shard.manifestPath);
  }
  return files;
}

function attemptRead(fileSystem: FileSystem, path: string): Attempt {
  if (!fileSystem.exists(path)) return { kind: 'missing' };
  try {
    const body = readAtomicJson(fileSystem, path, CHECKPOINT_FORMAT);
    return { kind: 'root', root: checkpointRootFromJson(new JsonFields(path, body)) };
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

/** A root as it is stored, wherever that is. */
export const checkpointRootToJson = (root: CheckpointRoot): Record<string, unknown> => ({
  ...root,
  meta: snapshotToJson(root.meta),
});

/** @throws HoldfastError FILE_CORRUPT naming the field */
export function checkpointRootFromJson(fields: JsonFields): CheckpointRoot {
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

function describe(
  directory: string,
  current: Attempt,
  damages: CheckpointRoots['damages'],
): HoldfastError {
  const states = damages.map(({ name, error }) => `${name}: ${error.message}`);
  if (current.kind === 'missing') states.unshift(`${CHECKPOINT_FILE_NAME}: missing`);
  return new HoldfastError(
    'CHECKPOINT_CORRUPT',
    `checkpoint of ${directory} is damaged: ${states.join('; ')}`,
    {
      details: { directory, files: damages.map(({ name }) => name) },
      ...(current.kind === 'damaged' ? { cause: current.error } : {}),
    },
  );
}
