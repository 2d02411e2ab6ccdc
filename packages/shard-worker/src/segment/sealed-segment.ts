/**
 * One sealed segment of a shard. What it holds is logical state and was decided by one log entry:
 * its rows in order, and the tombstones of those that died later. Where those rows are in memory
 * and whether its file is written are local.
 */
import { assert } from '@holdfast/base';
import type { ChecksumAlgorithm } from '@holdfast/storage';
import { lowerBound } from './lower-bound.ts';

export interface SegmentFile {
  /** Relative to the data directory. */
  readonly path: string;
  readonly checksum: string;
  readonly sizeBytes: number;
}

export interface SealedSegmentFacts {
  /** 1, 2, ... in the order of sealing and merging: names the file. */
  readonly ordinal: number;
  readonly checksumAlgorithm: ChecksumAlgorithm;
  /** Rows in the file, dead ones included. */
  readonly rowCount: number;
  /** Bytes of the records in the file. */
  readonly contentSizeBytes: number;
}

/** No row: it was dead when the segment was loaded, or has left memory since. */
export const ROW_GONE = 0xffff_ffff;

export class SealedSegment implements SealedSegmentFacts {
  readonly ordinal: number;
  readonly checksumAlgorithm: ChecksumAlgorithm;
  readonly rowCount: number;
  readonly contentSizeBytes: number;
  readonly tombstonePositions: number[] = [];
  readonly tombstoneIndexes: number[] = [];
  /** Null until its file was written. */
  file: SegmentFile | null = null;
  /** A durable checkpoint names the file: the rows are safe without memory. */
  isDurable = false;
  #rows: Uint32Array;
  /** Position in the segment of each of `rows`; null when position i is row i. */
  #positions: Uint32Array | null;
  #firstRow: number;

  /** `rows` are row numbers in this process, ascending; `firstRow` says where an empty one is. */
  constructor(
    facts: SealedSegmentFacts,
    rows: Uint32Array,
    positions: Uint32Array | null,
    firstRow: number,
  ) {
    this.ordinal = facts.ordinal;
    this.checksumAlgorithm = facts.checksumAlgorithm;
    this.rowCount = facts.rowCount;
    this.contentSizeBytes = facts.contentSizeBytes;
    this.#rows = rows;
    this.#positions = positions;
    this.#firstRow = rows[0] ?? firstRow;
  }

  /** Those of its rows that are in memory; another array after each renumbering. */
  get rows(): Uint32Array {
    return this.#rows;
  }

  /** Where it stands among the rows of the shard, also when none of its own is in memory. */
  get firstRow(): number {
    return this.#firstRow;
  }

  get deadRowCount(): number {
    return this.tombstonePositions.length;
  }

  rowDied(row: number, index: number): void {
    const at = lowerBound(this.#rows.length, (i) => this.#rows[i]! < row);
    assert(this.#rows[at] === row, 'a sealed row must be in its segment', { row });
    this.tombstonePositions.push(this.#positions === null ? at : this.#positions[at]!);
    this.tombstoneIndexes.push(index);
  }

  /**
   * Rows got other numbers; those of dead rows may be gone. `firstRow` counts when all are gone.
   * A segment whose file is not safe yet keeps all of its rows (asserted).
   */
  renumber(newRowOf: Uint32Array, firstRow: number): void {
    const rows = new Uint32Array(this.#rows.length);
    const positions = new Uint32Array(this.#rows.length);
    let count = 0;
    this.#rows.forEach((row, i) => {
      const newRow = newRowOf[row]!;
      if (newRow === ROW_GONE) return;
      rows[count] = newRow;
      positions[count] = this.#positions === null ? i : this.#positions[i]!;
      count += 1;
    });
    const isWhole = count === this.#rows.length;
    assert(isWhole || this.isDurable, 'rows of an unwritten segment stay in memory', {
      ordinal: this.ordinal,
    });
    if (!isWhole || this.#positions !== null) this.#positions = positions.slice(0, count);
    this.#rows = isWhole ? rows : rows.slice(0, count);
    this.#firstRow = this.#rows[0] ?? firstRow;
  }
}

/** New number of the first row at or after `row` that is left. */
export function firstKept(newRowOf: Uint32Array, row: number, newRowCount: number): number {
  for (let i = row; i < newRowOf.length; i++) {
    if (newRowOf[i] !== ROW_GONE) return newRowOf[i]!;
  }
  return newRowCount;
}
