/**
 * The log as the core sees it: a durable part behind a LogReader and a tail kept here until it is
 * reported durable, plus the numbered append stream between the two.
 *
 * Invariants (after every call):
 *   applied <= applying <= committed <= last
 *   durable <= last, and the durable log equals this log up to `durable`
 *   entries are handed to `apply` only up to min(committed, durable)
 *
 * ABA: an acknowledgement names an append, not an index. When the tail is replaced, every append
 * still under way is clamped to what it shares with the present log, so its late acknowledgement
 * proves no more than that.
 */
import type { Entry, HardState, LogIndex, SnapshotMeta, Term } from '@holdfast/base';
import { assert, EMPTY_LOG_SUM, entrySizeBytes, HoldfastError } from '@holdfast/base';
import type { AppendRequest, ApplyRequest } from '../ready.ts';
import { ApplyWindow } from './apply-window.ts';
import { EntryTail } from './entry-tail.ts';
import type { LogReader } from './log-reader.ts';

interface AppendUnderWay {
  readonly seq: number;
  /** Durable once acknowledged; clamped when the tail is replaced. */
  lastIndex: LogIndex;
  readonly snapshot: SnapshotMeta | null;
  readonly hardState: HardState | null;
}

export class RaftLog {
  readonly #reader: LogReader;
  readonly #tail: EntryTail;
  readonly #window: ApplyWindow;
  /** A snapshot that replaces the log and is not durable yet: the reader shows the old log. */
  #base: SnapshotMeta | null = null;
  #isBaseHandedOut = false;
  #snapshotToApply: SnapshotMeta | null = null;
  #committed: LogIndex;
  #durable: LogIndex;
  /** Last index of the durable log once every append handed out is done. */
  #handedOut: LogIndex;
  #truncateFrom: LogIndex | null = null;
  #underWay: AppendUnderWay[] = [];
  #seq = 0;
  #durableSeq = 0;
  #savedHardState: HardState;
  #durableHardState: HardState;
  /** The next entry to apply cannot be read just now; looked at again with every tick. */
  #isApplyHeld = false;

  constructor(reader: LogReader, applyingSizeBytesMax: number) {
    const { hardState, applied } = reader.initialState();
    const first = reader.firstIndex();
    const last = reader.lastIndex();
    this.#reader = reader;
    this.#tail = new EntryTail((last + 1) as LogIndex);
    this.#durable = last;
    this.#handedOut = last;
    this.#savedHardState = hardState;
    this.#durableHardState = hardState;
    assert(last + 1 >= first, 'log: last index lies before the first', { first, last });
    assert(
      applied <= last,
      'log: the state machine is ahead of the log; acknowledged entries are missing',
      {
        applied,
        last,
      },
    );
    assert(hardState.commit <= last, 'log: committed entries are missing from the log', {
      commit: hardState.commit,
      last,
    });
    this.#committed = Math.max(hardState.commit, applied, first - 1) as LogIndex;
    this.#window = new ApplyWindow(applied, applyingSizeBytesMax);
    if (applied < first - 1) this.#snapshotToApply = this.#snapshotForRestart(applied, first);
  }

  get firstIndex(): LogIndex {
    return this.#base === null ? this.#reader.firstIndex() : ((this.#base.index + 1) as LogIndex);
  }

  get lastIndex(): LogIndex {
    return this.#tail.lastIndex;
  }

  get lastTerm(): Term {
    return this.termAt(this.lastIndex);
  }

  get lastSum(): Uint8Array {
    return this.sumAt(this.lastIndex);
  }

  get committed(): LogIndex {
    return this.#committed;
  }

  get durable(): LogIndex {
    return this.#durable;
  }

  get applying(): LogIndex {
    return this.#window.applying;
  }

  get applied(): LogIndex {
    return this.#window.applied;
  }

  /** Seq of the newest append handed out; 0 before the first. */
  get seq(): number {
    return this.#seq;
  }

  get durableSeq(): number {
    return this.#durableSeq;
  }

  get durableHardState(): HardState {
    return this.#durableHardState;
  }

  get isSnapshotPending(): boolean {
    return this.#base !== null || this.#snapshotToApply !== null;
  }

  /** Bytes of entries that are not durable yet. */
  get tailSizeBytes(): number {
    return this.#tail.sizeBytes;
  }

  get snapshotMeta(): SnapshotMeta | null {
    return this.#base === null ? this.#reader.snapshotMeta() : null;
  }

  /** Term at `index`, or null when it is compacted or past the end. */
  term(index: number): Term | null {
    if (index === 0) return this.firstIndex === 1 ? (0 as Term) : null;
    if (index > this.lastIndex) return null;
    const entry = this.#tail.get(index);
    if (entry !== undefined) return entry.term;
    if (this.#base !== null) return index === this.#base.index ? this.#base.term : null;
    const term = this.#reader.term(index as LogIndex);
    return typeof term === 'number' ? term : null;
  }

  /** Chain sum at `index`, or null when it is compacted or past the end. */
  sum(index: number): Uint8Array | null {
    if (index === 0) return this.firstIndex === 1 ? EMPTY_LOG_SUM : null;
    if (index > this.lastIndex) return null;
    const entry = this.#tail.get(index);
    if (entry !== undefined) return entry.sum;
    if (this.#base !== null) return index === this.#base.index ? this.#base.sum : null;
    const sum = this.#reader.sum(index as LogIndex);
    return typeof sum === 'string' ? null : sum;
  }

  /** Like `term`, where the index is known to be readable. */
  termAt(index: number): Term {
    const term = this.term(index);
    assert(term !== null, 'log: term is not readable', { index, last: this.lastIndex });
    return term;
  }

  sumAt(index: number): Uint8Array {
    const sum = this.sum(index);
    assert(sum !== null, 'log: chain sum is not readable', { index, last: this.lastIndex });
    return sum;
  }

  /** Section 5.4.1: the later term wins, then the longer log. */
  isUpToDate(lastIndex: LogIndex, lastTerm: Term): boolean {
    const ownTerm = this.lastTerm;
    return lastTerm > ownTerm || (lastTerm === ownTerm && lastIndex >= this.lastIndex);
  }

  /**
   * Largest index <= `index` whose term is at most `term`, and its term: no entry between the two
   * can match an entry of `term`. Stops at the start of the readable log.
   */
  findConflictByTerm(index: number, term: Term): { index: LogIndex; term: Term } {
    let candidate = Math.min(index, this.lastIndex);
    for (; candidate > 0; candidate--) {
      const ownTerm = this.term(candidate);
      if (ownTerm === null) return { index: candidate as LogIndex, term: 0 as Term };
      if (ownTerm <= term) return { index: candidate as LogIndex, term: ownTerm };
    }
    return { index: 0 as LogIndex, term: 0 as Term };
  }

  /**
   * Entries low..high-1, cut by size, never empty; null when `low` is compacted. 'unreadable' when
   * the disk does not give `low` just now: ask again.
   */
  entries(
    low: LogIndex,
    high: LogIndex,
    sizeBytesMax: number,
  ): readonly Entry[] | 'unreadable' | null {
    assert(low < high && high <= this.lastIndex + 1, 'log: range is empty or past the end', {
      low,
      high,
      last: this.lastIndex,
    });
    const tailStart = this.#tail.firstIndex;
    if (low >= tailStart) return this.#tail.slice(low, high, sizeBytesMax);
    if (low < this.firstIndex) return null;
    const cut = Math.min(high, tailStart) as LogIndex;
    const stored = this.#reader.entries(low, cut, sizeBytesMax);
    if (stored === 'compacted') return null;
    if (stored === 'unreadable') return stored;
    assert(stored.length > 0 && stored[0]!.index === low, 'log: reader returned another range', {
      low,
      cut,
    });
    if (stored.length < cut - low || cut === high) return stored;
    let sizeBytes = 0;
    for (const entry of stored) sizeBytes += entrySizeBytes(entry);
    if (sizeBytes >= sizeBytesMax) return stored;
    const rest = this.#tail.slice(cut, high, sizeBytesMax - sizeBytes, { mayBeEmpty: true });
    return stored.concat(rest);
  }

  /** Adds entries right after the last one. */
  append(entries: readonly Entry[]): void {
    for (const entry of entries) this.#tail.push(entry);
  }

  /** Drops every entry >= `from`. A committed entry is never dropped. */
  truncate(from: LogIndex): void {
    assert(from > this.#committed, 'log: refusing to truncate a committed entry', {
      from,
      committed: this.#committed,
    });
    this.#tail.truncate(from);
    const keep = (from - 1) as LogIndex;
    this.#clampDurable(keep);
    if (from <= this.#handedOut) {
      this.#handedOut = keep;
      this.#truncateFrom = from;
    }
  }

  /** Replaces the whole log by what comes after `meta`, which lies past everything committed. */
  restore(meta: SnapshotMeta): void {
    assert(meta.index > this.#committed, 'log: snapshot lies behind the commit index', {
      snapshot: meta.index,
      committed: this.#committed,
    });
    this.#clampDurable(this.#committed);
    this.#tail.reset((meta.index + 1) as LogIndex);
    this.#base = meta;
    this.#isBaseHandedOut = false;
    this.#snapshotToApply = meta;
    this.#handedOut = meta.index;
    this.#truncateFrom = null;
    this.#committed = meta.index;
  }

  commitTo(index: LogIndex): boolean {
    if (index <= this.#committed) return false;
    assert(index <= this.lastIndex, 'log: commit index is past the end of the log', {
      index,
      last: this.lastIndex,
    });
    this.#committed = index;
    return true;
  }

  /** True when `takeAppend` would return an append. */
  hasAppend(hardState: HardState): boolean {
    return (
      (this.#base !== null && !this.#isBaseHandedOut) ||
      this.#truncateFrom !== null ||
      this.#handedOut < this.lastIndex ||
      this.#savedHardState.term !== hardState.term ||
      this.#savedHardState.vote !== hardState.vote
    );
  }

  /** Everything that must become durable, as one batch; the commit hint rides along. */
  takeAppend(hardState: HardState): AppendRequest | null {
    if (!this.hasAppend(hardState)) return null;
    const saved = this.#savedHardState;
    const isHardStateNews =
      saved.term !== hardState.term ||
      saved.vote !== hardState.vote ||
      saved.commit !== hardState.commit;
    const first = (this.#handedOut + 1) as LogIndex;
    const entries =
      first > this.lastIndex ? [] : this.#tail.slice(first, (this.lastIndex + 1) as LogIndex);
    this.#seq += 1;
    const request: AppendRequest = {
      seq: this.#seq,
      hardState: isHardStateNews ? hardState : null,
      truncateFrom: this.#truncateFrom,
      entries,
      snapshot: this.#isBaseHandedOut ? null : this.#base,
      mustSync: true,
    };
    this.#underWay.push({
      seq: this.#seq,
      lastIndex: this.lastIndex,
      snapshot: request.snapshot,
      hardState: request.hardState,
    });
    this.#isBaseHandedOut = this.#base !== null;
    this.#truncateFrom = null;
    this.#handedOut = this.lastIndex;
    this.#savedHardState = hardState;
    return request;
  }

  /** Every append up to `seq` is durable. Late and repeated reports change nothing. */
  appended(seq: number): void {
    assert(Number.isInteger(seq) && seq <= this.#seq, 'log: acknowledged an append never made', {
      seq,
      newest: this.#seq,
    });
    if (seq <= this.#durableSeq) return;
    const doneCount = seq - this.#durableSeq;
    const done = this.#underWay.splice(0, doneCount);
    assert(done.length === doneCount, 'log: append stream has a gap', { seq });
    this.#durableSeq = seq;
    for (const append of done) {
      if (append.hardState !== null) this.#durableHardState = append.hardState;
      if (append.lastIndex > this.#durable) this.#durable = append.lastIndex;
      if (append.snapshot !== null && append.snapshot === this.#base) this.#base = null;
    }
    if (this.#base === null) this.#tail.dropThrough(this.#durable);
  }

  hasApply(): boolean {
    if (this.#base !== null) return false;
    if (this.#snapshotToApply !== null) return true;
    return this.applying < this.#appliable() && this.#window.hasRoom && !this.#isApplyHeld;
  }

  /** The next batch for the state machine: committed, durable here, in order, without a gap. */
  takeApply(): ApplyRequest | null {
    if (!this.hasApply()) return null;
    const snapshot = this.#snapshotToApply;
    if (snapshot !== null) {
      this.#snapshotToApply = null;
      this.#window.startSnapshot(snapshot.index);
      return { kind: 'snapshot', meta: snapshot };
    }
    const low = (this.applying + 1) as LogIndex;
    const last = Math.min(this.#appliable(), this.applying + this.#window.roomEntryCount);
    const high = (last + 1) as LogIndex;
    const entries = this.entries(low, high, this.#window.roomBytes);
    assert(entries !== null, 'log: entries were compacted before they were applied', { low, high });
    if (entries === 'unreadable') {
      this.#isApplyHeld = true;
      return null;
    }
    this.#window.start(entries);
    return { kind: 'entries', entries };
  }

  /** Time has passed: what could not be read may be readable again. */
  tick(): void {
    this.#isApplyHeld = false;
  }

  setApplied(index: LogIndex): void {
    this.#window.finish(index);
  }

  #appliable(): LogIndex {
    return Math.min(this.#committed, this.#durable) as LogIndex;
  }

  #clampDurable(keep: LogIndex): void {
    if (this.#durable > keep) this.#durable = keep;
    for (const append of this.#underWay) if (append.lastIndex > keep) append.lastIndex = keep;
  }

  /** Crashed between the log reset and the state machine's install: the install is asked again. */
  #snapshotForRestart(applied: LogIndex, first: LogIndex): SnapshotMeta {
    const meta = this.#reader.snapshotMeta();
    if (meta !== null && meta.index >= first - 1 && meta.index <= this.lastIndex) {
      this.#committed = Math.max(this.#committed, meta.index) as LogIndex;
      return meta;
    }
    throw new HoldfastError(
      'LOG_COMPACTED',
      `the state machine has applied index ${applied}, but the log starts at ${first} and no ` +
        'snapshot covers the gap; restore this replica from a snapshot or replace it',
      { details: { applied, firstIndex: first } },
    );
  }
}
