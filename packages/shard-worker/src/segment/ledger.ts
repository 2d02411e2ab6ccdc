/**
 * Which rows of a shard belong to which segment: logical state, a function of the log alone.
 *
 * - Every row enters the growing part. Its row and byte counts include rows that died since, so
 *   that overwriting one point for ever still seals.
 * - After an entry's last op on the shard, if either count has reached the collection's limit, the
 *   growing part is sealed: the segment holds, in row order, exactly the rows of the growing part
 *   that are live at that moment. A part with no live row leaves no segment. Counts restart at 0.
 * - A row of a sealed segment that dies later becomes a tombstone: its position in the segment and
 *   the index of the entry that killed it, in the order of the log.
 *
 * Nothing else seals: not a checkpoint, not time, not memory. When a file is written never matters.
 */
import { assert } from '@holdfast/base';
import type { RowStore } from '../engine/row-store.ts';

export interface SegmentFile {
  /** Relative to the data directory. */
  readonly path: string;
  readonly checksum: string;
  readonly sizeBytes: number;
}

export interface SealLimits {
  readonly sealRowCount: number;
  readonly sealSizeBytes: number;
}

export class SealedSegment {
  /** 1, 2, ... in the order of sealing. */
  readonly ordinal: number;
  /** Rows in the file, dead ones included. */
  readonly rowCount: number;
  /** Row numbers in this process, ascending; rows that were dead when loaded are left out. */
  readonly rows: Uint32Array;
  /** Position in the segment of each of `rows`; null when position i is row i. */
  readonly #positions: Uint32Array | null;
  readonly tombstonePositions: number[] = [];
  readonly tombstoneIndexes: number[] = [];
  /** Null until the file is on disk. */
  file: SegmentFile | null = null;

  constructor(
    ordinal: number,
    rowCount: number,
    rows: Uint32Array,
    positions: Uint32Array | null = null,
  ) {
    this.ordinal = ordinal;
    this.rowCount = rowCount;
    this.rows = rows;
    this.#positions = positions;
  }

  rowDied(row: number, index: number): void {
    const at = lowerBound(this.rows.length, (i) => this.rows[i]! < row);
    assert(this.rows[at] === row, 'a sealed row must be in its segment', { row });
    this.tombstonePositions.push(this.#positions === null ? at : this.#positions[at]!);
    this.tombstoneIndexes.push(index);
  }
}

export class SegmentLedger {
  readonly #limits: SealLimits;
  readonly #sealed: SealedSegment[] = [];
  /** First row number of each sealed segment. */
  readonly #firstRows: number[] = [];
  #sealedCount = 0;
  #growingFirstRow = 0;
  #growingRowCount = 0;
  #growingSizeBytes = 0;

  constructor(limits: SealLimits) {
    this.#limits = limits;
  }

  get sealed(): readonly SealedSegment[] {
    return this.#sealed;
  }

  get growingFirstRow(): number {
    return this.#growingFirstRow;
  }

  /** Rows appended since the last sealing, dead ones included. */
  get growingRowCount(): number {
    return this.#growingRowCount;
  }

  get growingSizeBytes(): number {
    return this.#growingSizeBytes;
  }

  /** How many times a segment was sealed: the next ordinal is one more. */
  get sealedCount(): number {
    return this.#sealedCount;
  }

  rowAppended(sizeBytes: number): void {
    this.#growingRowCount += 1;
    this.#growingSizeBytes += sizeBytes;
  }

  rowDied(row: number, index: number): void {
    if (row >= this.#growingFirstRow) return;
    const after = lowerBound(this.#firstRows.length, (i) => this.#firstRows[i]! <= row);
    assert(after > 0, 'a row below the growing part is in a segment', { row });
    this.#sealed[after - 1]!.rowDied(row, index);
  }

  /** To be called once per entry, after its last op on this shard. */
  entryEnded(rows: RowStore): void {
    const { sealRowCount, sealSizeBytes } = this.#limits;
    if (this.#growingRowCount < sealRowCount && this.#growingSizeBytes < sealSizeBytes) return;
    const live = this.growingLiveRows(rows);
    if (live.length > 0) {
      this.#sealedCount += 1;
      this.#push(new SealedSegment(this.#sealedCount, live.length, live));
    }
    this.#growingFirstRow = rows.rowCount;
    this.#growingRowCount = 0;
    this.#growingSizeBytes = 0;
  }

  growingLiveRows(rows: RowStore): Uint32Array {
    const live: number[] = [];
    for (let row = this.#growingFirstRow; row < rows.rowCount; row++)
      if (rows.isLive(row)) live.push(row);
    return Uint32Array.from(live);
  }

  /** Loading: segments in order of their ordinals, then `restoreGrowing` once. */
  restoreSealed(segment: SealedSegment): void {
    const isNext = segment.ordinal > (this.#sealed.at(-1)?.ordinal ?? 0);
    assert(isNext, 'segments load in order', { ordinal: segment.ordinal });
    this.#push(segment);
  }

  restoreGrowing(state: {
    readonly firstRow: number;
    readonly rowCount: number;
    readonly sizeBytes: number;
    readonly sealedCount: number;
  }): void {
    this.#growingFirstRow = state.firstRow;
    this.#growingRowCount = state.rowCount;
    this.#growingSizeBytes = state.sizeBytes;
    this.#sealedCount = state.sealedCount;
  }

  #push(segment: SealedSegment): void {
    const previousFirst = this.#firstRows.at(-1) ?? 0;
    // An empty segment (all its rows dead before loading) stands where the next one begins.
    this.#firstRows.push(segment.rows[0] ?? Math.max(previousFirst, this.#endOfLastRows()));
    this.#sealed.push(segment);
  }

  #endOfLastRows(): number {
    for (let i = this.#sealed.length - 1; i >= 0; i--) {
      const last = this.#sealed[i]!.rows.at(-1);
      if (last !== undefined) return last + 1;
    }
    return 0;
  }
}

/** First i in [0, count) for which `isBelow` is false; `count` when there is none. */
function lowerBound(count: number, isBelow: (i: number) => boolean): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBelow(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}
