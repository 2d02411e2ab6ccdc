/** What a log file would hold: hard state, where the log starts, and the entries after that. */
import type { ConfState, Entry, HardState, LogIndex, SnapshotMeta, Term } from '@holdfast/base';
import { assert, decodeConf, EMPTY_LOG_SUM } from '@holdfast/base';
import type { AppendRequest } from '../ready.ts';

export interface LogImageStart {
  readonly conf: ConfState;
  readonly hardState?: HardState;
  readonly entries?: readonly Entry[];
  /** The log starts after this snapshot. */
  readonly snapshot?: SnapshotMeta;
}

export class LogImage {
  hardState: HardState;
  /** In force at the base of the log; conf entries after it come on top. */
  conf: ConfState;
  confIndex: LogIndex;
  baseIndex: LogIndex;
  baseTerm: Term;
  baseSum: Uint8Array;
  entries: Entry[];

  constructor(start: LogImageStart) {
    this.hardState = start.hardState ?? { term: 0 as Term, vote: null, commit: 0 as LogIndex };
    this.conf = start.snapshot?.conf ?? start.conf;
    this.confIndex = start.snapshot?.confIndex ?? (0 as LogIndex);
    this.baseIndex = start.snapshot?.index ?? (0 as LogIndex);
    this.baseTerm = start.snapshot?.term ?? (0 as Term);
    this.baseSum = start.snapshot?.sum ?? EMPTY_LOG_SUM;
    this.entries = [...(start.entries ?? [])];
  }

  get lastIndex(): LogIndex {
    return (this.baseIndex + this.entries.length) as LogIndex;
  }

  get lastTerm(): Term {
    return this.entries.at(-1)?.term ?? this.baseTerm;
  }

  entry(index: LogIndex): Entry | undefined {
    return this.entries[index - this.baseIndex - 1];
  }

  /** Chain sum at `index`; null when compacted or missing. */
  sum(index: LogIndex): Uint8Array | null {
    return index === this.baseIndex ? this.baseSum : (this.entry(index)?.sum ?? null);
  }

  replay(append: AppendRequest): void {
    if (append.snapshot !== null) {
      this.#startAfter(append.snapshot);
      this.conf = append.snapshot.conf;
      this.confIndex = append.snapshot.confIndex;
      this.entries = [];
    }
    if (append.truncateFrom !== null) {
      const keptCount = append.truncateFrom - this.baseIndex - 1;
      assert(keptCount >= 0 && keptCount <= this.entries.length, 'log image: truncated elsewhere', {
        truncateFrom: append.truncateFrom,
      });
      this.entries.length = keptCount;
    }
    for (const entry of append.entries) {
      assert(entry.index === this.lastIndex + 1, 'log image: entry leaves a gap or overlaps', {
        index: entry.index,
        last: this.lastIndex,
      });
      this.entries.push(entry);
    }
    if (append.hardState !== null) this.hardState = append.hardState;
  }

  /** Drops entries up to `index`. */
  compact(index: LogIndex): void {
    if (index <= this.baseIndex) return;
    const last = this.entry(index);
    assert(last !== undefined, 'log image: compacting past the end', { index });
    for (const entry of this.entries) {
      if (entry.index > index) break;
      if (entry.type === 'conf') this.conf = decodeConf(entry.data).conf;
      if (entry.type === 'conf') this.confIndex = entry.index;
    }
    this.entries = this.entries.slice(index - this.baseIndex);
    this.#startAfter(last);
  }

  copy(): LogImage {
    const copy = new LogImage({ conf: this.conf, hardState: this.hardState });
    copy.confIndex = this.confIndex;
    copy.baseIndex = this.baseIndex;
    copy.baseTerm = this.baseTerm;
    copy.baseSum = this.baseSum;
    copy.entries = this.entries.slice();
    return copy;
  }

  #startAfter(at: { readonly index: LogIndex; readonly term: Term; readonly sum: Uint8Array }) {
    this.baseIndex = at.index;
    this.baseTerm = at.term;
    this.baseSum = at.sum;
  }
}
