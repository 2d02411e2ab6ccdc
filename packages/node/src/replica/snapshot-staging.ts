/**
 * Where an incoming snapshot grows: one folder with a file per file that is on its way, named by
 * path and checksum. The names say what the bytes will be, so the folder needs no record beside it:
 * after a cut connection, a restart of either side or a new leader, whatever of it the next list of
 * files still names is gone on with, and the rest is removed. So the folder is never larger than
 * one snapshot.
 *
 * Nothing is believed unseen. A staged file counts as far as its block checksums reach, and as
 * whole only when its bytes give the checksum of its name; both are looked at in slices. A file
 * that this node's own checkpoints hold already, with the same checksum, is not sent at all.
 *
 * A failed sync drops the file it was for: it is fetched anew into a new one (never retried).
 */
import { assert, failpoint, HoldfastError, must } from '@holdfast/base';
import type { FileHandle, FileSystem } from '@holdfast/storage';
import { digestSteps, joinPath, parentDirectory, soundPrefixSteps } from '@holdfast/storage';
import type { IncomingSnapshotFile } from '../service-api.ts';
import type { Pause } from './slices.ts';
import { inSlices } from './slices.ts';
import { protocolError } from './snapshot-header.ts';

export const STAGING_DIRECTORY = 'staging';
/** What a checkpoint may contain: nothing else is written on a peer's word. */
const ALLOWED_PATH = /^(meta|collections\/\d+\/\d+)\/[a-zA-Z0-9][a-zA-Z0-9._-]*$/;
/** With the checksum behind it still a file name. */
const PATH_LENGTH_MAX = 180;
const CHECKSUM = /^[0-9a-f]{64}$/;
/** A block file has at least its header. */
const FILE_SIZE_BYTES_MIN = 64;
/** What a power cut may take of a file that is on its way; a sync of so much takes a few ms. */
const SYNC_EVERY_SIZE_BYTES = 4 * 1024 * 1024;
/** Left free for the log and the next checkpoint. */
const FREE_SPACE_RESERVE_BYTES = 64 * 1024 * 1024;

export interface StagingOptions {
  readonly fileSystem: FileSystem;
  readonly dataDirectory: string;
  readonly files: readonly IncomingSnapshotFile[];
  readonly pause: Pause;
}

/** Where the bytes of one listed file are. */
type Place =
  /** In the live tree, under the path that it will have. */
  | { readonly kind: 'live' }
  /** In the staging folder, up to `heldSizeBytes`. */
  | { readonly kind: 'staged'; heldSizeBytes: number; isWhole: boolean };

export class SnapshotStaging {
  readonly #options: StagingOptions;
  readonly #directory: string;
  readonly #places: readonly Place[];
  #open: { readonly fileIndex: number; readonly handle: FileHandle } | null = null;
  #unsyncedSizeBytes = 0;

  private constructor(options: StagingOptions, places: readonly Place[]) {
    this.#options = options;
    this.#directory = stagingPath(options.dataDirectory);
    this.#places = places;
  }

  /**
   * Looks at everything that is here already, then takes what is missing.
   * @throws HoldfastError PEER_PROTOCOL (a file that no checkpoint has), DISK_FULL, FILE_IO
   */
  static async open(options: StagingOptions): Promise<SnapshotStaging> {
    const { fileSystem, dataDirectory, files } = options;
    for (const file of files) refuseStrange(file);
    const directory = stagingPath(dataDirectory);
    fileSystem.makeDirectory(directory);
    const names = new Set(files.map(stagedName));
    if (names.size !== files.length) throw protocolError('lists a file twice');
    for (const name of fileSystem.list(directory)) {
      if (!names.has(name)) fileSystem.removeTree(joinPath(directory, name));
    }
    const places: Place[] = [];
    for (const file of files) places.push(await findPlace(options, file));
    const staging = new SnapshotStaging(options, places);
    staging.#refuseWithoutSpace();
    return staging;
  }

  get heldSizesBytes(): readonly number[] {
    return this.#options.files.map((file, i) => {
      const place = must(this.#places[i]);
      return place.kind === 'live' ? file.sizeBytes : place.heldSizeBytes;
    });
  }

  get heldSizeBytes(): number {
    return this.heldSizesBytes.reduce((sum, sizeBytes) => sum + sizeBytes, 0);
  }

  get sizeBytes(): number {
    return this.#options.files.reduce((sum, file) => sum + file.sizeBytes, 0);
  }

  /** Bytes right behind what is held of the file. The last of a file also verifies it. */
  async write(fileIndex: number, offset: number, bytes: Uint8Array): Promise<void> {
    const file = must(this.#options.files[fileIndex], 'a chunk belongs to a listed file');
    const place = must(this.#places[fileIndex]);
    assert(place.kind === 'staged' && place.heldSizeBytes === offset, 'chunks come in order', {
      fileIndex,
      offset,
    });
    failpoint('snapshot.receive-chunk');
    const handle = this.#handleOf(fileIndex);
    handle.write([bytes], offset);
    place.heldSizeBytes += bytes.byteLength;
    this.#unsyncedSizeBytes += bytes.byteLength;
    const isLast = place.heldSizeBytes === file.sizeBytes;
    if (isLast || this.#unsyncedSizeBytes >= SYNC_EVERY_SIZE_BYTES) this.#sync(fileIndex);
    if (!isLast) return;
    this.#closeOpen();
    await this.#confirm(fileIndex);
    place.isWhole = true;
  }

  /** All bytes are here: durable, and what their checksums promise. @throws HoldfastError */
  async seal(): Promise<void> {
    for (const [fileIndex, place] of this.#places.entries()) {
      if (place.kind === 'live') {
        // Hours may have passed since it was looked at.
        const { fileSystem, dataDirectory, files, pause } = this.#options;
        const { path, checksum } = must(files[fileIndex]);
        const live = joinPath(dataDirectory, path);
        if (!(await isWholeAt(fileSystem, live, checksum, pause))) throw damaged(live);
        continue;
      }
      if (!place.isWhole) throw protocolError('ended before its last byte');
      // Also what an earlier process wrote: it may have ended between write and sync.
      this.#handleOf(fileIndex);
      this.#sync(fileIndex);
      this.#closeOpen();
      await this.#options.pause();
    }
  }

  /** Moves every staged file to the path it will have, durably. Only after `seal`. */
  install(): void {
    const { fileSystem, dataDirectory, files } = this.#options;
    const directories = new Set<string>();
    for (const [fileIndex, file] of files.entries()) {
      if (must(this.#places[fileIndex]).kind === 'live') continue;
      const target = joinPath(dataDirectory, file.path);
      const directory = parentDirectory(target);
      if (!directories.has(directory)) fileSystem.makeDirectory(directory);
      directories.add(directory);
      fileSystem.rename(this.#pathOf(fileIndex), target);
    }
    for (const directory of directories) fileSystem.syncDirectory(directory);
  }

  close(): void {
    this.#closeOpen();
  }

  #handleOf(fileIndex: number): FileHandle {
    if (this.#open?.fileIndex === fileIndex) return this.#open.handle;
    this.#closeOpen();
    const { fileSystem } = this.#options;
    const path = this.#pathOf(fileIndex);
    const handle = fileSystem.open(path, fileSystem.exists(path) ? 'readWrite' : 'createNew');
    this.#open = { fileIndex, handle };
    return handle;
  }

  #sync(fileIndex: number): void {
    try {
      this.#handleOf(fileIndex).sync();
      this.#unsyncedSizeBytes = 0;
    } catch (error) {
      this.#drop(fileIndex);
      throw error;
    }
  }

  async #confirm(fileIndex: number): Promise<void> {
    const { fileSystem, files, pause } = this.#options;
    const path = this.#pathOf(fileIndex);
    const { checksum } = must(files[fileIndex]);
    if (await isWholeAt(fileSystem, path, checksum, pause)) return;
    this.#drop(fileIndex);
    throw damaged(path);
  }

  #drop(fileIndex: number): void {
    this.#closeOpen();
    this.#options.fileSystem.remove(this.#pathOf(fileIndex));
  }

  #closeOpen(): void {
    this.#open?.handle.close();
    this.#open = null;
  }

  #pathOf(fileIndex: number): string {
    return joinPath(this.#directory, stagedName(must(this.#options.files[fileIndex])));
  }

  #refuseWithoutSpace(): void {
    const { fileSystem, dataDirectory } = this.#options;
    const missingBytes = this.sizeBytes - this.heldSizeBytes;
    const freeBytes = fileSystem.freeBytes(dataDirectory);
    if (freeBytes >= missingBytes + FREE_SPACE_RESERVE_BYTES) return;
    throw new HoldfastError(
      'DISK_FULL',
      `a snapshot needs ${missingBytes} bytes more, ${freeBytes} are free: free space`,
      { details: { missingBytes, freeBytes } },
    );
  }
}

export const stagingPath = (dataDirectory: string): string =>
  joinPath(dataDirectory, STAGING_DIRECTORY);

/** Path and checksum; `+` is in neither, and staged files of one folder need no folders below. */
const stagedName = ({ path, checksum }: IncomingSnapshotFile): string =>
  `${path.replaceAll('/', '+')}+${checksum}`;

function refuseStrange({ path, sizeBytes, checksum }: IncomingSnapshotFile): void {
  const isKnown = path.length <= PATH_LENGTH_MAX && ALLOWED_PATH.test(path);
  if (!isKnown) throw protocolError(`must not contain '${path}'`);
  if (!CHECKSUM.test(checksum)) throw protocolError(`has no checksum for '${path}'`);
  if (sizeBytes < FILE_SIZE_BYTES_MIN) throw protocolError(`has no bytes of '${path}'`);
}

async function findPlace(options: StagingOptions, file: IncomingSnapshotFile): Promise<Place> {
  const { fileSystem, dataDirectory, pause } = options;
  const live = joinPath(dataDirectory, file.path);
  const isSameSize = fileSystem.exists(live) && fileSystem.sizeBytes(live) === file.sizeBytes;
  if (isSameSize && (await isWholeAt(fileSystem, live, file.checksum, pause))) {
    return { kind: 'live' };
  }
  const staged = joinPath(stagingPath(dataDirectory), stagedName(file));
  const heldSizeBytes = fileSystem.exists(staged) ? await soundPart(options, file, staged) : 0;
  return { kind: 'staged', heldSizeBytes, isWhole: heldSizeBytes === file.sizeBytes };
}

/** Cuts a staged file behind what is sound of it; removes it when nothing is. */
async function soundPart(
  { fileSystem, pause }: StagingOptions,
  file: IncomingSnapshotFile,
  path: string,
): Promise<number> {
  const foundSizeBytes = fileSystem.sizeBytes(path);
  const isFull = foundSizeBytes === file.sizeBytes;
  if (isFull && (await isWholeAt(fileSystem, path, file.checksum, pause))) return foundSizeBytes;
  const soundSizeBytes = await inSlices(soundPrefixSteps(fileSystem, path), pause);
  // Sound to the end and yet another file, or nothing sound: there is nothing to go on from.
  if (soundSizeBytes === 0 || soundSizeBytes >= file.sizeBytes) {
    fileSystem.remove(path);
    return 0;
  }
  const handle = fileSystem.open(path, 'readWrite');
  try {
    handle.truncate(soundSizeBytes);
  } finally {
    handle.close();
  }
  return soundSizeBytes;
}

async function isWholeAt(
  fileSystem: FileSystem,
  path: string,
  checksum: string,
  pause: Pause,
): Promise<boolean> {
  return (await inSlices(digestSteps(fileSystem, path), pause)) === checksum;
}

function damaged(path: string): HoldfastError {
  return new HoldfastError('FILE_CORRUPT', `${path} fails its checksum; it is fetched again`, {
    details: { path },
  });
}
