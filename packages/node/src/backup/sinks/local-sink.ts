/**
 * A folder as a store of backups: another disk, or a mount. Objects are files that end with their
 * digest (local-trailer.ts); `a/b` is the file `a/b.object`, so that `a` and `a/b` can both exist.
 *
 * Invariants: an object is written under a temporary name on the same file system, synced, and then
 * linked (only if absent; the kernel lets exactly one of many links win) or renamed; its folder is
 * synced before `put` returns. Temporary files of a crash are removed once they are a day old.
 * From node:fs itself, as local-files.ts says.
 */
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createStreamDigest } from '@holdfast/storage';
import { classifyFileError } from './local-failure.ts';
import {
  contentPieces,
  linkIfAbsent,
  makeFolder,
  openOrNull,
  readTrailer,
  removeFile,
  replace,
  statOrNull,
  syncFolder,
  writeTemporary,
} from './local-files.ts';
import { listFiles, NAME_PAGE_COUNT_MAX } from './local-list.ts';
import { TRAILER_SIZE_BYTES } from './local-trailer.ts';
import { OBJECT_SIZE_BYTES_MAX } from './part-size.ts';
import type {
  BackupSink,
  SinkObject,
  SinkPutOptions,
  SinkPutOutcome,
  SinkReadOptions,
  SinkSource,
} from './sink.ts';
import { checkSink } from './sink-check.ts';
import {
  collectVerified,
  randomMark,
  type SinkDigest,
  sourcePieces,
  verifiedPieces,
} from './sink-digest.ts';
import { aborted, notFound, refusal, sinkError } from './sink-failure.ts';
import { checkKeyPrefix, checkSinkKey, isSinkKey, OBJECT_FILE_SUFFIX } from './sink-keys.ts';
import type { SinkEnvironment } from './sink-retry.ts';
import { withRetry } from './sink-retry.ts';

/** Inside the folder, because only names on one file system can be linked. */
const TEMPORARY_FOLDER = '.temporary';
/** A put that is under way writes all the time, so its file is younger. */
export const LEFTOVER_AGE_MS_MIN = 24 * 3_600_000;

export interface LocalSinkOptions {
  /** Absolute; it must exist. */
  readonly folder: string;
  /** Refuse to write unless something is mounted here: an unmounted disk looks like a folder. */
  readonly isMountRequired: boolean;
  /** Names of one folder held in memory by `list`. */
  readonly listPageCountMax?: number;
}

export class LocalSink implements BackupSink {
  readonly name: string;
  readonly #options: LocalSinkOptions;
  readonly #environment: SinkEnvironment;
  #areLeftoversRemoved = false;

  constructor(options: LocalSinkOptions, environment: SinkEnvironment) {
    this.#options = options;
    this.#environment = environment;
    this.name = `file://${options.folder}`;
  }

  check(options: SinkReadOptions = {}): Promise<void> {
    return checkSink(this, this.#environment.random, options.signal);
  }

  async put(key: string, source: SinkSource, options: SinkPutOptions): Promise<SinkPutOutcome> {
    const path = this.#pathOf(key);
    const what = `put of ${key} to ${this.name}`;
    // no limit of folders, but what is stored here must fit into every other store
    if (source.sizeBytes > OBJECT_SIZE_BYTES_MAX)
      throw refusal(what, `an object of ${source.sizeBytes} bytes is too large`);
    const limits = { signal: options.signal, sizeBytes: source.sizeBytes };
    return this.#retried(what, limits, async (signal) => {
      await this.#prepare();
      if (options.ifAbsent && (await statOrNull(path)) !== null) return 'exists';
      return this.#store(path, source, options, signal, what);
    });
  }

  async get(
    key: string,
    sizeBytesMax: number,
    options: SinkReadOptions = {},
  ): Promise<Uint8Array | null> {
    const path = this.#pathOf(key);
    const what = `get of ${key} from ${this.name}`;
    const object = this.#objectName(key);
    const limits = { signal: options.signal, sizeBytes: sizeBytesMax };
    return this.#retried(what, limits, async () => {
      const handle = await openOrNull(path);
      if (handle === null) return null;
      try {
        const digest = await readTrailer(handle, object);
        const chunks = contentPieces(handle, digest.sizeBytes);
        return await collectVerified(chunks, digest, sizeBytesMax, { object, what });
      } finally {
        await handle.close();
      }
    });
  }

  async *read(key: string, options: SinkReadOptions = {}): AsyncGenerator<Uint8Array> {
    const path = this.#pathOf(key);
    const what = `read of ${key} from ${this.name}`;
    const { signal } = options;
    const handle = await this.#retried(what, options, () => openOrNull(path));
    if (handle === null) throw notFound(key, this.name);
    try {
      const object = this.#objectName(key);
      const digest = await this.#retried(what, options, () => readTrailer(handle, object));
      const pieces = verifiedPieces(contentPieces(handle, digest.sizeBytes), digest, object);
      for (;;) {
        // a generator that has thrown is at its end: no attempt after the first
        const next = await this.#once(what, signal, () => pieces.next());
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      await handle.close();
    }
  }

  async head(key: string, options: SinkReadOptions = {}): Promise<SinkObject | null> {
    const path = this.#pathOf(key);
    return this.#retried(`head of ${key} in ${this.name}`, options, async () => {
      const handle = await openOrNull(path);
      if (handle === null) return null;
      try {
        const { sizeBytes } = await readTrailer(handle, this.#objectName(key));
        const { mtimeMs } = await handle.stat();
        return { key, sizeBytes, modifiedMs: Math.floor(mtimeMs) };
      } finally {
        await handle.close();
      }
    });
  }

  async *list(
    prefix: string,
    after = '',
    options: SinkReadOptions = {},
  ): AsyncGenerator<SinkObject> {
    checkKeyPrefix(prefix, this.name);
    const what = `list of ${prefix}* in ${this.name}`;
    const { signal } = options;
    const pageCountMax = this.#options.listPageCountMax ?? NAME_PAGE_COUNT_MAX;
    await this.#once(what, signal, () => this.#checkFolder());
    const files = listFiles(this.#options.folder, { prefix, after, pageCountMax });
    for (;;) {
      const next = await this.#once(what, signal, () => files.next());
      if (next.done === true) return;
      const { key, path } = next.value;
      if (!isSinkKey(key)) continue;
      const found = await this.#retried(what, options, () => statOrNull(path));
      // removed since its name was read
      if (found === null) continue;
      const sizeBytes = Math.max(0, found.size - TRAILER_SIZE_BYTES);
      yield { key, sizeBytes, modifiedMs: Math.floor(found.mtimeMs) };
    }
  }

  async remove(keys: readonly string[], options: SinkReadOptions = {}): Promise<void> {
    const paths = keys.map((key) => this.#pathOf(key));
    const changed = new Set<string>();
    const what = `remove of ${keys.length} objects in ${this.name}`;
    for (const path of paths)
      if (await this.#retried(what, options, () => removeFile(path))) changed.add(dirname(path));
    for (const folder of changed) await this.#retried(what, options, () => syncFolder(folder));
  }

  /** Files have no links. */
  async presign(key: string): Promise<null> {
    this.#pathOf(key);
    return null;
  }

  /** Removes what interrupted puts left, when it is old enough. Returns how many files. */
  async removeAbandoned(olderThanMs: number, options: SinkReadOptions = {}): Promise<number> {
    const folder = join(this.#options.folder, TEMPORARY_FOLDER);
    const what = `removal of leftovers in ${this.name}`;
    return this.#retried(what, options, async () => {
      let count = 0;
      if ((await statOrNull(folder)) === null) return 0;
      for (const name of await readdir(folder)) {
        const path = join(folder, name);
        const found = await statOrNull(path);
        const ageMs = this.#environment.clock.wallMs() - (found?.mtimeMs ?? Infinity);
        if (ageMs >= olderThanMs && (await removeFile(path))) count += 1;
      }
      return count;
    });
  }

  async close(): Promise<void> {}

  async #store(
    path: string,
    source: SinkSource,
    options: SinkPutOptions,
    signal: AbortSignal,
    what: string,
  ): Promise<SinkPutOutcome> {
    const { folder } = this.#options;
    const temporaryPath = join(folder, TEMPORARY_FOLDER, randomMark(this.#environment.random));
    const written = new WrittenSource(source, what, signal);
    try {
      const onWritten = (sizeBytes: number) => options.onProgress?.(sizeBytes);
      await writeTemporary(temporaryPath, written.pieces(), () => written.digest(), onWritten);
      if (signal.aborted) throw aborted(what);
      await makeFolder(dirname(path));
      if (!options.ifAbsent) await replace(temporaryPath, path);
      else if (!(await linkIfAbsent(temporaryPath, path))) return 'exists';
      await this.#syncName(dirname(path), what);
      return 'stored';
    } finally {
      await removeFile(temporaryPath);
    }
  }

  /** When this fails nobody knows: another attempt would take our own object for another's. */
  async #syncName(folder: string, what: string): Promise<void> {
    try {
      await syncFolder(folder);
    } catch (error) {
      const failure = classifyFileError(error);
      throw failure === null ? error : sinkError(what, failure, error);
    }
  }

  async #prepare(): Promise<void> {
    await this.#checkFolder();
    await makeFolder(join(this.#options.folder, TEMPORARY_FOLDER));
    if (this.#areLeftoversRemoved) return;
    this.#areLeftoversRemoved = true;
    await this.removeAbandoned(LEFTOVER_AGE_MS_MIN);
  }

  /** Never made by us: a missing one is a missing mount, and the disk below it would fill. */
  async #checkFolder(): Promise<void> {
    const { folder, isMountRequired } = this.#options;
    const found = await statOrNull(folder);
    if (found === null || !found.isDirectory())
      throw refusal(this.name, 'there is no such folder; create it, or mount what it is on');
    if (!isMountRequired) return;
    const above = await statOrNull(dirname(folder));
    if (above?.dev === found.dev)
      throw refusal(this.name, 'nothing is mounted there; mount it, or drop mounted=true');
  }

  #pathOf(key: string): string {
    return join(this.#options.folder, `${checkSinkKey(key, this.name)}${OBJECT_FILE_SUFFIX}`);
  }

  #objectName(key: string): string {
    return `${key} in ${this.name}`;
  }

  #retried<T>(
    what: string,
    limits: { readonly signal?: AbortSignal | undefined; readonly sizeBytes?: number },
    run: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { signal, sizeBytes = 0 } = limits;
    return withRetry(this.#environment, {
      ...{ what, signal, sizeBytes, classify: classifyFileError },
      run: (attempt) => run(attempt.signal),
    });
  }

  #once<T>(what: string, signal: AbortSignal | undefined, run: () => Promise<T>): Promise<T> {
    const retryPolicy = { ...this.#environment.retryPolicy, attemptCountMax: 1 };
    return withRetry(
      { ...this.#environment, retryPolicy },
      { what, signal, classify: classifyFileError, run },
    );
  }
}

/** Reads a source once, in order, and knows its digest at the end. */
class WrittenSource {
  readonly #source: SinkSource;
  readonly #what: string;
  readonly #signal: AbortSignal;
  readonly #digest = createStreamDigest();

  constructor(source: SinkSource, what: string, signal: AbortSignal) {
    this.#source = source;
    this.#what = what;
    this.#signal = signal;
  }

  async *pieces(): AsyncGenerator<Uint8Array> {
    for await (const piece of sourcePieces(this.#source, this.#what, this.#signal)) {
      this.#digest.update(piece);
      yield piece;
    }
  }

  /** Once, after the last piece. */
  digest(): SinkDigest {
    return { sha256: this.#digest.finishHex(), sizeBytes: this.#source.sizeBytes };
  }
}
