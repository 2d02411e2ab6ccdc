/**
 * The vectors of one shard in WebAssembly memory, where the kernel reads them without a copy:
 *
 *   query (one row) | results (f32 each, one block) | row numbers (u32 each, one block) | rows
 *
 * Rows are appended and never change. Growing the memory happens in place (V8 reserves the address
 * range), so nothing is copied; pages never touched cost no RAM. Views made before an append may be
 * detached by it.
 */
import { assert, HoldfastError } from '@holdfast/base';
import type { Kernel, KernelMemory } from './kernel.ts';
import {
  bindKernel,
  createKernelMemory,
  KERNEL_STEP_COMPONENTS,
  WASM_PAGE_COUNT_MAX,
  WASM_PAGE_SIZE_BYTES,
} from './kernel.ts';

export type DistanceKind = 'l2' | 'dot';

/** Rows per kernel call: enough to hide the call, small enough that results stay in L1. */
export const BLOCK_ROW_COUNT = 1024;
/** Growth of at least 1 MiB, and of an eighth, so that growing stays rare. */
const GROWTH_PAGE_COUNT_MIN = 16;
const GROWTH_DIVISOR = 8;

const alignTo64 = (sizeBytes: number): number => Math.ceil(sizeBytes / 64) * 64;

export class VectorStore {
  readonly dimension: number;
  readonly strideBytes: number;
  readonly #outAddress: number;
  readonly #rowsAddress: number;
  readonly #baseAddress: number;
  readonly #memory: KernelMemory;
  readonly #kernel: Kernel;
  #bytes!: Uint8Array;
  #floats!: Float32Array;
  #rowNumbers!: Uint32Array;
  #results!: Float32Array;
  #rowCount = 0;

  constructor(dimension: number) {
    assert(Number.isInteger(dimension) && dimension >= 1, 'dimension must be at least 1', {
      dimension,
    });
    const paddedCount = Math.ceil(dimension / KERNEL_STEP_COMPONENTS) * KERNEL_STEP_COMPONENTS;
    this.dimension = dimension;
    this.strideBytes = paddedCount * 4;
    this.#outAddress = alignTo64(this.strideBytes);
    this.#rowsAddress = this.#outAddress + BLOCK_ROW_COUNT * 4;
    this.#baseAddress = this.#rowsAddress + BLOCK_ROW_COUNT * 4;
    const initialPageCount = Math.ceil(
      (this.#baseAddress + this.strideBytes) / WASM_PAGE_SIZE_BYTES,
    );
    this.#memory = createKernelMemory(initialPageCount);
    this.#kernel = bindKernel(this.#memory);
    this.#refreshViews();
  }

  get rowCount(): number {
    return this.#rowCount;
  }

  /** Bytes of memory in use by rows. */
  get sizeBytes(): number {
    return this.#rowCount * this.strideBytes;
  }

  /** Copies `dimension` little-endian f32s from `source` at `offset` and returns the row number. */
  append(source: Uint8Array, offset: number): number {
    const row = this.#rowCount;
    const address = this.#baseAddress + row * this.strideBytes;
    if (address + this.strideBytes > this.#bytes.byteLength) this.#grow(address);
    const end = offset + this.dimension * 4;
    assert(end <= source.byteLength, 'vector bytes are cut', { offset, end });
    this.#bytes.set(source.subarray(offset, end), address);
    this.#rowCount = row + 1;
    return row;
  }

  /** A view, valid until the next append. */
  vector(row: number): Float32Array {
    const start = (this.#baseAddress + row * this.strideBytes) >>> 2;
    return this.#floats.subarray(start, start + this.dimension);
  }

  /** The unpadded bytes of a row: a view, valid until the next append. */
  vectorBytes(row: number): Uint8Array {
    const start = this.#baseAddress + row * this.strideBytes;
    return this.#bytes.subarray(start, start + this.dimension * 4);
  }

  /** The query of the calls that follow; its padding stays zero. */
  setQuery(query: Float32Array): void {
    assert(query.length === this.dimension, 'query has another dimension', {
      found: query.length,
    });
    this.#floats.set(query, 0);
  }

  /**
   * Results of rows first..first+count, `count <= BLOCK_ROW_COUNT`: a view, valid until the next
   * call.
   */
  distancesOfRange(kind: DistanceKind, first: number, count: number): Float32Array {
    assert(count <= BLOCK_ROW_COUNT && first + count <= this.#rowCount, 'range out of bounds', {
      first,
      count,
    });
    const address = this.#baseAddress + first * this.strideBytes;
    if (kind === 'l2') this.#kernel.l2Range(0, this.strideBytes, address, count, this.#outAddress);
    else this.#kernel.dotRange(0, this.strideBytes, address, count, this.#outAddress);
    return this.#results;
  }

  /** The same for `rows[start..start+count]`. */
  distancesOfRows(
    kind: DistanceKind,
    rows: Uint32Array,
    start: number,
    count: number,
  ): Float32Array {
    assert(count <= BLOCK_ROW_COUNT, 'too many rows for one block', { count });
    const rowCount = this.#rowCount;
    for (let i = 0; i < count; i++) {
      const row = rows[start + i]!;
      if (row >= rowCount) assert(false, 'row out of bounds', { row, rowCount });
      this.#rowNumbers[i] = row;
    }
    const stride = this.strideBytes;
    const base = this.#baseAddress;
    if (kind === 'l2')
      this.#kernel.l2Gather(0, stride, base, this.#rowsAddress, count, this.#outAddress);
    else this.#kernel.dotGather(0, stride, base, this.#rowsAddress, count, this.#outAddress);
    return this.#results;
  }

  #grow(address: number): void {
    const neededPageCount = Math.ceil((address + this.strideBytes) / WASM_PAGE_SIZE_BYTES);
    const pageCount = this.#bytes.byteLength / WASM_PAGE_SIZE_BYTES;
    const growth = Math.max(GROWTH_PAGE_COUNT_MIN, Math.floor(pageCount / GROWTH_DIVISOR));
    const target = Math.min(WASM_PAGE_COUNT_MAX, Math.max(neededPageCount, pageCount + growth));
    try {
      assert(target >= neededPageCount, 'a shard holds at most 4 GiB of vectors');
      this.#memory.grow(target - pageCount);
    } catch (cause) {
      throw new HoldfastError(
        'SHARD_UNAVAILABLE',
        'A shard cannot hold more vectors: memory or its 4 GiB limit is used up; ' +
          'add memory, or use a collection with more shards.',
        { cause, details: { rowCount: this.#rowCount, neededPageCount } },
      );
    }
    this.#refreshViews();
  }

  #refreshViews(): void {
    const { buffer } = this.#memory;
    this.#bytes = new Uint8Array(buffer);
    this.#floats = new Float32Array(buffer);
    this.#results = new Float32Array(buffer, this.#outAddress, BLOCK_ROW_COUNT);
    this.#rowNumbers = new Uint32Array(buffer, this.#rowsAddress, BLOCK_ROW_COUNT);
  }
}
