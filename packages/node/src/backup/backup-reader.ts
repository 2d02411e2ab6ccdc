/**
 * Reads backups of one cluster in one sink: which there are, the one for a target, whether all of
 * it can be read, and single files onto a disk. Nothing is handed on before it was verified.
 */
import { HoldfastError } from '@holdfast/base';
import type {
  BackupFile,
  BackupManifest,
  BackupType,
  FileSystem,
  KeyRing,
} from '@holdfast/storage';
import {
  dropTemporary,
  fileKey,
  joinPath,
  logChunkKey,
  openSealed,
  parentDirectory,
  sealedSizeBytesMax,
  TEMPORARY_SUFFIX,
} from '@holdfast/storage';
import { forEachBounded } from './bounded.ts';
import { listBackupIds, readStoredManifest } from './manifest-store.ts';
import type { BackupSink } from './sinks/sink.ts';
import { checkStoredFile, isObjectDamage, readStoredFile } from './stored-object.ts';

/** A chunk of the archived log has some 4 MiB; one entry can be larger. */
export const LOG_CHUNK_SIZE_BYTES_MAX = 64 * 1024 * 1024;
const VERIFY_CONCURRENCY = 4;

/** What a listing shows of a backup. */
export interface BackupSummary {
  readonly backupId: string;
  readonly type: BackupType;
  readonly createdMs: number;
  readonly logTimeMs: number;
  readonly timeline: string;
  readonly index: number;
  readonly baseBackupId: string | null;
  readonly sizeBytes: number;
  readonly storedSizeBytes: number;
  readonly vectorCount: number;
  readonly fileCount: number;
  readonly keyId: string | null;
}

export interface BackupListing {
  /** Newest first: by time of creation, then by index. */
  readonly backups: readonly BackupSummary[];
  /** Manifests that are there and cannot be used. */
  readonly damaged: readonly { readonly backupId: string; readonly error: HoldfastError }[];
}

export type BackupTarget =
  | { readonly kind: 'id'; readonly backupId: string }
  | { readonly kind: 'latest' }
  /** Holds nothing that was written after this time of the log. */
  | { readonly kind: 'time'; readonly timeMs: number }
  /** Holds nothing after this index of `timeline`. */
  | { readonly kind: 'index'; readonly timeline: string; readonly index: number };

export interface VerifiedObject {
  readonly key: string;
  /** `unreachable`: the store did not give it, so nothing is known of it. */
  readonly status: 'good' | 'damaged' | 'unreachable';
  readonly error: HoldfastError | null;
}

export interface VerifyReport {
  readonly backupId: string;
  /** True when every object that the manifest names is good. */
  readonly isGood: boolean;
  readonly objectCount: number;
  /** In order of their keys. */
  readonly bad: readonly VerifiedObject[];
}

export interface BackupReaderOptions {
  readonly sink: BackupSink;
  readonly clusterId: string;
  readonly keys: KeyRing;
  readonly signal?: AbortSignal;
}

export class BackupReader {
  readonly #options: BackupReaderOptions;
  /** Backups never change. */
  readonly #summaries = new Map<string, BackupSummary>();

  constructor(options: BackupReaderOptions) {
    this.#options = options;
  }

  /** @throws HoldfastError SINK_*, ABORTED */
  async list(): Promise<BackupListing> {
    const ids = await listBackupIds(this.#options, this.#readOptions());
    const backups: BackupSummary[] = [];
    const damaged: { backupId: string; error: HoldfastError }[] = [];
    for (const backupId of ids) {
      try {
        backups.push(this.#summaries.get(backupId) ?? summaryOf(await this.read(backupId)));
      } catch (error) {
        if (!isObjectDamage(error)) throw error;
        // Removed since it was listed.
        if (error.code !== 'BACKUP_NOT_FOUND') damaged.push({ backupId, error });
      }
    }
    const present = new Set(ids);
    for (const known of [...this.#summaries.keys()]) {
      if (!present.has(known)) this.#summaries.delete(known);
    }
    return { backups: backups.sort(newestFirst), damaged };
  }

  /** @throws HoldfastError BACKUP_NOT_FOUND, BACKUP_CORRUPT, BACKUP_KEY_WRONG, SINK_*, ABORTED */
  async read(backupId: string): Promise<BackupManifest> {
    const { keys } = this.#options;
    const manifest = await readStoredManifest(this.#options, backupId, keys, this.#readOptions());
    this.#summaries.set(backupId, summaryOf(manifest));
    return manifest;
  }

  /**
   * The newest backup that the target allows; `isOnPath` leaves out those of timelines that do not
   * lead to it.
   * @throws HoldfastError BACKUP_NOT_FOUND, RESTORE_TARGET naming the oldest that there is,
   *   BACKUP_CORRUPT, BACKUP_KEY_WRONG, SINK_*, ABORTED
   */
  async find(
    target: BackupTarget,
    isOnPath: (backup: BackupSummary) => boolean = () => true,
  ): Promise<BackupSummary> {
    if (target.kind === 'id') return summaryOf(await this.read(target.backupId));
    const { backups, damaged } = await this.list();
    const usable = backups.filter(isOnPath);
    const found = usable.find((backup) => isWithin(backup, target));
    if (found !== undefined) return found;
    const oldest = usable.at(-1);
    const { sink } = this.#options;
    if (oldest === undefined) {
      // None can be read: why, says more than that there is none.
      const [first] = damaged;
      if (backups.length === 0 && first !== undefined) throw first.error;
      const others = damaged.length === 0 ? '' : `; ${damaged.length} cannot be read`;
      throw new HoldfastError('BACKUP_NOT_FOUND', `${sink.name} has no backup to use${others}`, {
        details: { sink: sink.name, damagedCount: damaged.length },
      });
    }
    const time = new Date(oldest.logTimeMs).toISOString();
    const { backupId, index } = oldest;
    const message = `the oldest backup to use is ${backupId}, of index ${index}, ${time}`;
    throw new HoldfastError('RESTORE_TARGET', message, {
      details: { backupId, index, logTimeMs: oldest.logTimeMs },
    });
  }

  /**
   * Reads every object that the backup names, and goes on after the first that is bad.
   * `onObject` is told of each, in no particular order.
   * @throws HoldfastError ABORTED
   */
  async verify(
    manifest: BackupManifest,
    onObject: (object: VerifiedObject) => void = () => undefined,
  ): Promise<VerifyReport> {
    const bad: VerifiedObject[] = [];
    const checks = this.#checksOf(manifest);
    await forEachBounded(checks, VERIFY_CONCURRENCY, async ({ key, check }) => {
      const object = await this.#verified(key, check);
      if (object.status !== 'good') bad.push(object);
      onObject(object);
    });
    bad.sort((left, right) => (left.key < right.key ? -1 : 1));
    const objectCount = checks.length;
    return { backupId: manifest.backupId, isGood: bad.length === 0, objectCount, bad };
  }

  /**
   * Writes one file under `path`: a temporary name, every byte verified, synced, renamed, the
   * directory synced. An existing file is replaced.
   * @throws HoldfastError BACKUP_NOT_FOUND, BACKUP_CORRUPT, BACKUP_KEY_WRONG, SINK_*, FILE_IO,
   *   ABORTED; `path` is then as it was
   */
  async fetchFile(
    manifest: BackupManifest,
    file: BackupFile,
    fileSystem: FileSystem,
    path: string,
  ): Promise<void> {
    const { keys, signal, sink } = this.#options;
    const { clusterId } = manifest;
    fileSystem.makeDirectory(parentDirectory(path));
    const temporaryPath = `${path}${TEMPORARY_SUFFIX}`;
    dropTemporary(fileSystem, temporaryPath);
    try {
      const handle = fileSystem.open(temporaryPath, 'createNew');
      try {
        let position = 0;
        for await (const piece of readStoredFile(sink, { ...file, clusterId }, keys, signal)) {
          handle.write([piece], position);
          position += piece.byteLength;
        }
        handle.sync();
      } finally {
        handle.close();
      }
      fileSystem.rename(temporaryPath, path);
    } catch (error) {
      dropTemporary(fileSystem, temporaryPath);
      throw error;
    }
    fileSystem.syncDirectory(parentDirectory(path));
  }

  /**
   * Every file of the backup below `directory`, laid out as in a data directory.
   * @throws as fetchFile
   */
  async fetchAll(
    manifest: BackupManifest,
    fileSystem: FileSystem,
    directory: string,
  ): Promise<void> {
    await forEachBounded(manifest.files, VERIFY_CONCURRENCY, (file) =>
      this.fetchFile(manifest, file, fileSystem, joinPath(directory, file.path)),
    );
  }

  /** Each object once, with what proves that it is good. */
  #checksOf(manifest: BackupManifest): readonly { key: string; check: () => Promise<void> }[] {
    const { keys, signal, sink } = this.#options;
    const { clusterId, files, log, timeline } = manifest;
    const byContent = new Map(files.map((file) => [file.sha256, file]));
    const fileChecks = [...byContent.values()].map((file) => ({
      key: fileKey(clusterId, file.sha256),
      check: () => checkStoredFile(sink, { ...file, clusterId }, keys, signal),
    }));
    const chunkChecks = (log?.chunks ?? []).map((index) => {
      const key = logChunkKey(clusterId, timeline, index);
      return { key, check: () => this.#checkChunk(key) };
    });
    return [...fileChecks, ...chunkChecks];
  }

  /** That it opens; whether its entries fit the log is for the reader of the archive to say. */
  async #checkChunk(context: string): Promise<void> {
    const { keys, sink } = this.#options;
    const sizeBytesMax = LOG_CHUNK_SIZE_BYTES_MAX;
    const sealed = await sink.get(context, sealedSizeBytesMax(sizeBytesMax), this.#readOptions());
    if (sealed === null) {
      const message = `${sink.name} has no object ${context}`;
      throw new HoldfastError('BACKUP_NOT_FOUND', message, { details: { object: context } });
    }
    await openSealed(sealed, { kind: 'log-chunk', context, keys, sizeBytesMax });
  }

  async #verified(key: string, check: () => Promise<void>): Promise<VerifiedObject> {
    try {
      await check();
      return { key, status: 'good', error: null };
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code === 'ABORTED') throw error;
      return { key, status: isObjectDamage(error) ? 'damaged' : 'unreachable', error };
    }
  }

  #readOptions(): { readonly signal?: AbortSignal } {
    const { signal } = this.#options;
    return signal === undefined ? {} : { signal };
  }
}

export function summaryOf(manifest: BackupManifest): BackupSummary {
  const { backupId, type, createdMs, logTimeMs, timeline, baseBackupId, keyId } = manifest;
  const { sizeBytes, storedSizeBytes, vectorCount, root, files } = manifest;
  return {
    ...{ backupId, type, createdMs, logTimeMs, timeline, baseBackupId, keyId },
    ...{ sizeBytes, storedSizeBytes, vectorCount },
    ...{ index: root.meta.index, fileCount: files.length },
  };
}

function isWithin(
  backup: BackupSummary,
  target: Exclude<BackupTarget, { readonly kind: 'id' }>,
): boolean {
  switch (target.kind) {
    case 'latest':
      return true;
    case 'time':
      return backup.logTimeMs <= target.timeMs;
    case 'index':
      return backup.timeline === target.timeline && backup.index <= target.index;
  }
}

/** Ids make it a total order. */
function newestFirst(left: BackupSummary, right: BackupSummary): number {
  if (left.createdMs !== right.createdMs) return right.createdMs - left.createdMs;
  if (left.index !== right.index) return right.index - left.index;
  return left.backupId < right.backupId ? -1 : 1;
}
