/**
 * One backup of one pinned checkpoint into one sink, with all that has to be found out there first:
 * what it is measured from, which files it has, which part of the log belongs to it.
 */
import { HoldfastError } from '@holdfast/base';
import type { BackupLogRange, BackupManifest, BackupType } from '@holdfast/storage';
import { throwIfAborted } from './backup-abort.ts';
import type { BackupSummary } from './backup-reader.ts';
import { BackupReader } from './backup-reader.ts';
import type { BackupOrder, BackupOutcome, BackupWriterParts } from './backup-writer.ts';
import { writeBackup } from './backup-writer.ts';
import { isObjectDamage } from './stored-object.ts';

/** The archive of the log in the same sink. */
export interface ArchivedLog {
  /**
   * First indexes of the chunks that hold the entries (afterIndex, lastIndex] of the timeline,
   * ascending; null when they are not all there. @throws HoldfastError SINK_*
   */
  cover(timeline: string, afterIndex: number, lastIndex: number): Promise<readonly number[] | null>;
}

export interface BackupWish extends Omit<BackupOrder, 'base' | 'known' | 'log' | 'type'> {
  readonly type: BackupType;
  /** Of an incremental backup; null: the newest of the timeline. */
  readonly baseBackupId: string | null;
  /** Null without an archive. */
  readonly archive: ArchivedLog | null;
}

/**
 * An incremental backup needs a base: where there is none yet, a full one is made, which the
 * outcome says.
 * @throws HoldfastError as writeBackup; BACKUP_NOT_FOUND when the base that was named is not there
 */
export async function makeBackup(
  parts: BackupWriterParts,
  wish: BackupWish,
): Promise<BackupOutcome> {
  try {
    return await findOutAndWrite(parts, wish);
  } catch (error) {
    const isAborted = error instanceof HoldfastError && error.code === 'ABORTED';
    if (isAborted) throwIfAborted(parts.signal);
    throw error;
  }
}

async function findOutAndWrite(parts: BackupWriterParts, wish: BackupWish): Promise<BackupOutcome> {
  const { clusterId } = wish.description;
  const { seal, signal, sink } = parts;
  const abort = signal === undefined ? {} : { signal };
  const reader = new BackupReader({ sink, clusterId, keys: seal.keys, ...abort });
  const { backups } = await reader.list();
  const newest = backups[0];
  const base = wish.type === 'full' ? null : await findBase(reader, backups, wish);
  const known =
    newest === undefined || newest.backupId === base?.backupId
      ? base
      : await readOrNull(reader, newest.backupId);
  const type = base === null ? 'full' : 'incremental';
  const log = base === null ? null : await logSince(base, wish);
  return writeBackup(parts, { ...wish, type, base, known, log });
}

async function findBase(
  reader: BackupReader,
  backups: readonly BackupSummary[],
  wish: BackupWish,
): Promise<BackupManifest | null> {
  if (wish.baseBackupId !== null) return reader.read(wish.baseBackupId);
  const { timeline } = wish.description;
  const { index } = wish.checkpoint.root.meta;
  const usable = backups
    .filter((backup) => backup.timeline === timeline && backup.index <= index)
    .sort((left, right) => right.index - left.index);
  const best = usable[0];
  return best === undefined ? null : readOrNull(reader, best.backupId);
}

/** Null also when it was removed or damaged since it was listed. @throws HoldfastError SINK_* */
async function readOrNull(reader: BackupReader, backupId: string): Promise<BackupManifest | null> {
  try {
    return await reader.read(backupId);
  } catch (error) {
    if (!isObjectDamage(error)) throw error;
    return null;
  }
}

async function logSince(base: BackupManifest, wish: BackupWish): Promise<BackupLogRange | null> {
  const { archive, checkpoint, description } = wish;
  const afterIndex = base.root.meta.index;
  const lastIndex = checkpoint.root.meta.index;
  if (archive === null || lastIndex <= afterIndex) return null;
  const chunks = await archive.cover(description.timeline, afterIndex, lastIndex);
  return chunks === null ? null : { firstIndex: afterIndex + 1, lastIndex, chunks };
}
