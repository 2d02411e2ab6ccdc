/**
 * Makes one damaged place of the running log good. What no batch can ever be in becomes zero again;
 * entries whose place has rot are written once more at the end of the log, each proven to be the
 * one that the log knows. Nothing is cut off or guessed; all of it are orders to the log thread.
 */
import type { GroupId, LogIndex, Member, NodeId } from '@holdfast/base';
import { unreachable } from '@holdfast/base';
import type { Wal, WalFlaw } from '@holdfast/storage';
import type { EntryFetcher } from './entry-fetcher.ts';

export interface LogRepairParts {
  readonly wal: Pick<
    Wal,
    'mend' | 'rewrite' | 'entriesLostBy' | 'distrustHead' | 'groups' | 'files'
  >;
  readonly entries: Pick<EntryFetcher, 'fetch'>;
  /** Up to here every entry of the log is committed: what was applied is. */
  readonly committedIndex: () => LogIndex;
  readonly peers: () => readonly Member[];
}

export class LogRepair {
  readonly #parts: LogRepairParts;
  readonly #sources = new Set<NodeId>();
  #entryCount = 0;
  #bytesMoved = 0;

  constructor(parts: LogRepairParts) {
    this.#parts = parts;
  }

  /** Of all places so far, for the event. */
  get facts(): Readonly<Record<string, unknown>> {
    const [entryCount, bytesMoved] = [this.#entryCount, this.#bytesMoved];
    return { entryCount, bytesMoved, sources: [...this.#sources] };
  }

  /**
   * True: nothing is missing for it any more, though the place itself stays as it is.
   * @throws HoldfastError REPAIR_POSTPONED, REPAIR_REFUSED: try again later; WAL_IO
   */
  async mend(flaw: WalFlaw): Promise<boolean> {
    const { wal } = this.#parts;
    const { end, epoch = 0, fileId, isEnclosed = false, kind, offset, watermark = 0 } = flaw;
    switch (kind) {
      case 'zeros':
        if (this.#lostBy(flaw).length > 0) return this.#rewrite(flaw);
        await wal.mend({ kind: 'zero', fileId, from: offset, to: end, isEnclosed });
        return false;
      case 'header':
        await wal.mend({ kind: 'header', fileId, epoch, watermark });
        return false;
      case 'batch':
        return this.#rewrite(flaw);
      case 'note':
        // What it says of the batch before is repeated at the head of every later file.
        return true;
      default:
        return unreachable(kind);
    }
  }

  async #rewrite(flaw: WalFlaw): Promise<boolean> {
    const { committedIndex, entries, peers, wal } = this.#parts;
    const isActive = wal.files().at(-1)?.fileId === flaw.fileId;
    if (flaw.isFileMissing === true && isActive) {
      await wal.mend({ kind: 'leave', fileId: flaw.fileId });
    }
    wal.distrustHead(flaw.fileId);
    for (const { group, indexes } of this.#lostBy(flaw)) {
      const fetched = await entries.fetch(group, indexes, peers());
      await wal.rewrite(group, fetched.entries, committedIndex());
      this.#entryCount += fetched.entries.length;
      this.#bytesMoved += fetched.bytesMoved;
      for (const source of fetched.sources) this.#sources.add(source);
    }
    return this.#lostBy(flaw).length === 0;
  }

  #lostBy(flaw: WalFlaw) {
    const { wal } = this.#parts;
    return wal.groups().flatMap((group: GroupId) => {
      const indexes = wal.entriesLostBy(group, flaw);
      return indexes.length === 0 ? [] : [{ group, indexes }];
    });
  }
}
