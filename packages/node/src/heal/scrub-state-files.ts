/**
 * Looks at the small files whose content the process has in memory: roots of checkpoints, EPOCH,
 * copies of term and vote. What was put back as it once was is sound in itself; only who wrote the
 * newest knows better.
 */
import type { GroupId } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import type {
  CheckpointRoot,
  EpochRecord,
  FileFlaw,
  FileSystem,
  ScrubSteps,
  TermAndVote,
} from '@holdfast/storage';
import {
  checkpointRootAge,
  EPOCH_FILE_NAME,
  flaw,
  HARD_STATE_FILE_NAMES,
  isHardStateCopyOld,
  joinPath,
  readCheckpointFile,
  readHardStateCopies,
  readWholeFile,
  scrubSmallFile,
  verifyEpochFile,
} from '@holdfast/storage';

/** `name` is that of the root file. @throws HoldfastError FILE_IO */
export function scrubRoot(
  fileSystem: FileSystem,
  dataDirectory: string,
  name: string,
  roots: readonly CheckpointRoot[],
): ScrubSteps {
  const path = joinPath(dataDirectory, name);
  return scrubSmallFile(fileSystem, path, () => {
    const root = readCheckpointFile(fileSystem, path);
    if (root === null) throw wrongFile(path, 'is missing');
    // More files than generations are known after a start that fell back.
    const known = roots[checkpointRootAge(name)];
    if (known === undefined || known.meta.id === root.meta.id) return;
    throw wrongFile(path, `is the checkpoint ${root.meta.id}, not ${known.meta.id}`);
  });
}

/** @throws HoldfastError FILE_IO */
export function scrubEpoch(
  fileSystem: FileSystem,
  walDirectory: string,
  known: EpochRecord,
): ScrubSteps {
  const path = joinPath(walDirectory, EPOCH_FILE_NAME);
  return scrubSmallFile(fileSystem, path, () => {
    const found = verifyEpochFile(fileSystem, walDirectory);
    const isSame =
      found?.epoch === known.epoch &&
      found.hasBatches === known.hasBatches &&
      found.durableBatch === known.durableBatch;
    if (!isSame) throw wrongFile(path, `is of epoch ${found?.epoch ?? 0}, not ${known.epoch}`);
  });
}

/** `name` is that of the copy. A copy may be ahead of `known`: it is written before it is told. */
export function* scrubHardState(
  fileSystem: FileSystem,
  walDirectory: string,
  name: string,
  known: ReadonlyMap<GroupId, TermAndVote>,
): ScrubSteps {
  const { badFiles } = readHardStateCopies(fileSystem, walDirectory);
  yield 0;
  const wrong = (what: string): readonly FileFlaw[] => [flaw(null, what, null)];
  if (badFiles.includes(name)) return wrong('a slot of term and vote is bad');
  if (isHardStateCopyOld(fileSystem, walDirectory, name, known)) {
    return wrong('it is older than what was promised');
  }
  // A cut copy is sound in itself: only the other one shows what it lacks.
  const isOdd = badFiles.length === 0 && name === oddCopy(fileSystem, walDirectory, known);
  return isOdd ? wrong('the two copies of term and vote differ') : [];
}

/** The copy that is written first, or the shorter one; null when one explains the difference. */
function oddCopy(
  fileSystem: FileSystem,
  walDirectory: string,
  known: ReadonlyMap<GroupId, TermAndVote>,
): string | null {
  const isOld = (name: string): boolean =>
    isHardStateCopyOld(fileSystem, walDirectory, name, known);
  if (HARD_STATE_FILE_NAMES.some(isOld)) return null;
  const [first, second] = HARD_STATE_FILE_NAMES;
  const left = readWholeFile(fileSystem, joinPath(walDirectory, first));
  const right = readWholeFile(fileSystem, joinPath(walDirectory, second));
  if (Buffer.compare(left, right) === 0) return null;
  return right.byteLength < left.byteLength ? second : first;
}

function wrongFile(file: string, what: string): HoldfastError {
  return new HoldfastError('FILE_CORRUPT', `${file} ${what}`, { details: { file } });
}
