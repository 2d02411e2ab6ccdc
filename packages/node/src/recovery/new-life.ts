/**
 * A node that cannot know its newest term and vote may have promised what it does not remember, so
 * it must not vote under its incarnation any more. Nor must one whose log is damaged where its
 * peers have only a snapshot. Such a node begins a new life in the same directory: what it had goes
 * to quarantine, and it joins its cluster again like a node with an empty disk.
 *
 * A crash on the way must not leave the old identity beside an emptied log: that would be the old
 * voter without its memory. So the marker comes first, and while it is there the next start goes on
 * before anything is opened.
 */
import type { Incarnation, Logger } from '@holdfast/base';
import { failpoint, incarnation, toHoldfastError } from '@holdfast/base';
import type { CheckpointRoot, FileSystem, NodeIdentity, Wal } from '@holdfast/storage';
import {
  COLLECTIONS_DIRECTORY_NAME,
  checkpointRootNames,
  IDENTITY_FILE_NAME,
  joinPath,
  META_DIRECTORY_NAME,
  QUARANTINE_DIRECTORY_NAME,
  readAtomicJson,
  readCheckpointRoot,
  readIdentity,
  WAL_DIRECTORY_NAME,
  writeAtomicJson,
  writeIdentity,
} from '@holdfast/storage';
import { startConf } from './heal-log.ts';
import { IDENTITY_COPY_DIRECTORY } from './identity-copy.ts';

const MARKER_FILE_NAME = 'NEW-LIFE.json';
const CONTACTS_FILE_NAME = 'contacts.json';
const MARKER_FORMAT = { format: 'holdfast-new-life', version: 1 } as const;
const CONTACTS_FORMAT = { format: 'holdfast-contacts', version: 1 } as const;

/** Everything of a node but its lock, its secret and what is in quarantine already. */
const belongings = (fileSystem: FileSystem, dataDirectory: string): readonly string[] => [
  // First: it must never bring back a life that is over.
  IDENTITY_COPY_DIRECTORY,
  WAL_DIRECTORY_NAME,
  ...checkpointRootNames(fileSystem, dataDirectory),
  META_DIRECTORY_NAME,
  COLLECTIONS_DIRECTORY_NAME,
  // Last: until then the directory is known to be on its way.
  IDENTITY_FILE_NAME,
];

interface Marker {
  /** Incarnations. */
  readonly old: string;
  readonly next: string;
}

export interface LifeParts {
  readonly fileSystem: FileSystem;
  readonly dataDirectory: string;
  /** As the directory has it. */
  readonly identity: NodeIdentity;
  readonly mintIncarnation: () => Incarnation;
}

export interface LifeOptions<Log extends Wal> extends LifeParts {
  readonly openWal: () => Log;
  readonly logger: Logger;
}

/** Opens the log under an identity that may vote: the one there is, or one of a new life. */
export async function openLife<Log extends Wal>(
  options: LifeOptions<Log>,
): Promise<{ readonly wal: Log; readonly identity: NodeIdentity }> {
  const { dataDirectory, fileSystem, logger, openWal } = options;
  const { identity } = options;
  const wal = openWal();
  if (wal.groupLog(identity.group).isHardStateKnown()) return { wal, identity };
  await wal.close();
  const { nodeId } = identity;
  logger.error(
    { nodeId, incarnation: identity.incarnation },
    'term and vote are lost: this node must not vote any more, and joins its cluster anew',
  );
  beginNewLife(options);
  resumeNewLife(fileSystem, dataDirectory);
  return { wal: openWal(), identity: readIdentity(fileSystem, dataDirectory) };
}

/** Where the members were when the last life ended; empty for a node in its first. */
export function rememberedContacts(
  fileSystem: FileSystem,
  dataDirectory: string,
): readonly string[] {
  const path = joinPath(dataDirectory, CONTACTS_FILE_NAME);
  if (!fileSystem.exists(path)) return [];
  return readAtomicJson(fileSystem, path, CONTACTS_FORMAT) as readonly string[];
}

/** Does nothing unless `failure` says that the node needs a new life. */
export function beginNewLifeAfter(failure: unknown, parts: LifeParts): void {
  if (toHoldfastError(failure).code === 'NEW_LIFE_NEEDED') beginNewLife(parts);
}

/** The node that runs now goes on until its end; the next start is the first of the new life. */
function beginNewLife(parts: LifeParts): void {
  const { dataDirectory, fileSystem, identity, mintIncarnation } = parts;
  const root = readableRoot(fileSystem, dataDirectory);
  const others = startConf(identity, root).conf.members.filter(
    (member) => member.nodeId !== identity.nodeId,
  );
  const contacts = others.map((member) => member.address);
  const contactsPath = joinPath(dataDirectory, CONTACTS_FILE_NAME);
  writeAtomicJson(fileSystem, contactsPath, CONTACTS_FORMAT, contacts);
  failpoint('life.before-marker');
  const marker: Marker = { old: identity.incarnation, next: mintIncarnation() };
  writeAtomicJson(fileSystem, joinPath(dataDirectory, MARKER_FILE_NAME), MARKER_FORMAT, marker);
}

/** Null also when both generations have rot: the first configuration names whom to ask. */
function readableRoot(fileSystem: FileSystem, dataDirectory: string): CheckpointRoot | null {
  try {
    return readCheckpointRoot(fileSystem, dataDirectory)?.root ?? null;
  } catch (error) {
    if (toHoldfastError(error).code !== 'CHECKPOINT_CORRUPT') throw error;
    return null;
  }
}

export const isNewLifeUnfinished = (fileSystem: FileSystem, dataDirectory: string): boolean =>
  fileSystem.exists(joinPath(dataDirectory, MARKER_FILE_NAME));

/**
 * Completes a new life that a crash has cut off; to be called, with the directory locked, before
 * anything in it is looked at. Does nothing when none was begun.
 */
export function resumeNewLife(fileSystem: FileSystem, dataDirectory: string): void {
  const markerPath = joinPath(dataDirectory, MARKER_FILE_NAME);
  if (!fileSystem.exists(markerPath)) return;
  const marker = readAtomicJson(fileSystem, markerPath, MARKER_FORMAT) as Marker;
  const quarantine = joinPath(dataDirectory, `${QUARANTINE_DIRECTORY_NAME}/life-${marker.old}`);
  fileSystem.makeDirectory(quarantine);
  failpoint('life.before-quarantine');
  for (const name of belongings(fileSystem, dataDirectory))
    quarantineOne(fileSystem, dataDirectory, quarantine, name);
  if (!fileSystem.exists(joinPath(dataDirectory, IDENTITY_FILE_NAME))) {
    const kept = readIdentity(fileSystem, quarantine);
    const next = incarnation(marker.next);
    for (const name of [WAL_DIRECTORY_NAME, META_DIRECTORY_NAME, COLLECTIONS_DIRECTORY_NAME]) {
      fileSystem.makeDirectory(joinPath(dataDirectory, name));
    }
    failpoint('life.before-identity');
    writeIdentity(fileSystem, dataDirectory, {
      ...kept,
      incarnation: next,
      firstConfiguration: [],
    });
  }
  failpoint('life.before-end');
  fileSystem.remove(markerPath);
  fileSystem.syncDirectory(dataDirectory);
}

/** Moves it once: what stands there after it was moved belongs to the new life. */
function quarantineOne(
  fileSystem: FileSystem,
  dataDirectory: string,
  quarantine: string,
  name: string,
): void {
  const [from, to] = [joinPath(dataDirectory, name), joinPath(quarantine, name)];
  if (fileSystem.exists(to) || !fileSystem.exists(from)) return;
  fileSystem.rename(from, to);
  fileSystem.syncDirectory(quarantine);
  fileSystem.syncDirectory(dataDirectory);
}
