/** A log some of whose entries are lost: what storage shows of a damaged log, in memory. */
import type { Entry, LogIndex, Term } from '@holdfast/base';
import { EMPTY_LOG_SUM, entrySizeBytes } from '@holdfast/base';
import type { LostRange, RepairLog } from '../repair/entry-answer.ts';

export interface DamagedLogStart {
  readonly base: { readonly index: LogIndex; readonly term: Term; readonly sum: Uint8Array };
  /** What the log held before the damage, gapless after `base`. */
  readonly entries: readonly Entry[];
  readonly damage: readonly LostRange[];
}

/** Before the first entry. */
export const EMPTY_BASE: DamagedLogStart['base'] = {
  index: 0 as LogIndex,
  term: 0 as Term,
  sum: EMPTY_LOG_SUM,
};

export class DamagedLog implements RepairLog {
  readonly base: DamagedLogStart['base'];
  #entries: readonly Entry[];
  #damage: readonly LostRange[];

  constructor({ base, entries, damage }: DamagedLogStart) {
    this.base = base;
    this.#entries = entries;
    this.#damage = damage;
  }

  firstIndex(): LogIndex {
    return (this.base.index + 1) as LogIndex;
  }

  lastIndex(): LogIndex {
    return (this.base.index + this.#entries.length) as LogIndex;
  }

  term(index: LogIndex): Term | 'compacted' | 'unavailable' {
    if (index === this.base.index) return this.base.term;
    if (index < this.base.index) return 'compacted';
    return this.#intact(index)?.term ?? 'unavailable';
  }

  sum(index: LogIndex): Uint8Array | 'compacted' | 'unavailable' {
    if (index === this.base.index) return this.base.sum;
    if (index < this.base.index) return 'compacted';
    return this.#intact(index)?.sum ?? 'unavailable';
  }

  entries(low: LogIndex, high: LogIndex, sizeBytesMax: number): readonly Entry[] | 'compacted' {
    if (low <= this.base.index) return 'compacted';
    const run: Entry[] = [];
    let sizeBytes = 0;
    for (let index: number = low; index < high; index++) {
      const entry = this.#intact(index as LogIndex);
      if (entry === undefined) break;
      sizeBytes += entrySizeBytes(entry);
      if (run.length > 0 && sizeBytes > sizeBytesMax) break;
      run.push(entry);
    }
    return run;
  }

  damage(): readonly LostRange[] {
    return this.#damage;
  }

  /** What lies in the log now, lost entries included: for checkers. */
  get held(): readonly Entry[] {
    return this.#entries;
  }

  /** As Wal.repair: `entries` fill the lowest range. */
  repair(entries: readonly Entry[]): void {
    const [range] = this.#damage;
    const start = range!.low - this.base.index - 1;
    const tail = this.#entries.slice(start + entries.length);
    this.#entries = [...this.#entries.slice(0, start), ...entries, ...tail];
    this.#damage = this.#damage.slice(1);
  }

  /** As Wal.discardDamaged: nothing from `from` on is kept; a range is cut, its end is unknown. */
  discard(from: LogIndex): void {
    this.#entries = this.#entries.slice(0, from - this.base.index - 1);
    this.#damage = this.#damage
      .filter((range) => range.low < from)
      .map((range) =>
        range.high < from
          ? range
          : { low: range.low, high: (from - 1) as LogIndex, lastTerm: null, lastSum: null },
      );
  }

  #intact(index: LogIndex): Entry | undefined {
    const isLost = this.#damage.some(({ low, high }) => low <= index && index <= high);
    return isLost ? undefined : this.#entries[index - this.base.index - 1];
  }
}

/** Loses entries low..high; `known` is what a confirmation still tells of the last one. */
export function lostRange(
  entries: readonly Entry[],
  low: number,
  high: number,
  known: 'sum' | 'term' | 'nothing',
): LostRange {
  const last = entries.find((entry) => entry.index === high);
  return {
    low: low as LogIndex,
    high: high as LogIndex,
    lastTerm: known === 'nothing' ? null : (last?.term ?? null),
    lastSum: known === 'sum' ? (last?.sum ?? null) : null,
  };
}
