/** Reads records back from log files, verified, over a few open read handles. */
import { HoldfastError } from '@holdfast/base';
import type { FileHandle, FileSystem } from '../fs.ts';
import { isFileIoError } from '../fs.ts';
import type { RecordPosition } from './entry-index.ts';
import { checksumMask, walFilePath } from './format.ts';
import type { WalRecord } from './record.ts';
import { readRecord } from './record.ts';

/** Readers run near the end of the log; more files are open only while a peer catches up. */
const OPEN_FILES_MAX = 8;

export class RecordSource {
  readonly #fileSystem: FileSystem;
  readonly #directory: string;
  readonly #handles = new Map<number, FileHandle>();

  constructor(fileSystem: FileSystem, directory: string) {
    this.#fileSystem = fileSystem;
    this.#directory = directory;
  }

  /**
   * The records at `positions`, which lie one after another in one file: one read.
   * `firstIndex` is the log index of the first, for the error.
   * @throws HoldfastError WAL_CORRUPT naming file, offset and index
   */
  readRun(positions: readonly RecordPosition[], firstIndex: number): readonly WalRecord[] {
    const first = positions[0];
    const last = positions.at(-1);
    if (first === undefined || last === undefined) return [];
    const bytes = new Uint8Array(last.offset + last.sizeBytes - first.offset);
    const handle = this.#open(first, firstIndex);
    const count = handle.read(bytes, first.offset);
    const mask = checksumMask(first.fileId);
    return positions.map((position, i) => {
      const start = position.offset - first.offset;
      const end = Math.min(start + position.sizeBytes, count);
      const outcome = readRecord(bytes, start, end, mask, first.offset);
      if (outcome.kind === 'record') return outcome.record;
      const what = outcome.kind === 'damaged' ? outcome.what : 'record type is unknown';
      throw walCorrupt(handle.path, position.offset, firstIndex + i, what);
    });
  }

  path(fileId: number): string {
    return walFilePath(this.#directory, fileId);
  }

  /** Closes the handles of files below `fileId`, which are about to be deleted. */
  releaseBelow(fileId: number): void {
    for (const [id, handle] of this.#handles) {
      if (id >= fileId) continue;
      handle.close();
      this.#handles.delete(id);
    }
  }

  close(): void {
    this.releaseBelow(Number.POSITIVE_INFINITY);
  }

  #open({ fileId, offset }: RecordPosition, index: number): FileHandle {
    const known = this.#handles.get(fileId);
    if (known !== undefined) return known;
    const handle = this.#openFile(fileId, offset, index);
    this.#handles.set(fileId, handle);
    if (this.#handles.size > OPEN_FILES_MAX) {
      const [oldestId, oldest] = this.#handles.entries().next().value as [number, FileHandle];
      oldest.close();
      this.#handles.delete(oldestId);
    }
    return handle;
  }

  /** A file that is gone is as bad as one that has rot. */
  #openFile(fileId: number, offset: number, index: number): FileHandle {
    try {
      return this.#fileSystem.open(this.path(fileId), 'read');
    } catch (error) {
      if (!isFileIoError(error, 'ENOENT')) throw error;
      throw walCorrupt(this.path(fileId), offset, index, 'the file is missing');
    }
  }
}

/** The one shape of a damaged log. */
export function walCorrupt(
  file: string,
  offset: number,
  index: number | null,
  what: string,
): HoldfastError {
  const place = `${file} at offset ${offset}${index === null ? '' : `, log index ${index}`}`;
  const message =
    `${place}: ${what}; it may have been acknowledged, so it is not dropped: ` +
    'keep the directory and replace this node from a healthy copy';
  return new HoldfastError('WAL_CORRUPT', message, { details: { file, offset, index, what } });
}
