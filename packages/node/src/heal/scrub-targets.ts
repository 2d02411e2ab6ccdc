/**
 * Everything in a data directory whose bytes must be what they were: which files, and how each is
 * looked at. Read anew for every pass; a file that was let go of meanwhile is no finding.
 */
import { HoldfastError, unreachable } from '@holdfast/base';
import { checkpointFiles } from '@holdfast/shard-worker';
import type { CheckpointRoot, FileFlaw, FileSystem, WalFlaw } from '@holdfast/storage';
import {
  CHECKPOINT_FILE_NAME,
  CHECKPOINT_PREVIOUS_FILE_NAME,
  checkpointRootNames,
  EPOCH_FILE_NAME,
  flaw,
  HARD_STATE_FILE_NAMES,
  IDENTITY_FILE_NAME,
  joinPath,
  listWalFiles,
  parentDirectory,
  readCheckpointFile,
  readHardStateCopies,
  readIdentity,
  readWholeFile,
  scrubBlockFile,
  scrubSmallFile,
  scrubWalFile,
  verifyEpochFile,
  WAL_DIRECTORY_NAME,
  walFileNameOf,
} from '@holdfast/storage';
import { IDENTITY_COPY_PATH } from '../recovery/identity-copy.ts';
import { manifestReferences } from '../replica/checkpointer.ts';

export type BlockFileKind = 'segment' | 'growing' | 'manifest' | 'meta';

/** Paths are relative to the data directory. */
export type ScrubTarget =
  | { readonly kind: BlockFileKind; readonly path: string; readonly checksum: string }
  | { readonly kind: 'wal'; readonly path: string; readonly fileId: number }
  | {
      readonly kind: 'root' | 'previousRoot' | 'identity' | 'identityCopy' | 'epoch' | 'hardState';
      readonly path: string;
    };

export interface ScrubPlace {
  readonly fileSystem: FileSystem;
  readonly dataDirectory: string;
  /** The generations that this process knows, newest first. */
  readonly roots: () => readonly CheckpointRoot[];
}

export type AnyFlaw = FileFlaw | WalFlaw;
export type TargetSteps = Generator<number, readonly AnyFlaw[], undefined>;

/** @throws HoldfastError FILE_IO */
export function listTargets(place: ScrubPlace): readonly ScrubTarget[] {
  const { dataDirectory, fileSystem } = place;
  const targets: ScrubTarget[] = [
    { kind: 'identity', path: IDENTITY_FILE_NAME },
    { kind: 'identityCopy', path: IDENTITY_COPY_PATH },
  ];
  targets.push(...rootTargets(place));
  const wal = joinPath(dataDirectory, WAL_DIRECTORY_NAME);
  targets.push({ kind: 'epoch', path: `${WAL_DIRECTORY_NAME}/${EPOCH_FILE_NAME}` });
  for (const name of HARD_STATE_FILE_NAMES) {
    targets.push({ kind: 'hardState', path: `${WAL_DIRECTORY_NAME}/${name}` });
  }
  for (const fileId of listWalFiles(fileSystem, wal)) {
    targets.push({ kind: 'wal', fileId, path: walFileNameOf(WAL_DIRECTORY_NAME, fileId) });
  }
  return [...targets, ...blockFiles(place)];
}

/** Those that are there, and those that must be: the newest one, and one before it. */
function rootTargets({ dataDirectory, fileSystem, roots }: ScrubPlace): readonly ScrubTarget[] {
  const names = new Set(checkpointRootNames(fileSystem, dataDirectory));
  if (roots().length > 0) names.add(CHECKPOINT_FILE_NAME);
  if (roots().length > names.size) names.add(CHECKPOINT_PREVIOUS_FILE_NAME);
  return [...names].map((path) => {
    return { kind: path === CHECKPOINT_FILE_NAME ? 'root' : 'previousRoot', path };
  });
}

/** Block files of every generation, each once. @throws HoldfastError FILE_IO */
export function blockFiles(place: ScrubPlace): readonly ScrubTarget[] {
  const found = new Map<string, ScrubTarget>();
  for (const root of place.roots()) {
    const { path, checksum } = root.metaFile;
    found.set(path, { kind: 'meta', path, checksum });
    for (const reference of manifestReferences(root)) {
      const { manifestPath } = reference;
      const { checksum: named } = reference;
      found.set(manifestPath, { kind: 'manifest', path: manifestPath, checksum: named });
      for (const file of filesOf(place, reference)) {
        const { checksum: expected, kind, path: name } = file;
        found.set(name, { kind, path: name, checksum: expected });
      }
    }
  }
  return [...found.values()];
}

/** Nothing when the manifest has rot: that is found by itself. @throws HoldfastError FILE_IO */
function filesOf(
  { dataDirectory, fileSystem }: ScrubPlace,
  reference: ReturnType<typeof manifestReferences>[number],
) {
  try {
    return checkpointFiles(fileSystem, dataDirectory, [reference]);
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code === 'FILE_IO') throw error;
    return [];
  }
}

/** Looks at one target. @throws HoldfastError FILE_IO */
export function scrubTarget(place: ScrubPlace, target: ScrubTarget): TargetSteps {
  const { dataDirectory, fileSystem } = place;
  const path = joinPath(dataDirectory, target.path);
  const wal = joinPath(dataDirectory, WAL_DIRECTORY_NAME);
  switch (target.kind) {
    case 'segment':
    case 'growing':
    case 'manifest':
    case 'meta':
      return scrubBlockFile(fileSystem, path, target.checksum);
    case 'wal':
      return scrubWalFile(fileSystem, wal, target.fileId);
    case 'root':
    case 'previousRoot':
      return scrubSmallFile(fileSystem, path, () => {
        const root = readCheckpointFile(fileSystem, path);
        if (root === null) throw wrongRoot(path, 'is missing');
        const known = target.kind === 'root' ? place.roots()[0] : undefined;
        if (known !== undefined && known.meta.id !== root.meta.id) {
          throw wrongRoot(path, `is the checkpoint ${root.meta.id}, not ${known.meta.id}`);
        }
      });
    case 'identity':
      return scrubSmallFile(fileSystem, path, () => void readIdentity(fileSystem, dataDirectory));
    case 'identityCopy':
      return scrubSmallFile(fileSystem, path, () => {
        readIdentity(fileSystem, parentDirectory(path));
      });
    case 'epoch':
      return scrubSmallFile(fileSystem, path, () => void verifyEpochFile(fileSystem, wal));
    case 'hardState':
      return scrubHardState(fileSystem, wal, target.path);
    default:
      return unreachable(target);
  }
}

function wrongRoot(file: string, what: string): HoldfastError {
  return new HoldfastError('FILE_CORRUPT', `${file} ${what}`, { details: { file } });
}

function* scrubHardState(fileSystem: FileSystem, wal: string, path: string): TargetSteps {
  const { badFiles } = readHardStateCopies(fileSystem, wal);
  yield 0;
  const own = path.slice(WAL_DIRECTORY_NAME.length + 1);
  if (badFiles.includes(own)) return [flaw(null, 'a slot of term and vote is bad', null)];
  // A cut or old copy is sound in itself: only the other one shows what it lacks.
  const isOdd = badFiles.length === 0 && own === oddCopy(fileSystem, wal);
  return isOdd ? [flaw(null, 'the two copies of term and vote differ', null)] : [];
}

/** The copy that is written first, or the shorter one; null when both are equal. */
function oddCopy(fileSystem: FileSystem, wal: string): string | null {
  const [first, second] = HARD_STATE_FILE_NAMES;
  const left = readWholeFile(fileSystem, joinPath(wal, first));
  const right = readWholeFile(fileSystem, joinPath(wal, second));
  if (Buffer.compare(left, right) === 0) return null;
  return right.byteLength < left.byteLength ? second : first;
}
