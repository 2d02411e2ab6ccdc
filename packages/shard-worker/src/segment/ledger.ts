/**
 * Which rows of a shard belong to which segment: logical state, a function of the log alone.
 *
 * - Every row enters the growing part. Its row and byte counts include rows that died since, so
 *   that overwriting one point for ever still seals.
 * - After an entry's last op on the shard, if either count has reached the collection's limit, the
 *   growing part is sealed: the segment holds, in row order, exactly the rows of the growing part
 *   that are live at that moment. A part with no live row leaves no segment. Counts restart at 0.
 * - An entry of the log may seal earlier: what has reached a sixteenth of either limit.
 * - A row of a sealed segment that dies later becomes a tombstone: its position in the segment and
 *   the index of the entry that killed it, in the order of the log.
 * - After that, segments without a live row leave the list, and at most one run of neighbours is
 *   merged (merge-policy.ts): its place is taken by one segment with exactly the rows alive now, in
 *   order, and no tombstones.
 *
 * Nothing else changes the list: not a checkpoint, not time, not memory. When a file is written
 * never matters, because what it holds was decided by then.
 */
import { assert, must } from '@holdfast/base';
import type { ChecksumAlgorithm } from '@holdfast/storage';
import type { RowStore } from '../engine/row-store.ts';
import { recordSizeBytes } from './format.ts';
import { lowerBound } from './lower-bound.ts';
import type { SealLimits } from './merge-policy.ts';
import { decideMerge } from './merge-policy.ts';
import { firstKept, SealedSegment } from './sealed-segment.ts';

/** Part of the format, as the numbers of the merge policy are. */
const EARLY_SEAL_DIVISOR = 16;

export class SegmentLedger {
  readonly #limits: SealLimits;
  /** Of segments that are sealed or merged from now on. */
  checksumAlgorithm: ChecksumAlgorithm;
  #sealed: SealedSegment[] = [];
  #ordinalCount = 0;
  #growingFirstRow = 0;
  #growingRowCount = 0;
  #growingSizeBytes = 0;
  /** The list changed since the policy said no. Only saves asking: the answer would be the same. */
  #mayMerge = true;
  #isEmptied = false;

  constructor(limits: SealLimits, checksumAlgorithm: ChecksumAlgorithm) {
    this.#limits = limits;
    this.checksumAlgorithm = checksumAlgorithm;
  }

  /** In row order; ordinals are not in order once something was merged. */
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

  /** Ordinals given away by sealing and merging: the next one is one more. */
  get ordinalCount(): number {
    return this.#ordinalCount;
  }

  rowAppended(sizeBytes: number): void {
    this.#growingRowCount += 1;
    this.#growingSizeBytes += sizeBytes;
  }

  rowDied(row: number, index: number): void {
    if (row >= this.#growingFirstRow) return;
    const after = lowerBound(this.#sealed.length, (i) => this.#sealed[i]!.firstRow <= row);
    assert(after > 0, 'a row below the growing part is in a segment', { row });
    const segment = this.#sealed[after - 1]!;
    segment.rowDied(row, index);
    // Any death may make it small, or too dead: ask again.
    this.#mayMerge = true;
    if (segment.deadRowCount === segment.rowCount) this.#isEmptied = true;
  }

  /** To be called once per entry, after its last op on this shard. */
  entryEnded(rows: RowStore): void {
    this.#sealIfFull(rows);
    if (this.#isEmptied) this.#dropEmptied();
    if (this.#mayMerge) this.#mergeOne(rows);
  }

  /** As an entry of its own, before a backup: what is small would leave many small segments. */
  sealGrowing(rows: RowStore): void {
    if (this.#hasReached(EARLY_SEAL_DIVISOR)) this.#seal(rows);
    this.entryEnded(rows);
  }

  growingLiveRows(rows: RowStore): Uint32Array {
    const live: number[] = [];
    for (let row = this.#growingFirstRow; row < rows.rowCount; row++)
      if (rows.isLive(row)) live.push(row);
    return Uint32Array.from(live);
  }

  /** Loading: segments in the order of the list, then `restoreGrowing` once. */
  restoreSealed(segment: SealedSegment): void {
    const { firstRow, ordinal } = segment;
    const isInOrder = firstRow >= (this.#sealed.at(-1)?.firstRow ?? 0);
    assert(isInOrder, 'segments load in row order', { ordinal });
    this.#sealed.push(segment);
  }

  restoreGrowing(state: {
    readonly firstRow: number;
    readonly rowCount: number;
    readonly sizeBytes: number;
    readonly ordinalCount: number;
  }): void {
    this.#growingFirstRow = state.firstRow;
    this.#growingRowCount = state.rowCount;
    this.#growingSizeBytes = state.sizeBytes;
    this.#ordinalCount = state.ordinalCount;
    this.#mayMerge = true;
  }

  /**
   * Memory was compacted: row i is `newRowOf[i]` now, ROW_GONE when it left; `newRowCount` rows are
   * left. Changes nothing logical.
   */
  renumber(newRowOf: Uint32Array, newRowCount: number): void {
    this.#growingFirstRow = firstKept(newRowOf, this.#growingFirstRow, newRowCount);
    for (const segment of this.#sealed)
      segment.renumber(newRowOf, firstKept(newRowOf, segment.firstRow, newRowCount));
  }

  #sealIfFull(rows: RowStore): void {
    if (this.#hasReached(1)) this.#seal(rows);
  }

  /** Whether a part of either limit is reached. */
  #hasReached(divisor: number): boolean {
    const { sealRowCount, sealSizeBytes } = this.#limits;
    const isLong = this.#growingRowCount * divisor >= sealRowCount;
    return isLong || this.#growingSizeBytes * divisor >= sealSizeBytes;
  }

  #seal(rows: RowStore): void {
    const live = this.growingLiveRows(rows);
    if (live.length > 0) this.#sealed.push(this.#newSegment(rows, live));
    this.#growingFirstRow = rows.rowCount;
    this.#growingRowCount = 0;
    this.#growingSizeBytes = 0;
    this.#mayMerge = true;
  }

  #dropEmptied(): void {
    this.#isEmptied = false;
    this.#sealed = this.#sealed.filter((segment) => segment.deadRowCount < segment.rowCount);
  }

  /** One per entry: what else is due follows with the next entries, on every replica alike. */
  #mergeOne(rows: RowStore): void {
    const run = decideMerge(this.#sealed, this.#limits);
    this.#mayMerge = run !== null;
    if (run === null) return;
    const inputs = this.#sealed.slice(run.first, run.first + run.count);
    const live = liveRowsOf(inputs, rows);
    this.#sealed.splice(run.first, run.count, this.#newSegment(rows, live));
  }

  #newSegment(rows: RowStore, live: Uint32Array): SealedSegment {
    this.#ordinalCount += 1;
    const { dimension } = rows.vectors;
    let contentSizeBytes = 0;
    for (const row of live)
      contentSizeBytes += recordSizeBytes(dimension, rows.payloadSizeBytes(row));
    const facts = {
      ordinal: this.#ordinalCount,
      checksumAlgorithm: this.checksumAlgorithm,
      rowCount: live.length,
      contentSizeBytes,
    };
    return new SealedSegment(facts, live, null, must(live[0]));
  }
}

function liveRowsOf(segments: readonly SealedSegment[], rows: RowStore): Uint32Array {
  const count = segments.reduce((sum, { rowCount, deadRowCount }) => {
    return sum + rowCount - deadRowCount;
  }, 0);
  const live = new Uint32Array(count);
  let at = 0;
  for (const segment of segments) {
    for (const row of segment.rows) {
      if (!rows.isLive(row)) continue;
      assert(at < count, 'no more rows are alive than have no tombstone');
      live[at] = row;
      at += 1;
    }
  }
  assert(at === count, 'every row without a tombstone is alive and in memory', { at, count });
  return live;
}
