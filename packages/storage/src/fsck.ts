/**
 * Verifies every checksum in the data directory of a stopped node and changes nothing: identity,
 * checkpoint roots, the log, and every block file found, plus that what the newest root names is
 * there and is the file it names.
 */
import type { GroupId } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import { TEMPORARY_SUFFIX } from './atomic-file.ts';
import type { CheckpointRoot } from './checkpoint-root.ts';
import { checkpointRootNames, readCheckpointFile } from './checkpoint-root.ts';
import { digestChecksummedFile, verifyChecksummedFile } from './checksummed-file.ts';
import {
  BLOCK_SIZE_BYTES,
  CHECKSUMMED_FILE_MAGIC,
  CHECKSUMMED_FILE_VERSION,
} from './checksummed-layout.ts';
import type { Damage } from './damage.ts';
import {
  COLLECTIONS_DIRECTORY_NAME,
  META_DIRECTORY_NAME,
  WAL_DIRECTORY_NAME,
} from './data-directory.ts';
import type { FileSystem } from './fs.ts';
import { joinPath } from './fs.ts';
import { readIdentity } from './identity.ts';
import { EPOCH_FILE_NAME, verifyEpochFile } from './wal/epoch-file.ts';
import { HARD_STATE_FILE_NAMES, readHardStateCopies } from './wal/hard-state-copies.ts';
import { RecordSource } from './wal/record-source.ts';
import { scanWal } from './wal/scan.ts';
import { DEFAULT_WAL_OPTIONS } from './wal/types.ts';

/** Deeper than any layout; guards against a link that leads back up. */
const DEPTH_MAX = 16;

/** Everything that is wrong, in a fixed order; empty when all is well. */
export function fsckDataDirectory(
  fileSystem: FileSystem,
  dataDirectory: string,
): readonly Damage[] {
  const damage: Damage[] = [];
  const check = (file: string, body: () => void): void => {
    try {
      body();
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      damage.push(asDamage(file, error));
    }
  };
  check(dataDirectory, () => void readIdentity(fileSystem, dataDirectory));
  for (const name of checkpointRootNames(fileSystem, dataDirectory)) {
    const path = joinPath(dataDirectory, name);
    check(path, () => {
      const root = readCheckpointFile(fileSystem, path);
      if (root !== null) damage.push(...checkReferences(fileSystem, dataDirectory, path, root));
    });
  }
  const walDirectory = joinPath(dataDirectory, WAL_DIRECTORY_NAME);
  if (fileSystem.exists(walDirectory)) {
    check(walDirectory, () => damage.push(...checkWal(fileSystem, walDirectory)));
    const epochPath = joinPath(walDirectory, EPOCH_FILE_NAME);
    check(epochPath, () => verifyEpochFile(fileSystem, walDirectory));
  }
  for (const name of [META_DIRECTORY_NAME, COLLECTIONS_DIRECTORY_NAME]) {
    const directory = joinPath(dataDirectory, name);
    if (fileSystem.exists(directory)) damage.push(...checkTree(fileSystem, directory, 0));
  }
  return damage;
}

function checkWal(fileSystem: FileSystem, directory: string): readonly Damage[] {
  const source = new RecordSource(fileSystem, directory);
  const options = {
    cacheSizeBytesMax: 0,
    verifiesEntryChain: DEFAULT_WAL_OPTIONS.verifiesEntryChain,
  };
  const scan = scanWal(fileSystem, directory, source, options);
  const found: Damage[] = [];
  const lost = [...scan.groups.values()].flatMap((log) =>
    log.damage().map((range) => ({ ...range, group: log.group })),
  );
  for (const { group, low, high, file, offset, what } of lost) {
    const entries = low === high ? `entry ${low}` : `entries ${low} to ${high}`;
    const message = `${what}: group ${group} has lost ${entries}; peers can give them back`;
    found.push({ file, offset, what: message, severity: 'damage' });
  }
  const isNamed = (place: { file: string; offset: number }): boolean =>
    lost.some(({ file, offset }) => file === place.file && offset === place.offset);
  for (const { file, offset, what } of scan.badPlaces) {
    if (isNamed({ file, offset })) continue;
    found.push({ file, offset, what: `${what}; nothing is missing for it`, severity: 'mended' });
  }
  found.push(...checkHardStates(fileSystem, directory, scan.hardStatesInDoubt));
  if (scan.tornTail === null) return found;
  const { file, offset, what } = scan.tornTail;
  return [...found, { file, offset, what: `unfinished batch: ${what}`, severity: 'tornTail' }];
}

/** A bad copy alone costs nothing: the next start writes it anew. */
function checkHardStates(
  fileSystem: FileSystem,
  directory: string,
  inDoubt: ReadonlySet<GroupId>,
): readonly Damage[] {
  const { byGroup, hasUnreadable, badFiles } = readHardStateCopies(fileSystem, directory);
  const found: Damage[] = badFiles.map((name) => ({
    file: joinPath(directory, name),
    offset: null,
    what: 'a copy of term and vote is bad; the other copy or the log has it',
    severity: 'mended',
  }));
  const lost = [...byGroup].flatMap(([group, state]) => (state === 'unknown' ? [group] : []));
  if (hasUnreadable) lost.push(...[...inDoubt].filter((group) => !byGroup.has(group)));
  return lost.reduce<Damage[]>((all, group) => {
    const what = `term and vote of group ${group} are lost: the node must join anew`;
    all.push({
      file: joinPath(directory, HARD_STATE_FILE_NAMES[0]),
      offset: null,
      what,
      severity: 'damage',
    });
    return all;
  }, found);
}

/** Block files by their magic; other files (caches of native libraries) are not ours to judge. */
function checkTree(fileSystem: FileSystem, directory: string, depth: number): readonly Damage[] {
  if (depth > DEPTH_MAX) return [];
  return fileSystem.list(directory).flatMap((name): readonly Damage[] => {
    const path = joinPath(directory, name);
    if (fileSystem.isDirectory(path)) return checkTree(fileSystem, path, depth + 1);
    if (name.endsWith(TEMPORARY_SUFFIX)) {
      return [{ file: path, offset: null, what: 'rest of a crash', severity: 'leftover' }];
    }
    return isBlockFile(fileSystem, path) ? verifyChecksummedFile(fileSystem, path) : [];
  });
}

/** Two of three marks are enough, so that one flipped bit in them does not hide a file. */
function isBlockFile(fileSystem: FileSystem, path: string): boolean {
  const handle = fileSystem.open(path, 'read');
  try {
    const bytes = new Uint8Array(16);
    if (handle.read(bytes, 0) !== bytes.byteLength) return false;
    const view = new DataView(bytes.buffer);
    const marks = [
      view.getUint32(0, true) === CHECKSUMMED_FILE_MAGIC,
      view.getUint16(4, true) === CHECKSUMMED_FILE_VERSION,
      view.getUint32(12, true) === BLOCK_SIZE_BYTES,
    ];
    return marks.filter(Boolean).length >= 2;
  } finally {
    handle.close();
  }
}

function checkReferences(
  fileSystem: FileSystem,
  dataDirectory: string,
  rootPath: string,
  root: CheckpointRoot,
): readonly Damage[] {
  const { metaFile, shards } = root;
  const named = [
    { path: metaFile.path, checksum: metaFile.checksum },
    ...shards.map(({ manifestPath, checksum }) => ({ path: manifestPath, checksum })),
  ];
  return named.flatMap(({ path, checksum }): readonly Damage[] => {
    const file = joinPath(dataDirectory, path);
    if (!fileSystem.exists(file)) {
      return [{ file, offset: null, what: `is missing; ${rootPath} names it`, severity: 'damage' }];
    }
    if (digestChecksummedFile(fileSystem, file) === checksum) return [];
    const what = `is not the file that ${rootPath} names`;
    return [{ file, offset: null, what, severity: 'damage' }];
  });
}

function asDamage(fallbackFile: string, error: HoldfastError): Damage {
  const { file, offset } = error.details;
  return {
    file: typeof file === 'string' ? file : fallbackFile,
    offset: typeof offset === 'number' ? offset : null,
    what: `${error.code}: ${error.message}`,
    severity: 'damage',
  };
}
