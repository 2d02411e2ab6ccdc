/**
 * The durable log of one group in memory: hard state, base, the position of every entry and the
 * newest entries themselves. Recovery and the running WAL change it through the same methods, in
 * log order, only with what is durable.
 *
 * Holes: an entry that was durable and cannot be read is a missing slot of the index. Holes are
 * made by recovery only, and closed by `fill`, a truncation, a compaction or a restart of the log.
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
import type { DamagedRange, GroupLog, LogBase } from './types.ts';

/** One disk read while catching up a peer; more gains nothing and delays the event loop. */
const READ_SIZE_BYTES_MAX = 1024 * 1024;

/** Where recovery found that the entries low..high are lost. */
export interface DamageNote {
  readonly low: number;
  readonly high: number;
  readonly file: string;
  readonly offset: number;
  readonly what: string;
}

export class DurableGroupLog implements GroupLog {
  readonly group: GroupId;
  readonly #source: RecordSource;
  readonly #cache: EntryCache;
  #index = new EntryIndex(1);
  #base: LogBase = EMPTY_LOG_BASE;
  #hardState: HardState | null = null;
  #isHardStateKnown = true;
  #snapshot: SnapshotMeta | null = null;
  #notes: DamageNote[] = [];
  #damage: readonly DamagedRange[] | null = [];
  /** Highest index that was filled out of order: files up to there are not in index order. */
  #filledThrough = 0;
  /** Oldest file of the entries up to `#filledThrough`; null until it is asked for. */
  #filledFileId: number | null = null;

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
    return this.#index.isPresent(index) ? this.#index.term(index) : 'unavailable';
  }

  sum(index: LogIndex): Uint8Array | 'compacted' | 'unavailable' {
    if (index === this.#base.index) return this.#base.sum;
    if (index < this.#base.index) return 'compacted';
    return this.#index.isPresent(index) ? this.#index.sum(index) : 'unavailable';
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

  clearCache(): number {
    return this.#cache.clear();
  }

  isHardStateKnown(): boolean {
    return this.#isHardStateKnown;
  }

  get hasDamage(): boolean {
    return this.#index.missingCount > 0;
  }

  damage(): readonly DamagedRange[] {
    this.#damage ??= this.#index.missingRanges().map(({ low, high }) => this.#describe(low, high));
    return this.#damage;
  }

  /** Term and sum of an entry or the base, also of a lost entry when they are known. */
  nameOf(index: number): { readonly term: Term; readonly sum: Uint8Array } | null {
    if (index === this.#base.index) return { term: this.#base.term, sum: this.#base.sum };
    if (!this.#index.isNamed(index)) return null;
    return { term: this.#index.term(index), sum: this.#index.sum(index) };
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
      if (!this.#index.isPresent(next)) {
        if (result.length > 0) return result;
        throw this.#lost(next);
      }
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

  /** Oldest file with something of this log, or null when none is needed. 0 keeps every file. */
  oldestFileId(): number | null {
    if (this.hasDamage) return 0;
    const first = this.firstIndex();
    if (!this.#index.has(first)) return null;
    const fileId = this.#index.position(first).fileId;
    if (first > this.#filledThrough) return fileId;
    this.#filledFileId ??= this.#oldestOfFilled();
    return Math.min(fileId, this.#filledFileId);
  }

  /** Bytes of the live records. */
  get sizeBytes(): number {
    return this.#index.sizeBytes;
  }

  firstIndexWithin(sizeBytesMax: number): LogIndex {
    return logIndex(Math.max(this.firstIndex(), this.#index.firstIndexWithin(sizeBytesMax)));
  }

  tailCountIn(fileId: number): number {
    // Above what was filled or written again files are in index order.
    return this.#index.tailCountIn(fileId, Math.max(this.firstIndex(), this.#filledThrough + 1));
  }

  setHardState(hardState: HardState): void {
    this.#hardState = hardState;
  }

  /** Recovery only: the newest term and vote may be lost. */
  doubtHardState(): void {
    this.#isHardStateKnown = false;
  }

  append(entry: Entry, position: RecordPosition): void {
    assert(entry.index === this.lastIndex() + 1, 'entry must continue the durable log', {
      group: this.group,
      index: entry.index,
      lastIndex: this.lastIndex(),
    });
    this.#index.push(entry.term, entry.sum, position);
    this.#cache.push(entry);
  }

  /** The lost entry is readable again at `position`. */
  fill(entry: Entry, position: RecordPosition): void {
    this.#index.fill(entry.index, entry.term, entry.sum, position);
    this.#filledThrough = Math.max(this.#filledThrough, entry.index);
    this.#filledFileId = null;
    this.#damage = null;
  }

  /** The entry is at `position` as well, and is read from there. */
  move(index: LogIndex, position: RecordPosition): void {
    this.#index.move(index, position);
    this.#filledThrough = Math.max(this.#filledThrough, index);
    this.#filledFileId = null;
  }

  /** Present entries with a record in [from, to) of the file, ascending. */
  indexesIn(fileId: number, from: number, to: number): readonly LogIndex[] {
    const found: LogIndex[] = [];
    for (let index: number = this.firstIndex(); index <= this.#index.lastIndex; index++) {
      if (!this.#index.isPresent(index)) continue;
      const position = this.#index.position(index);
      const isInside =
        position.fileId === fileId &&
        position.offset < to &&
        position.offset + position.sizeBytes > from;
      if (isInside) found.push(logIndex(index));
    }
    return found;
  }

  /**
   * Present entries that a start cannot be sure of when nothing in [from, to) of the file can be
   * read: those in there, and those before it that were not known `committed` at that point,
   * because a truncation may be among what is lost. Ascending.
   */
  indexesDoubtedBy(
    fileId: number,
    from: number,
    to: number,
    committed: number,
  ): readonly LogIndex[] {
    // Also when nothing is lost any more: what stood there is missing for a start at that point.
    const lost = this.indexesIn(fileId, from, to);
    const doubted: LogIndex[] = [];
    // Also above what is lost: an old entry that was written once more may stand in there.
    for (
      let index = Math.max(this.firstIndex(), committed + 1);
      index <= this.lastIndex();
      index++
    ) {
      if (!this.#index.isPresent(index)) continue;
      const position = this.#index.position(index);
      const isBefore =
        position.fileId < fileId || (position.fileId === fileId && position.offset < from);
      if (isBefore) doubted.push(logIndex(index));
    }
    return [...doubted, ...lost].sort((left, right) => left - right);
  }

  truncateFrom(index: LogIndex): void {
    assert(index > this.#base.index, 'truncation must stay above the base', {
      group: this.group,
      index,
      base: this.#base.index,
    });
    this.#index.truncateFrom(index);
    this.#cache.truncateFrom(index);
    this.#damage = null;
  }

  /** Entries up to `base.index` are gone; the rest stays. */
  compactTo(base: LogBase): void {
    if (base.index <= this.#base.index) return;
    assert(base.index <= this.lastIndex(), 'base must be inside the log', {
      group: this.group,
      base: base.index,
      lastIndex: this.lastIndex(),
    });
    const known = this.nameOf(base.index);
    assert(known === null || sumsEqual(known.sum, base.sum), 'base must be an entry of the log', {
      group: this.group,
      base: base.index,
    });
    this.#base = base;
    this.#index.dropThrough(base.index);
    this.#cache.dropThrough(base.index);
    this.#damage = null;
  }

  /** The log restarts, empty, after `meta`. */
  restartAt(meta: SnapshotMeta): void {
    this.restartAfter({ index: meta.index, term: meta.term, sum: meta.sum }, meta);
  }

  /** The log restarts, empty, after `base`. */
  restartAfter(base: LogBase, snapshot: SnapshotMeta | null): void {
    this.#snapshot = snapshot;
    this.#base = base;
    this.#index = new EntryIndex(base.index + 1);
    this.#cache.clear();
    this.#damage = null;
  }

  adoptSnapshot(snapshot: SnapshotMeta): void {
    this.#snapshot = snapshot;
  }

  /** Recovery only: `count` entries that were durable follow, and cannot be read. */
  appendLost(count: number): void {
    this.#index.pushMissing(count);
    this.#cache.clear();
    this.#damage = null;
  }

  /** Recovery only: the lost entry `index` had this term and sum. */
  nameLost(index: number, name: { readonly term: Term; readonly sum: Uint8Array }): void {
    if (this.#index.has(index) && !this.#index.isPresent(index)) {
      this.#index.name(index, name.term, name.sum);
    }
  }

  /** Recovery only: the entries low..high are not believed any more. */
  disbelieve(low: number, high: number): void {
    this.#index.markMissing(low, high);
    this.#cache.clear();
    this.#damage = null;
  }

  /** Recovery only: says where and why entries are lost, for `damage`. */
  note(note: DamageNote): void {
    this.#notes.push(note);
  }

  isPresent(index: number): boolean {
    return this.#index.isPresent(index);
  }

  summary(): GroupSummary {
    const last = this.nameOf(this.lastIndex());
    return {
      hardState: this.#hardState,
      base: this.#base,
      lastIndex: this.lastIndex(),
      lastTerm: last?.term ?? null,
      lastSum: last?.sum ?? null,
      snapshot: this.#snapshot,
    };
  }

  #describe(low: number, high: number): DamagedRange {
    const last = this.#index.isNamed(high) ? this.nameOf(high) : null;
    const note = this.#noteOf(low, high);
    return {
      low: logIndex(low),
      high: logIndex(high),
      lastTerm: last?.term ?? null,
      lastSum: last?.sum ?? null,
      file: note.file,
      offset: note.offset,
      what: note.what,
    };
  }

  #noteOf(low: number, high: number): Omit<DamageNote, 'low' | 'high'> {
    const note = this.#notes.find((one) => one.low <= high && one.high >= low);
    return note ?? { file: this.#source.path(0), offset: 0, what: 'the entries are lost' };
  }

  #lost(index: number) {
    const { file, offset, what } = this.#noteOf(index, index);
    return walCorrupt(file, offset, index, what);
  }

  #oldestOfFilled(): number {
    const last = Math.min(this.#filledThrough + 1, this.lastIndex());
    let oldest = Number.POSITIVE_INFINITY;
    for (let index: number = this.firstIndex(); index <= last; index++) {
      oldest = Math.min(oldest, this.#index.position(index).fileId);
    }
    return oldest;
  }

  /** Entries from `low` that lie one after another on disk, at least one. */
  #readRun(low: number, high: number, sizeBytesMax: number): readonly Entry[] {
    const positions = [this.#index.position(low)];
    let size = positions[0]!.sizeBytes;
    const limit = Math.min(sizeBytesMax, READ_SIZE_BYTES_MAX);
    for (let index = low + 1; index < high; index++) {
      if (this.#cache.get(index) !== undefined || !this.#index.isPresent(index)) break;
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
