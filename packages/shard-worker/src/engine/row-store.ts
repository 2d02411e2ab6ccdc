/**
 * All rows of one shard, one column per field. A row is written once: a replaced or deleted row is
 * only marked dead, and row numbers only grow. They are local to this process, never logical state;
 * dead rows leave when the store is replaced by a compacted one (row-compaction.ts).
 */
import { assert } from '@holdfast/base';
import { dotExact, isFiniteVector } from '../distance/exact-math.ts';
import { VectorStore } from '../distance/vector-store.ts';
import type { PointId } from '../model.ts';
import { comparePointIds, ID_SIZE_BYTES, readPointId } from '../point-id.ts';
import { PayloadArena } from './payload-arena.ts';

/** What the caller knows about a row to append; offsets are into `bytes`. */
export interface RowSource {
  readonly bytes: Uint8Array;
  readonly idKind: number;
  readonly idHash: number;
  readonly idOffset: number;
  readonly vectorOffset: number;
  readonly payloadOffset: number;
  readonly payloadSizeBytes: number;
  readonly hasPayload: boolean;
}

/** Also no row number: labels of the graph are u32. */
export const NO_ROW = 0xffff_ffff;
const NO_PAYLOAD = 0xffff_ffff;
export const FLAG_LIVE = 1;
const FLAG_UUID = 2;
/** The kernel's f32 sums may overflow or vanish for this row: compute it in doubles. */
export const FLAG_EXTREME = 4;
const CAPACITY_MIN = 64;
/** Norms outside are left to double precision; f32 squares overflow at 1.8e19. */
const NORM_KERNEL_MIN = 1e-15;
const NORM_KERNEL_MAX = 1e15;

export class RowStore {
  readonly vectors: VectorStore;
  readonly #payloads = new PayloadArena();
  #capacity = 0;
  #liveCount = 0;
  #flags = new Uint8Array(0);
  #idWords = new Uint32Array(0);
  #hashes = new Uint32Array(0);
  #versions = new Float64Array(0);
  #timestampsMs = new Float64Array(0);
  #norms = new Float32Array(0);
  #payloadChunks = new Uint32Array(0);
  #payloadOffsets = new Uint32Array(0);
  #payloadSizes = new Uint32Array(0);
  #idView = new DataView(new ArrayBuffer(0));

  constructor(dimension: number) {
    this.vectors = new VectorStore(dimension);
  }

  get rowCount(): number {
    return this.vectors.rowCount;
  }

  get liveCount(): number {
    return this.#liveCount;
  }

  /** Flag bytes by row, bit 0 = live: for scans. Replaced when the store grows. */
  get flags(): Uint8Array {
    return this.#flags;
  }

  get norms(): Float32Array {
    return this.#norms;
  }

  append(source: RowSource, version: number, timestampMs: number): number {
    const row = this.vectors.append(source.bytes, source.vectorOffset);
    assert(row < NO_ROW, 'row numbers are used up');
    if (row >= this.#capacity) this.#grow();
    const norm = this.#checkedNorm(row);
    const isExtreme = norm !== 0 && !(norm > NORM_KERNEL_MIN && norm < NORM_KERNEL_MAX);
    this.#flags[row] =
      FLAG_LIVE | (source.idKind === 0 ? 0 : FLAG_UUID) | (isExtreme ? FLAG_EXTREME : 0);
    // Byte by byte: two views would cost more than the copy, for each of millions of rows.
    for (let i = 0; i < ID_SIZE_BYTES; i++)
      this.#idView.setUint8(row * ID_SIZE_BYTES + i, source.bytes[source.idOffset + i]!);
    this.#hashes[row] = source.idHash;
    this.#versions[row] = version;
    this.#timestampsMs[row] = timestampMs;
    this.#norms[row] = norm;
    this.#payloadSizes[row] = NO_PAYLOAD;
    if (source.hasPayload) {
      this.#keepPayload(row, source.bytes, source.payloadOffset, source.payloadSizeBytes);
      this.#payloadSizes[row] = source.payloadSizeBytes;
    }
    this.#liveCount += 1;
    return row;
  }

  /** Copies a row of another store of the same dimension; it is live here. */
  appendCopy(from: RowStore, row: number): number {
    const copy = this.vectors.append(from.vectors.vectorBytes(row), 0);
    if (copy >= this.#capacity) this.#grow();
    this.#flags[copy] = from.#flags[row]! | FLAG_LIVE;
    this.#idWords.set(from.#idWords.subarray(row * 4, row * 4 + 4), copy * 4);
    this.#hashes[copy] = from.#hashes[row]!;
    this.#versions[copy] = from.#versions[row]!;
    this.#timestampsMs[copy] = from.#timestampsMs[row]!;
    this.#norms[copy] = from.#norms[row]!;
    this.#payloadSizes[copy] = from.#payloadSizes[row]!;
    const payload = from.payload(row);
    if (payload !== null) this.#keepPayload(copy, payload, 0, payload.byteLength);
    this.#liveCount += 1;
    return copy;
  }

  isLive(row: number): boolean {
    return (this.#flags[row]! & FLAG_LIVE) !== 0;
  }

  markDead(row: number): void {
    assert(this.isLive(row), 'a row dies once', { row });
    this.#flags[row]! &= ~FLAG_LIVE;
    this.#liveCount -= 1;
  }

  version(row: number): number {
    return this.#versions[row]!;
  }

  /** Log time of the entry that wrote the row. */
  timestampMs(row: number): number {
    return this.#timestampsMs[row]!;
  }

  hash(row: number): number {
    return this.#hashes[row]!;
  }

  idKind(row: number): number {
    return (this.#flags[row]! & FLAG_UUID) === 0 ? 0 : 1;
  }

  id(row: number): PointId {
    return readPointId(this.#idView, row * ID_SIZE_BYTES, this.idKind(row));
  }

  /** Of a row whose id is a number. */
  idNumber(row: number): number {
    return this.#idView.getFloat64(row * ID_SIZE_BYTES, true);
  }

  /** The first four bytes of the id, the first highest: orders UUIDs roughly. */
  idFirstWord(row: number): number {
    return this.#idView.getUint32(row * ID_SIZE_BYTES, false);
  }

  /** The 16 id bytes: a view, valid until the next append. */
  idBytes(row: number): Uint8Array {
    return new Uint8Array(this.#idWords.buffer, row * ID_SIZE_BYTES, ID_SIZE_BYTES);
  }

  compareIds(left: number, right: number): number {
    return comparePointIds(this.id(left), this.id(right));
  }

  /** True when the row's id equals the 16 bytes at `offset` of `view`. */
  hasId(row: number, kind: number, view: DataView, offset: number): boolean {
    const at = row * 4;
    const words = this.#idWords;
    return (
      this.idKind(row) === kind &&
      words[at] === view.getUint32(offset, true) &&
      words[at + 1] === view.getUint32(offset + 4, true) &&
      words[at + 2] === view.getUint32(offset + 8, true) &&
      words[at + 3] === view.getUint32(offset + 12, true)
    );
  }

  isExtreme(row: number): boolean {
    return (this.#flags[row]! & FLAG_EXTREME) !== 0;
  }

  /** 0 when the point has none. */
  payloadSizeBytes(row: number): number {
    const sizeBytes = this.#payloadSizes[row]!;
    return sizeBytes === NO_PAYLOAD ? 0 : sizeBytes;
  }

  /** A view of the payload bytes, null when the point has none. */
  payload(row: number): Uint8Array | null {
    const sizeBytes = this.#payloadSizes[row]!;
    if (sizeBytes === NO_PAYLOAD) return null;
    return this.#payloads.view(this.#payloadChunks[row]!, this.#payloadOffsets[row]!, sizeBytes);
  }

  #keepPayload(row: number, bytes: Uint8Array, offset: number, sizeBytes: number): void {
    this.#payloads.append(bytes, offset, sizeBytes);
    this.#payloadChunks[row] = this.#payloads.lastChunk;
    this.#payloadOffsets[row] = this.#payloads.lastOffset;
  }

  /** Norm of the vector just appended; its components must be finite, the edge checked them. */
  #checkedNorm(row: number): number {
    const vector = this.vectors.vector(row);
    const squared = dotExact(vector, vector);
    assert(Number.isFinite(squared) && isFiniteVector(vector), 'vector component is not finite', {
      row,
    });
    return Math.sqrt(squared);
  }

  #grow(): void {
    // One and a half: these columns are about 50 bytes a row, a tenth of a small vector.
    const capacity = Math.max(CAPACITY_MIN, Math.ceil(this.#capacity * 1.5));
    const copyInto = <Column extends { set(source: Column): void }>(to: Column, from: Column) => {
      to.set(from);
      return to;
    };
    this.#flags = copyInto(new Uint8Array(capacity), this.#flags);
    this.#idWords = copyInto(new Uint32Array(capacity * 4), this.#idWords);
    this.#hashes = copyInto(new Uint32Array(capacity), this.#hashes);
    this.#versions = copyInto(new Float64Array(capacity), this.#versions);
    this.#timestampsMs = copyInto(new Float64Array(capacity), this.#timestampsMs);
    this.#norms = copyInto(new Float32Array(capacity), this.#norms);
    this.#payloadChunks = copyInto(new Uint32Array(capacity), this.#payloadChunks);
    this.#payloadOffsets = copyInto(new Uint32Array(capacity), this.#payloadOffsets);
    this.#payloadSizes = copyInto(new Uint32Array(capacity), this.#payloadSizes);
    this.#idView = new DataView(this.#idWords.buffer);
    this.#capacity = capacity;
  }
}
