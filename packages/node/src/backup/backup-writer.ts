/**
 * Writes one backup of one checkpoint into one sink: files first, a few at a time, each under the
 * name of its content and only if it is not there; the manifest last; then a second look for
 * everything that the manifest names. Before the manifest there is no backup, whatever happens.
 *
 * What is there already is believed only with a reason. A file that the newest known manifest names
 * is there when its size fits. One that no known manifest names is read back when it is young; when
 * it is old it may be on its way to be removed as garbage, and is sent again, which makes it young.
 */
import type { Clock } from '@holdfast/base';
import { failpoint, HoldfastError } from '@holdfast/base';
import type {
  BackupCollection,
  BackupFile,
  BackupLogRange,
  BackupManifest,
  BackupType,
  FileSystem,
} from '@holdfast/storage';
import { fileKey, filePrefix, logChunkKey, logChunkPrefix, numberOfKey } from '@holdfast/storage';
import type { Pause } from '../replica/slices.ts';
import type { TransferBudget } from '../replica/transfer-budget.ts';
import { throwIfAborted } from './backup-abort.ts';
import { forEachBounded } from './bounded.ts';
import type { PinnedCheckpoint, PinnedFile } from './checkpoint-source.ts';
import type { FileFacts, FileFactsCache } from './file-facts.ts';
import { storeManifest, withdrawManifest } from './manifest-store.ts';
import type { BackupProgressListener } from './progress.ts';
import { BackupProgressMeter } from './progress.ts';
import type { SealSettings } from './sealed-file.ts';
import { SealedFileSource } from './sealed-file.ts';
import type { SealingPlace } from './sealing/file-frames.ts';
import type { BackupSink, SinkObject } from './sinks/sink.ts';
import { checkStoredFile, isObjectDamage } from './stored-object.ts';

/** Half of the age at which an object that nobody names is removed (GARBAGE_AGE_MS). */
export const REUSE_AGE_MS_MAX = 12 * 3_600_000;

export interface BackupWriterParts {
  readonly sink: BackupSink;
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly pause: Pause;
  /** Where the bytes of files are worked on; left out: the calling thread. */
  readonly sealing?: SealingPlace;
  readonly seal: SealSettings;
  /** Bytes per second of all sinks together; null: no limit. */
  readonly budget: TransferBudget | null;
  /** Files at a time. Each takes some 4 MiB of memory, and what the sink takes for its parts. */
  readonly concurrency: number;
  /** Reads every object back that is there already, whatever says that it is good. */
  readonly isVerifyingExisting: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: BackupProgressListener;
  /** Asked when all files are there; what it throws ends the backup before it is visible. */
  readonly confirm?: () => Promise<void>;
}

/** What the manifest says beside files and checkpoint. */
export interface BackupDescription {
  readonly clusterId: string;
  readonly timeline: string;
  readonly nodeId: string;
  readonly productVersion: string;
  readonly dataFormatVersion: number;
  readonly logTimeMs: number;
  readonly collections: readonly BackupCollection[];
}

export interface BackupOrder {
  /** New: no backup may ever have had it. */
  readonly backupId: string;
  readonly type: BackupType;
  readonly checkpoint: PinnedCheckpoint;
  readonly facts: FileFactsCache;
  readonly description: BackupDescription;
  /** Of an incremental backup; of the same cluster and timeline. */
  readonly base: BackupManifest | null;
  /** Whose files are taken to be there; null: none are. */
  readonly known: BackupManifest | null;
  readonly log: BackupLogRange | null;
}

export type BackupOutcome =
  | {
      readonly kind: 'written';
      readonly manifest: BackupManifest;
      /** Of file content that had to be sent. */
      readonly sentSizeBytes: number;
      readonly sentFileCount: number;
    }
  | { readonly kind: 'nothing-new'; readonly baseBackupId: string; readonly index: number };

/**
 * The files of `order.checkpoint` must stay until this settles.
 * @throws HoldfastError BACKUP_ABORTED (by the signal, or an object is missing at the end),
 *   FILE_CORRUPT (a file of the checkpoint has rot), FILE_IO, SINK_*; there is then no backup,
 *   unless the message says that its manifest could not be removed
 */
export async function writeBackup(
  parts: BackupWriterParts,
  order: BackupOrder,
): Promise<BackupOutcome> {
  const nothing = nothingNew(order);
  return nothing ?? new BackupRun(parts, order).run();
}

class BackupRun {
  readonly #parts: BackupWriterParts;
  readonly #order: BackupOrder;
  readonly #meter: BackupProgressMeter;
  readonly #knownByChecksum: ReadonlyMap<string, BackupFile>;
  readonly #knownByContent: ReadonlyMap<string, BackupFile>;
  /** Sizes of known objects that are in the sink. */
  readonly #present = new Map<string, number>();
  /** Equal files are sent once. */
  readonly #storing = new Map<string, Promise<number>>();
  #sentFileCount = 0;

  constructor(parts: BackupWriterParts, order: BackupOrder) {
    this.#parts = parts;
    this.#order = order;
    const listener = parts.onProgress ?? (() => undefined);
    this.#meter = new BackupProgressMeter(parts.clock, order.checkpoint.sizeBytes, listener);
    const files = order.known?.files ?? [];
    this.#knownByChecksum = new Map(files.map((file) => [file.checksum, file]));
    this.#knownByContent = new Map(files.map((file) => [file.sha256, file]));
  }

  async run(): Promise<BackupOutcome> {
    const { sink, seal, signal } = this.#parts;
    const { backupId, description } = this.#order;
    const place = { sink, clusterId: description.clusterId };
    this.#meter.enter('prepare');
    throwIfAborted(signal);
    await this.#abortable(() => this.#findKnown());
    this.#meter.enter('files');
    const manifest = this.#manifestOf(await this.#abortable(() => this.#storeFiles()));
    await this.#abortable(async () => this.#parts.confirm?.());
    throwIfAborted(signal);
    failpoint('backup.before-manifest');
    this.#meter.enter('manifest');
    await storeManifest(place, manifest, seal, signal);
    this.#meter.enter('check');
    failpoint('backup.before-check');
    try {
      await this.#refuseMissing(manifest);
      failpoint('backup.after-check');
    } catch (error) {
      throw await withdrawManifest(place, backupId, error);
    }
    this.#meter.enter('done');
    const [sentSizeBytes, sentFileCount] = [this.#meter.bytesSent, this.#sentFileCount];
    return { kind: 'written', manifest, sentSizeBytes, sentFileCount };
  }

  /** What a sink or a source says about the signal, said as a backup. */
  async #abortable<T>(body: () => Promise<T>): Promise<T> {
    try {
      return await body();
    } catch (error) {
      const isAborted = error instanceof HoldfastError && error.code === 'ABORTED';
      if (isAborted) throwIfAborted(this.#parts.signal);
      throw error;
    }
  }

  /** One listing instead of a question for every file: most of them have not changed. */
  async #findKnown(): Promise<void> {
    if (this.#knownByContent.size === 0) return;
    const { clusterId } = this.#order.description;
    const prefix = filePrefix(clusterId);
    for await (const object of this.#parts.sink.list(prefix, undefined, this.#readOptions())) {
      const sha256 = object.key.slice(prefix.length);
      if (this.#knownByContent.has(sha256)) this.#present.set(sha256, object.sizeBytes);
    }
  }

  async #storeFiles(): Promise<readonly BackupFile[]> {
    const { files } = this.#order.checkpoint;
    const stored = new Map<string, BackupFile>();
    await forEachBounded(files, this.#parts.concurrency, async (file) => {
      throwIfAborted(this.#parts.signal);
      failpoint('backup.before-file');
      stored.set(file.path, await this.#storeFile(file));
    });
    failpoint('backup.after-files');
    return files.map(({ path }) => stored.get(path) as BackupFile);
  }

  async #storeFile(file: PinnedFile): Promise<BackupFile> {
    const { path, kind, checksum, sizeBytes } = file;
    const known = this.#knownByChecksum.get(checksum);
    const isKnown =
      known !== undefined &&
      known.sizeBytes === sizeBytes &&
      !this.#parts.isVerifyingExisting &&
      this.#present.get(known.sha256) === known.storedSizeBytes;
    if (isKnown) {
      this.#meter.reused(sizeBytes);
      const { sha256, storedSizeBytes } = known;
      return { path, kind, checksum, sizeBytes, sha256, storedSizeBytes };
    }
    const facts = await this.#order.facts.of(file);
    const { sha256 } = facts;
    const storedSizeBytes = await this.#storeOnce(file, facts);
    return { path, kind, checksum, sizeBytes, sha256, storedSizeBytes };
  }

  async #storeOnce(file: PinnedFile, facts: FileFacts): Promise<number> {
    const underWay = this.#storing.get(facts.sha256);
    if (underWay !== undefined) {
      const storedSizeBytes = await underWay;
      this.#meter.reused(file.sizeBytes);
      return storedSizeBytes;
    }
    const storing = this.#storeContent(file, facts);
    this.#storing.set(facts.sha256, storing);
    return storing;
  }

  /** Size of the sealed object. */
  async #storeContent(file: PinnedFile, facts: FileFacts): Promise<number> {
    const { sink } = this.#parts;
    const key = fileKey(this.#order.description.clusterId, facts.sha256);
    const found = await sink.head(key, this.#readOptions());
    if (found !== null && (await this.#isGood(found, facts))) {
      this.#meter.reused(file.sizeBytes);
      return found.sizeBytes;
    }
    const sentSizeBytes = await this.#send(file, facts, key, found === null);
    if (sentSizeBytes !== null) return sentSizeBytes;
    // Somebody else was faster; what there is now is young.
    const other = await sink.head(key, this.#readOptions());
    if (other !== null && (await this.#isGood(other, facts))) {
      this.#meter.reused(file.sizeBytes);
      return other.sizeBytes;
    }
    const again = await this.#send(file, facts, key, false);
    if (again !== null) return again;
    throw new HoldfastError('SINK_REFUSED', `${sink.name} does not replace ${key}`);
  }

  async #isGood(found: SinkObject, facts: FileFacts): Promise<boolean> {
    const { clock, isVerifyingExisting, seal, signal, sink } = this.#parts;
    const known = this.#knownByContent.get(facts.sha256);
    const isSizeKnown = known?.storedSizeBytes === found.sizeBytes;
    if (isSizeKnown && !isVerifyingExisting) return true;
    const isOld = clock.wallMs() - found.modifiedMs > REUSE_AGE_MS_MAX;
    if (known === undefined && isOld) return false;
    const { clusterId } = this.#order.description;
    const { sha256, sizeBytes } = facts;
    try {
      await checkStoredFile(sink, { clusterId, sha256, sizeBytes }, seal.keys, signal);
      return true;
    } catch (error) {
      if (!isObjectDamage(error)) throw error;
      return false;
    }
  }

  /** Null when the object is there already, and only its absence would have allowed to send it. */
  async #send(
    file: PinnedFile,
    facts: FileFacts,
    key: string,
    ifAbsent: boolean,
  ): Promise<number | null> {
    const { budget, fileSystem, pause, seal, sealing, signal, sink } = this.#parts;
    const abort = signal === undefined ? {} : { signal };
    const { path, fullPath, sizeBytes } = file;
    const source = await SealedFileSource.open({
      ...{ fileSystem, fullPath, facts, context: key, seal, pause, budget, ...abort },
      ...(sealing === undefined ? {} : { sealing }),
    });
    try {
      const onProgress = (storedSizeBytes: number): void => {
        const share = Math.min(1, storedSizeBytes / source.sizeBytes);
        this.#meter.sending(path, Math.floor(sizeBytes * share));
      };
      const outcome = await sink.put(key, source, { ifAbsent, onProgress, ...abort });
      if (outcome === 'exists') {
        this.#meter.sending(path, 0);
        return null;
      }
      this.#meter.sent(path, sizeBytes);
      this.#sentFileCount += 1;
      return source.sizeBytes;
    } finally {
      source.close();
    }
  }

  #manifestOf(files: readonly BackupFile[]): BackupManifest {
    const { backupId, base, checkpoint, description, log, type } = this.#order;
    const { clock, seal } = this.#parts;
    const { compression, keys } = seal;
    const { collections } = description;
    return {
      ...{ backupId, type, createdMs: clock.wallMs(), ...description },
      ...{ compression, keyId: keys.current?.id ?? null },
      ...{ baseBackupId: base?.backupId ?? null, log },
      sizeBytes: files.reduce((sum, file) => sum + file.sizeBytes, 0),
      storedSizeBytes: files.reduce((sum, file) => sum + file.storedSizeBytes, 0),
      vectorCount: collections.reduce((sum, { vectorCount }) => sum + vectorCount, 0),
      ...{ root: checkpoint.root, files, collections },
    };
  }

  /** Somebody may have removed what was taken to be there. @throws HoldfastError BACKUP_CORRUPT */
  async #refuseMissing(manifest: BackupManifest): Promise<void> {
    const { signal, sink } = this.#parts;
    const { clusterId, files, log, timeline } = manifest;
    const sizes = new Map(files.map((file) => [file.sha256, file.storedSizeBytes]));
    const prefix = filePrefix(clusterId);
    for await (const { key, sizeBytes } of sink.list(prefix, undefined, this.#readOptions())) {
      const sha256 = key.slice(prefix.length);
      if (sizes.get(sha256) === sizeBytes) sizes.delete(sha256);
    }
    for (const sha256 of sizes.keys()) throw missing(sink, fileKey(clusterId, sha256));
    const chunks = new Set(log?.chunks ?? []);
    if (chunks.size > 0) {
      const logPrefix = logChunkPrefix(clusterId, timeline);
      for await (const { key } of sink.list(logPrefix, undefined, this.#readOptions())) {
        chunks.delete(numberOfKey(key) ?? 0);
      }
    }
    for (const index of chunks) throw missing(sink, logChunkKey(clusterId, timeline, index));
    throwIfAborted(signal);
  }

  #readOptions(): { readonly signal?: AbortSignal } {
    const { signal } = this.#parts;
    return signal === undefined ? {} : { signal };
  }
}

/** Checks what an incremental backup is measured from. @throws HoldfastError BACKUP_ABORTED */
function nothingNew({ base, checkpoint, description, type }: BackupOrder): BackupOutcome | null {
  if (type === 'full') return null;
  const { index, sum } = checkpoint.root.meta;
  const isFitting =
    base !== null &&
    base.clusterId === description.clusterId &&
    base.timeline === description.timeline &&
    base.root.meta.index <= index;
  if (!isFitting) {
    const message = 'no backup of this timeline is older than the state: make a full backup';
    throw new HoldfastError('BACKUP_ABORTED', message, { details: { index } });
  }
  if (base.root.meta.index < index) return null;
  if (Buffer.compare(base.root.meta.sum, sum) === 0) {
    return { kind: 'nothing-new', baseBackupId: base.backupId, index };
  }
  const message = `backup ${base.backupId} has another entry ${index}: make a full backup`;
  throw new HoldfastError('BACKUP_ABORTED', message, { details: { index } });
}

function missing(sink: BackupSink, key: string): HoldfastError {
  const message = `${sink.name} has no object ${key} any more, or one of another size`;
  return new HoldfastError('BACKUP_CORRUPT', message, { details: { object: key } });
}
