/**
 * One shard of one collection in memory: rows, ids, digest, segments, graph. Apply is synchronous
 * and a function of the ops and their log index alone.
 */
import { assert } from '@holdfast/base';
import { GraphBuildQueue } from '../graph/build-queue.ts';
import type { GraphFactory } from '../graph/graph.ts';
import type { CollectionDefinition, PointId } from '../model.ts';
import { PayloadIndexes } from '../payload/payload-indexes.ts';
import { hashPointId, pointIdKind, writePointId } from '../point-id.ts';
import type { PointOpReader } from '../point-op.ts';
import { RowEncoder, recordSizeBytes } from '../segment/format.ts';
import { SegmentLedger } from '../segment/ledger.ts';
import { ShardDigestSum } from './digest.ts';
import { IdTable } from './id-table.ts';
import { RowCompaction } from './row-compaction.ts';
import type { RowSource } from './row-store.ts';
import { NO_ROW, RowStore } from './row-store.ts';

const idScratch = new DataView(new ArrayBuffer(16));

/** What a row read back has and an op takes from its entry. */
export interface RestoredFacts {
  readonly version: number;
  readonly timestampMs: number;
}

export class Shard {
  readonly definition: CollectionDefinition;
  readonly shard: number;
  readonly ledger: SegmentLedger;
  readonly queue: GraphBuildQueue;
  readonly indexes: PayloadIndexes;
  readonly digest = new ShardDigestSum();
  #rows: RowStore;
  #ids: IdTable;
  #compaction: RowCompaction | null = null;
  #generation = 0;
  readonly #encoder = new RowEncoder();

  constructor(definition: CollectionDefinition, shard: number, factory: GraphFactory | null) {
    this.definition = definition;
    this.shard = shard;
    this.#rows = new RowStore(definition.dimension);
    this.ledger = new SegmentLedger(definition, definition.checksumAlgorithm);
    this.queue = new GraphBuildQueue(this.#rows, definition, factory);
    this.indexes = new PayloadIndexes(this.#rows);
    this.indexes.declare(definition.payloadIndexes ?? []);
    this.#ids = new IdTable(this.#rows);
  }

  /** Another store, with other row numbers, after each compaction: never keep it over tasks. */
  get rows(): RowStore {
    return this.#rows;
  }

  /** Another one after each compaction: row numbers mean nothing beyond it. */
  get generation(): number {
    return this.#generation;
  }

  get isCompacting(): boolean {
    return this.#compaction !== null;
  }

  /**
   * A slice of letting dead rows go; the first call begins it, the last one swaps the store and
   * tells everything that knows row numbers. True while there is more to do.
   */
  compact(rowCountMax: number): boolean {
    this.#compaction ??= new RowCompaction(this);
    if (!this.#compaction.step(rowCountMax)) return true;
    const { ids, newRowOf, rows } = this.#compaction.finish();
    this.#compaction = null;
    this.#rows = rows;
    this.#ids = ids;
    this.#generation += 1;
    this.ledger.renumber(newRowOf, rows.rowCount);
    this.queue.renumber(rows, newRowOf);
    this.indexes.renumber(rows, newRowOf);
    return false;
  }

  /** Version of the op's point, 0 when it does not exist. */
  versionOf(op: PointOpReader): number {
    const row = this.#ids.find(op.idHash, op.idKind, op.view, op.idOffset);
    return row === NO_ROW ? 0 : this.rows.version(row);
  }

  /** See RowEncoder.contentHash. */
  contentHash(row: number): Uint8Array {
    return this.#encoder.contentHash(this.rows, row);
  }

  findRow(id: PointId): number {
    writePointId(idScratch, 0, id);
    return this.#ids.find(hashPointId(id), pointIdKind(id), idScratch, 0);
  }

  /** The live row of an id in its byte form; NO_ROW when there is none. */
  findRowByIdBytes(hash: number, kind: number, view: DataView, offset: number): number {
    return this.#ids.find(hash, kind, view, offset);
  }

  upsert(op: PointOpReader, index: number, timestampMs: number): void {
    assert(op.dimension === this.definition.dimension, 'op has another dimension', {
      found: op.dimension,
      expected: this.definition.dimension,
    });
    const oldRow = this.#ids.find(op.idHash, op.idKind, op.view, op.idOffset);
    const newRow = this.#append(op, index, timestampMs);
    if (oldRow === NO_ROW) this.#ids.insert(newRow);
    else {
      this.#ids.replace(oldRow, newRow);
      this.#kill(oldRow, index);
    }
    this.ledger.rowAppended(recordSizeBytes(op.dimension, op.payloadSizeBytes));
  }

  /** True when there was something to delete. */
  delete(op: PointOpReader, index: number): boolean {
    const row = this.#ids.find(op.idHash, op.idKind, op.view, op.idOffset);
    if (row === NO_ROW) return false;
    this.#ids.remove(row);
    this.#kill(row, index);
    return true;
  }

  /** An entry of its own: what grows becomes a segment if it is large enough. */
  sealGrowing(): void {
    this.ledger.sealGrowing(this.rows);
  }

  /** To be called once per entry that touched this shard, after its last op. */
  endEntry(): void {
    this.ledger.entryEnded(this.rows);
    assert(this.#ids.count === this.rows.liveCount, 'every live row has one id', {
      ids: this.#ids.count,
      live: this.rows.liveCount,
    });
  }

  /**
   * A live row read back from a verified file; rows come in the order they were written. Payload
   * indexes are filled afterwards, in slices.
   * False when its id is already there: the file cannot be right.
   */
  restoreRow(source: RowSource & RestoredFacts, view: DataView, rowHash: Uint8Array): boolean {
    if (this.#ids.find(source.idHash, source.idKind, view, source.idOffset) !== NO_ROW)
      return false;
    this.#ids.insert(this.rows.append(source, source.version, source.timestampMs));
    this.digest.add(rowHash);
    return true;
  }

  #append(source: RowSource, index: number, timestampMs: number): number {
    const row = this.rows.append(source, index, timestampMs);
    this.digest.add(this.#encoder.hash(this.rows, row));
    this.indexes.rowAppended(row);
    return row;
  }

  #kill(row: number, index: number): void {
    this.digest.subtract(this.#encoder.hash(this.rows, row));
    this.rows.markDead(row);
    this.ledger.rowDied(row, index);
    this.queue.rowDied(row);
    this.#compaction?.rowDied(row);
    this.indexes.rowDied(row);
  }
}
