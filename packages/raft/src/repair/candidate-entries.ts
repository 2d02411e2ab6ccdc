/**
 * What peers offered for one damaged range, as a graph: every entry hangs on the entry before it
 * by the hash chain, so whatever is in here continues the intact part of the own log. Peers that
 * agree share one copy; peers that once followed different leaders give alternatives.
 */
import type { Entry, EntryHasher, LogIndex } from '@holdfast/base';
import { entrySizeBytes, sumsEqual } from '@holdfast/base';

/** Two logs differ at an index only if two leaders wrote there; more are not worth the memory. */
const ALTERNATIVE_COUNT_MAX = 8;
/** A log is compacted long before it is this large; what is held here is held in memory. */
const SIZE_BYTES_MAX = 512 * 1024 * 1024;

export interface CandidateEntry {
  readonly entry: Entry;
  /** The entry before; null for the first of the range. */
  readonly previous: CandidateEntry | null;
}

export class CandidateEntries {
  readonly #low: LogIndex;
  readonly #previousSum: Uint8Array;
  readonly #hash: EntryHasher;
  readonly #levels: CandidateEntry[][] = [];
  #sizeBytes = 0;

  /** `previousSum` is the chain sum of the intact entry (or base) before `low`. */
  constructor(low: LogIndex, previousSum: Uint8Array, hash: EntryHasher) {
    this.#low = low;
    this.#previousSum = previousSum;
    this.#hash = hash;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Highest index any peer has supplied without a gap; low - 1 while there is none. */
  get through(): number {
    return this.#low + this.#levels.length - 1;
  }

  at(index: number): readonly CandidateEntry[] {
    return this.#levels[index - this.#low] ?? [];
  }

  /** The candidate this entry is, added if it is new; or why there is none. */
  add(entry: Entry): CandidateEntry | 'disconnected' | 'full' {
    const level = entry.index - this.#low;
    if (level < 0 || level > this.#levels.length) return 'disconnected';
    const known = this.at(entry.index).find((other) => sumsEqual(other.entry.sum, entry.sum));
    if (known !== undefined) return known;
    const previous = this.#previousOf(entry);
    if (previous === undefined) return 'disconnected';
    const alternatives = this.#levels[level] ?? [];
    const isFull = alternatives.length >= ALTERNATIVE_COUNT_MAX || this.#sizeBytes > SIZE_BYTES_MAX;
    if (isFull) return 'full';
    const candidate: CandidateEntry = { entry, previous };
    this.#levels[level] = [...alternatives, candidate];
    this.#sizeBytes += entrySizeBytes(entry);
    return candidate;
  }

  /** What `entry` hangs on by its sum; undefined when it hangs on nothing here. */
  #previousOf(entry: Entry): CandidateEntry | null | undefined {
    const { term, index, type, data, sum } = entry;
    const follows = (previousSum: Uint8Array): boolean =>
      sumsEqual(this.#hash(previousSum, term, index, type, data), sum);
    if (index === this.#low) return follows(this.#previousSum) ? null : undefined;
    return this.at(index - 1).find((candidate) => follows(candidate.entry.sum));
  }
}

/** From the first index of the range to `last`. */
export function pathTo(last: CandidateEntry): readonly Entry[] {
  const path: Entry[] = [];
  for (let at: CandidateEntry | null = last; at !== null; at = at.previous) path.push(at.entry);
  return path.reverse();
}
