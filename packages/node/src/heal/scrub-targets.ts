/**
 * Everything in a data directory whose bytes must be what they were: which files, and how each is
 * looked at. Read anew for every pass; a file that was let go of meanwhile is no finding.
 */
import type { GroupId } from '@holdfast/base';
import { HoldfastError, unreachable } from '@holdfast/base';
import type { SavedGraphFile } from '@holdfast/shard-worker';
import { checkpointFiles, listSavedGraphFiles, lookAtSavedGraph } from '@holdfast/shard-worker';
import type {
  CheckpointRoot,
  EpochRecord,
  FileFlaw,
  FileSystem,
  ScrubLook,
  ScrubSteps,
  TermAndVote,
  WalFileFacts,
  WalFlaw,
} from '@holdfast/storage';
import {
  baseName,
  CHECKPOINT_FILE_NAME,
  CHECKPOINT_PREVIOUS_FILE_NAME,
  checkpointRootNames,
  EPOCH_FILE_NAME,
  HARD_STATE_FILE_NAMES,
  IDENTITY_FILE_NAME,
  joinPath,
  listWalFiles,
  lookAtFile,
  parentDirectory,
  readIdentity,
  scrubSmallFile,
  WAL_DIRECTORY_NAME,
  walFileNameOf,
} from '@holdfast/storage';
import { IDENTITY_COPY_PATH } from '../recovery/identity-copy.ts';
import { manifestReferences } from '../replica/checkpointer.ts';
import { scrubEpoch, scrubHardState, scrubRoot } from './scrub-state-files.ts';

export type BlockFileKind = 'segment' | 'growing' | 'manifest' | 'meta';

/** Paths are relative to the data directory. */
export type ScrubTarget =
  | { readonly kind: BlockFileKind; readonly path: string; readonly checksum: string }
  | { readonly kind: 'wal'; readonly path: string; readonly fileId: number }
  | { readonly kind: 'graph'; readonly path: string; readonly file: SavedGraphFile }
  | StateFileTarget;

interface StateFileTarget {
  readonly kind: 'root' | 'previousRoot' | 'identity' | 'identityCopy' | 'epoch' | 'hardState';
  readonly path: string;
}

/** Where the files of checkpoints are. */
export interface CheckpointPlace {
  readonly fileSystem: FileSystem;
  readonly dataDirectory: string;
  /** The generations that this process knows, newest first. */
  readonly roots: () => readonly CheckpointRoot[];
}

/** And what the process knows of its log, to tell what is gone or was put back. */
export interface ScrubPlace extends CheckpointPlace {
  readonly walFiles: () => readonly WalFileFacts[];
  readonly epoch: EpochRecord;
  /** Term and vote of each group, as far as they were promised. */
  readonly hardStates: () => ReadonlyMap<GroupId, TermAndVote>;
}

export type AnyFlaw = FileFlaw | WalFlaw;

/** @throws HoldfastError FILE_IO */
export function listTargets(
  place: CheckpointPlace & Pick<ScrubPlace, 'walFiles'>,
): readonly ScrubTarget[] {
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
  const known = place.walFiles().map(({ fileId }) => fileId);
  for (const fileId of new Set([...known, ...listWalFiles(fileSystem, wal)])) {
    targets.push({ kind: 'wal', fileId, path: walFileNameOf(WAL_DIRECTORY_NAME, fileId) });
  }
  for (const file of listSavedGraphFiles(fileSystem, dataDirectory)) {
    targets.push({ kind: 'graph', path: file.path, file });
  }
  return [...targets, ...blockFiles(place)];
}

/** Those that are there, and those that must be: the newest one, and one before it or its twin. */
function rootTargets({
  dataDirectory,
  fileSystem,
  roots,
}: CheckpointPlace): readonly ScrubTarget[] {
  const names = new Set(checkpointRootNames(fileSystem, dataDirectory));
  if (roots().length > 0) names.add(CHECKPOINT_FILE_NAME).add(CHECKPOINT_PREVIOUS_FILE_NAME);
  return [...names].map((path) => {
    return { kind: path === CHECKPOINT_FILE_NAME ? 'root' : 'previousRoot', path };
  });
}

/** Block files of every generation, each once. @throws HoldfastError FILE_IO */
export function blockFiles(place: CheckpointPlace): readonly ScrubTarget[] {
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
  { dataDirectory, fileSystem }: CheckpointPlace,
  reference: ReturnType<typeof manifestReferences>[number],
) {
  try {
    return checkpointFiles(fileSystem, dataDirectory, [reference]);
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code === 'FILE_IO') throw error;
    return [];
  }
}

/** How one target is looked at, by what is known right now. @throws HoldfastError FILE_IO */
export function lookOf(place: ScrubPlace, target: ScrubTarget): ScrubLook {
  const { dataDirectory, fileSystem } = place;
  switch (target.kind) {
    case 'segment':
    case 'growing':
    case 'manifest':
    case 'meta': {
      const path = joinPath(dataDirectory, target.path);
      return lookAtFile({ kind: 'blockFile', path, checksum: target.checksum });
    }
    case 'wal': {
      const { fileId } = target;
      const directory = joinPath(dataDirectory, WAL_DIRECTORY_NAME);
      const expected = factsOf(place, fileId);
      return lookAtFile({ kind: 'logFile', directory, fileId, expected });
    }
    case 'graph':
      return lookAtSavedGraph(fileSystem, dataDirectory, target.file);
    default:
      return { kind: 'small', steps: stateFileSteps(place, target) };
  }
}

/** Of the files that are judged by what the process knows; all of them are small. */
function stateFileSteps(place: ScrubPlace, target: StateFileTarget): ScrubSteps {
  const { dataDirectory, fileSystem } = place;
  const path = joinPath(dataDirectory, target.path);
  const wal = joinPath(dataDirectory, WAL_DIRECTORY_NAME);
  switch (target.kind) {
    case 'root':
    case 'previousRoot':
      return scrubRoot(fileSystem, dataDirectory, target.path, place.roots());
    case 'identity':
      return scrubSmallFile(fileSystem, path, () => void readIdentity(fileSystem, dataDirectory));
    case 'identityCopy':
      return scrubSmallFile(fileSystem, path, () => {
        readIdentity(fileSystem, parentDirectory(path));
      });
    case 'epoch':
      return scrubEpoch(fileSystem, wal, place.epoch);
    case 'hardState':
      return scrubHardState(fileSystem, wal, baseName(target.path), place.hardStates());
    default:
      return unreachable(target.kind);
  }
}

/** Null for one that is not in use, as those that are made ahead. */
const factsOf = ({ walFiles }: ScrubPlace, fileId: number): WalFileFacts | null =>
  walFiles().find((facts) => facts.fileId === fileId) ?? null;
