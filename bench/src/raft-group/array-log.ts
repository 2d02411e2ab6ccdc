/**
 * The least a log can be: entries in one array, durable as soon as they are written. Keeps the
 * newest entries only, so that a long run measures the core and not the garbage collector.
 */
import type { ConfState, Entry, HardState, LogIndex, SnapshotMeta, Term } from '@holdfast/base';
import { EMPTY_LOG_SUM } from '@holdfast/base';
import type { AppendRequest, InitialState, LogReader } from '@holdfast/raft';

/** Entries kept behind the applied index; far more than any message holds. */
const KEPT_COUNT = 16_384;

export class ArrayLog implements LogReader {
  readonly #conf: ConfState;
  #entries: Entry[] = [];
  /** Position before the first entry. */
  #baseIndex = 0 as LogIndex;
  #baseTerm = 0 as Term;
  #baseSum: Uint8Array = EMPTY_LOG_SUM;
  #hardState: HardState = { term: 0 as Term, vote: null, commit: 0 as LogIndex };

  constructor(conf: ConfState) {
    this.#conf = conf;
  }

  write(append: AppendRequest): void {
    if (append.truncateFrom !== null)
      this.#entries.length = append.truncateFrom - this.#baseIndex - 1;
    for (const entry of append.entries) this.#entries.push(entry);
    if (append.hardState !== null) this.#hardState = append.hardState;
  }

  applied(index: LogIndex): void {
    const dropCount = index - this.#baseIndex - KEPT_COUNT;
    if (dropCount < KEPT_COUNT) return;
    const last = this.#entries[dropCount - 1]!;
    this.#baseIndex = last.index;
    this.#baseTerm = last.term;
    this.#baseSum = last.sum;
    this.#entries = this.#entries.slice(dropCount);
  }

  initialState(): InitialState {
    return {
      hardState: this.#hardState,
      conf: this.#conf,
      confIndex: 0 as LogIndex,
      applied: this.#baseIndex,
    };
  }

  firstIndex(): LogIndex {
    return (this.#baseIndex + 1) as LogIndex;
  }

  lastIndex(): LogIndex {
    return (this.#baseIndex + this.#entries.length) as LogIndex;
  }

  term(index: LogIndex): Term | 'compacted' | 'unavailable' {
    if (index < this.#baseIndex) return 'compacted';
    if (index === this.#baseIndex) return this.#baseTerm;
    return this.#entries[index - this.#baseIndex - 1]?.term ?? 'unavailable';
  }

  sum(index: LogIndex): Uint8Array | 'compacted' | 'unavailable' {
    if (index < this.#baseIndex) return 'compacted';
    if (index === this.#baseIndex) return this.#baseSum;
    return this.#entries[index - this.#baseIndex - 1]?.sum ?? 'unavailable';
  }

  /** Never cut by size: the bench asks for what it has just written. */
  entries(low: LogIndex, high: LogIndex): readonly Entry[] | 'compacted' {
    if (low <= this.#baseIndex) return 'compacted';
    return this.#entries.slice(low - this.#baseIndex - 1, high - this.#baseIndex - 1);
  }

  snapshotMeta(): SnapshotMeta | null {
    return null;
  }
}
