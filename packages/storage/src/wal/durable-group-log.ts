/**
 * The durable log of one group in memory: hard state, base, the position of every entry and the
 * newest entries themselves. Recovery and the running WAL change it through the same methods, in
 * log order, only with what is durable.
 *
 * `missingThrough`: recovery that starts in the middle (older files were deleted) knows from the
 * file state that entries base+1..missingThrough existed but has not seen them. A later base must
 * cover them; if none does, a file was lost.
 */
import type { Entry, GroupId, HardState, LogIndex, SnapshotMeta, Term } from '@holdfast/base';
import { assert, decodeEntry, entrySizeBytes, logIndex, sumsEqual } from '@holdfast/base';
import { EntryCache } from './entry-cache.ts';
import type { RecordPosition } from './entry-index.ts';
import { EntryIndex } from './entry-index.ts';
import type { GroupSummary } from './record-payload.ts';
import { EMPTY_LOG_BASE } from './record-payload.ts';
import type { RecordSource } from './record-source.ts';
import { walCorrupt } from './record-source.ts';
import type { GroupLog, LogBase } from './types.ts';

/** One disk read while catching up a peer; more gains nothing and delays the event loop. */
const READ_SIZE_BYTES_MAX = 1024 * 1024;

export class DurableGroupLog implements GroupLog {
  readonly group: GroupId;
  readonly #source: RecordSource;
  readonly #cache: EntryCache;
  #index = new EntryIndex(1);
  #base: LogBase = EMPTY_LOG_BASE;
  #hardState: HardState | null = null;
  #snapshot: SnapshotMeta | null = null;
  #missingThrough = 0;

  constructor(group: GroupId, source: RecordSource, cacheSizeBytesMax: number) {
    this.group = group;
    this.#source = source;
    this.#cache = new EntryCache(cacheSizeBytesMax);
  }

  firstIndex(): LogIndex {
    return logIndex(this.#base.index + 1);
  }

  lastIndex(): LogIndex {
    return logIndex(Math.max(this.#base.index, this.#index.lastIndex));
  }

  term(index: LogIndex): Term | 'compacted' | 'unavailable' {
    if (index === this.#base.index) return this.#base.term;
    if (index < this.#base.index) return 'compacted';
    return this.#index.has(index) ? this.#index.term(index) : 'unavailable';
  }

  sum(index: LogIndex): Uint8Array | 'compacted' | 'unavailable' {
    if (index === this.#base.index) return this.#base.sum;
    if (index < this.#base.index) return 'compacted';
    return this.#index.has(index) ? this.#index.sum(index) : 'unavailable';
  }

  base(): LogBase {
    return this.#base;
  }

  hardState(): HardState | null {
    return this.#hardState;
  }

  snapshot(): SnapshotMeta | null {
    return this.#snapshot;
  }

  entries(low: LogIndex, high: LogIndex, sizeBytesMax: number): readonly Entry[] | 'compacted' {
    if (low <= this.#base.index) return 'compacted';
    assert(low <= high && high <= this.lastIndex() + 1, 'entries must be inside the log', {
      low,
      high,
      lastIndex: this.lastIndex(),
    });
    const result: Entry[] = [];
    let size = 0;
    let next: number = low;
    while (next < high) {
      const cached = this.#cache.get(next);
      const run = cached === undefined ? this.#readRun(next, high, sizeBytesMax - size) : [cached];
      for (const entry of run) {
        size += entrySizeBytes(entry);
        if (result.length > 0 && size > sizeBytesMax) return result;
        result.push(entry);
      }
      next += run.length;
    }
    return result;
  }

  /** File of the oldest live entry, or null when the log is empty. */
  oldestFileId(): number | null {
    const first = this.firstIndex();
    return this.#index.has(first) ? this.#index.position(first).fileId : null;
  }

  get missingThrough(): number {
    return this.#missingThrough;
  }

  setHardState(hardState: HardState): void {
    this.#hardState = hardState;
  }

  append(entry: Entry, position: RecordPosition): void {
    assert(entry.index === this.#index.lastIndex + 1, 'entry must continue the durable log', {
      group: this.group,
      index: entry.index,
      lastIndex: this.#index.lastIndex,
    });
    this.#index.push(entry.term, entry.sum, position);
    this.#cache.push(entry);
  }

  truncateFrom(index: LogIndex): void {
    assert(index > this.#base.index, 'truncation must stay above the base', {
      group: this.group,
      index,
      base: this.#base.index,
    });
    if (index <= this.#missingThrough) {
      this.#missingThrough = index - 1;
      this.#index = new EntryIndex(index);
      this.#cache.clear();
      return;
    }
    this.#index.truncateFrom(index);
    this.#cache.truncateFrom(index);
  }

  /** Entries up to `base.index` are gone; the rest stays. */
  compactTo(base: LogBase): void {
    if (base.index <= this.#base.index) return;
    assert(base.index <= this.lastIndex(), 'base must be inside the log', {
      group: this.group,
      base: base.index,
      lastIndex: this.lastIndex(),
    });
    if (this.#index.has(base.index)) {
      assert(sumsEqual(this.#index.sum(base.index), base.sum), 'base must be an entry of the log', {
        group: this.group,
        base: base.index,
      });
    }
    this.#base = base;
    this.#index.dropThrough(base.index);
    this.#cache.dropThrough(base.index);
  }

  /** The log restarts, empty, after `meta`. */
  restartAt(meta: SnapshotMeta): void {
    this.#snapshot = meta;
    this.#base = { index: meta.index, term: meta.term, sum: meta.sum };
    this.#missingThrough = 0;
    this.#index = new EntryIndex(meta.index + 1);
    this.#cache.clear();
  }

  /** Recovery only: starts from the state at the head of the oldest file that is left. */
  startFrom(summary: GroupSummary): void {
    this.#hardState = summary.hardState;
    this.#base = summary.base;
    this.#snapshot = summary.snapshot;
    this.#missingThrough = summary.lastIndex > summary.base.index ? summary.lastIndex : 0;
    this.#index = new EntryIndex(summary.lastIndex + 1);
    this.#cache.clear();
  }

  summary(): GroupSummary {
    return {
      hardState: this.#hardState,
      base: this.#base,
      lastIndex: this.lastIndex(),
      snapshot: this.#snapshot,
    };
  }

  /** Entries from `low` that lie one after another on disk, at least one. */
  #readRun(low: number, high: number, sizeBytesMax: number): readonly Entry[] {
    const positions = [this.#index.position(low)];
    let size = positions[0]!.sizeBytes;
    const limit = Math.min(sizeBytesMax, READ_SIZE_BYTES_MAX);
    for (let index = low + 1; index < high; index++) {
      if (this.#cache.get(index) !== undefined) break;
      const previous = positions.at(-1)!;
      const position = this.#index.position(index);
      const follows =
        position.fileId === previous.fileId &&
        position.offset === previous.offset + previous.sizeBytes;
      if (!follows || size + position.sizeBytes > limit) break;
      positions.push(position);
      size += position.sizeBytes;
    }
    const records = this.#source.readRun(positions, low);
    return records.map((record, i) => this.#verified(record.payload, low + i, positions[i]!));
  }

  /** The record verified by itself; it must also be the entry the index promises. */
  #verified(payload: Uint8Array, index: number, position: RecordPosition): Entry {
    const { entry } = decodeEntry(payload, 0);
    const isExpected =
      entry.index === index &&
      entry.term === this.#index.term(index) &&
      sumsEqual(entry.sum, this.#index.sum(index));
    if (isExpected) return entry;
    const path = this.#source.path(position.fileId);
    throw walCorrupt(path, position.offset, index, 'holds another entry than the index promises');
  }
}
