/**
 * A LogReader in memory with the split a disk has: what was written, and what of it is synced. The
 * host calls `write` for each `Ready.append` and `sync` when it is durable; `crash` returns what a
 * new process would find. `compact` moves the start of the log, as a checkpoint does.
 */
import type { Entry, HardState, LogIndex, SnapshotMeta, Term } from '@holdfast/base';
import { assert, entrySizeBytes } from '@holdfast/base';
import type { InitialState, LogReader } from '../log/log-reader.ts';
import type { AppendRequest } from '../ready.ts';
import { LogImage, type LogImageStart } from './log-image.ts';

export interface InMemoryLogStart extends LogImageStart {
  /** Index the state machine has applied; by default where the log starts. */
  readonly applied?: LogIndex;
}

export class InMemoryLog implements LogReader {
  #written: LogImage;
  #synced: LogImage;
  #applied: LogIndex;
  /** Own checkpoints and received ones that the log may still need, oldest first. */
  #snapshots: SnapshotMeta[];
  #unsynced: AppendRequest[] = [];

  constructor(start: InMemoryLogStart) {
    this.#written = new LogImage(start);
    this.#synced = this.#written.copy();
    this.#applied = start.applied ?? this.#written.baseIndex;
    this.#snapshots = start.snapshot === undefined ? [] : [start.snapshot];
  }

  initialState(): InitialState {
    const { hardState, conf, confIndex } = this.#written;
    return { hardState, conf, confIndex, applied: this.#applied };
  }

  firstIndex(): LogIndex {
    return (this.#written.baseIndex + 1) as LogIndex;
  }

  lastIndex(): LogIndex {
    return this.#written.lastIndex;
  }

  term(index: LogIndex): Term | 'compacted' | 'unavailable' {
    const { baseIndex, baseTerm } = this.#written;
    if (index < baseIndex) return 'compacted';
    return index === baseIndex ? baseTerm : (this.#written.entry(index)?.term ?? 'unavailable');
  }

  sum(index: LogIndex): Uint8Array | 'compacted' | 'unavailable' {
    if (index < this.#written.baseIndex) return 'compacted';
    return this.#written.sum(index) ?? 'unavailable';
  }

  entries(low: LogIndex, high: LogIndex, sizeBytesMax: number): readonly Entry[] | 'compacted' {
    const { baseIndex, entries } = this.#written;
    if (low <= baseIndex) return 'compacted';
    const start = low - baseIndex - 1;
    const end = Math.min(high - baseIndex - 1, entries.length);
    let sizeBytes = 0;
    let cut = start;
    for (; cut < end; cut++) {
      sizeBytes += entrySizeBytes(entries[cut]!);
      if (sizeBytes > sizeBytesMax && cut > start) break;
    }
    return entries.slice(start, cut);
  }

  snapshotMeta(): SnapshotMeta | null {
    return this.#snapshots.at(-1) ?? null;
  }

  /** Makes `append` visible; a crash before `sync` undoes it. Appends arrive in order of seq. */
  write(append: AppendRequest): void {
    this.#unsynced.push(append);
    this.#written.replay(append);
  }

  /** Everything written with a seq up to this one survives a crash from now on. */
  sync(seq: number): void {
    while (this.#unsynced.length > 0 && this.#unsynced[0]!.seq <= seq)
      this.#synced.replay(this.#unsynced.shift()!);
  }

  /** Term and vote that a crash now would leave. */
  syncedHardState(): HardState {
    return this.#synced.hardState;
  }

  syncedFirstIndex(): LogIndex {
    return (this.#synced.baseIndex + 1) as LogIndex;
  }

  syncedLastIndex(): LogIndex {
    return this.#synced.lastIndex;
  }

  syncedLastTerm(): Term {
    return this.#synced.lastTerm;
  }

  /** Chain sum at `index` that a crash now would leave; null when compacted or missing. */
  syncedSum(index: LogIndex): Uint8Array | null {
    return this.#synced.sum(index);
  }

  /** Seqs written and not synced, oldest first. */
  unsyncedSeqs(): readonly number[] {
    return this.#unsynced.map((append) => append.seq);
  }

  /** No write waits for `sync`. */
  get isSynced(): boolean {
    return this.#unsynced.length === 0;
  }

  /** The state machine's own durable record. */
  setApplied(index: LogIndex): void {
    this.#applied = index;
  }

  /** A snapshot that may be sent to peers. */
  setSnapshot(meta: SnapshotMeta): void {
    const { baseIndex } = this.#synced;
    this.#snapshots = this.#snapshots.filter(({ index }) => index >= baseIndex);
    this.#snapshots.push(meta);
  }

  /** Drops entries up to `index`, which must be synced; a snapshot at or past it must exist. */
  compact(index: LogIndex): void {
    assert(this.isSynced, 'memory log: compacting under unsynced appends');
    assert((this.snapshotMeta()?.index ?? -1) >= index, 'memory log: no snapshot');
    this.#written.compact(index);
    this.#synced.compact(index);
  }

  /** What a new process finds: everything synced, nothing else. */
  crash(): InMemoryLog {
    const survivor = new InMemoryLog({ conf: this.#synced.conf, applied: this.#applied });
    survivor.#written = this.#synced.copy();
    survivor.#synced = this.#synced.copy();
    // A snapshot that was received but not taken over is of no use to a new process.
    const { lastIndex } = survivor.#synced;
    survivor.#snapshots = this.#snapshots.filter(({ index }) => index <= lastIndex);
    return survivor;
  }
}
