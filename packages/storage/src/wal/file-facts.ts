/**
 * What a running log knows of its files without reading them, so that a reader can tell what is
 * gone: a file cut short or put back as it once was is sound in itself.
 *
 * Invariant: a file is closed when the next one is begun, and nothing of it changes from then on.
 */
import type { BatchPlace } from './wal-writer.ts';

export interface WalFileFacts {
  readonly fileId: number;
  /** Of a closed file; at least 0 of the one that is written to. */
  readonly sizeBytes: number;
  /** Newest batch in it, or in an older file when it holds none; at least, while not closed. */
  readonly lastBatch: number;
  readonly isClosed: boolean;
}

export type ClosedWalFile = Omit<WalFileFacts, 'isClosed'>;

/** The view of the thread that appends: it hears of a closed file with the batch after. */
export class WalFileLedger {
  readonly #closed = new Map<number, WalFileFacts>();
  #active: WalFileFacts;

  constructor(closed: readonly ClosedWalFile[], activeFileId: number, lastBatch: number) {
    this.#close(closed);
    this.#active = { fileId: activeFileId, sizeBytes: 0, lastBatch, isClosed: false };
  }

  /** Ascending; the last one is written to. */
  list(): readonly WalFileFacts[] {
    return [...this.#closed.values(), this.#active];
  }

  written({ batch, fileId }: BatchPlace, closed: readonly ClosedWalFile[]): void {
    this.#close(closed);
    this.#active = { fileId, sizeBytes: 0, lastBatch: batch, isClosed: false };
  }

  releaseBelow(fileId: number): void {
    for (const id of this.#closed.keys()) if (id < fileId) this.#closed.delete(id);
  }

  #close(files: readonly ClosedWalFile[]): void {
    for (const file of files) this.#closed.set(file.fileId, { ...file, isClosed: true });
  }
}
