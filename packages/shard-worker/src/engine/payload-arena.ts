/**
 * Payload bytes of one shard in a few big chunks instead of one object per row: a Uint8Array object
 * costs about 100 bytes, which would double the memory of small payloads. Append only.
 */

/** Chunks double up to this size: small shards stay small, big ones have few chunks. */
const CHUNK_SIZE_BYTES_MAX = 1 << 20;
const CHUNK_SIZE_BYTES_MIN = 4096;

export class PayloadArena {
  readonly #chunks: Uint8Array[] = [];
  #usedBytes = 0;

  /** Chunk and offset of the bytes that the next `append` would write are read back from here. */
  lastChunk = 0;
  lastOffset = 0;

  append(source: Uint8Array, start: number, sizeBytes: number): void {
    let chunk = this.#chunks[this.#chunks.length - 1];
    if (chunk === undefined || this.#usedBytes + sizeBytes > chunk.byteLength) {
      const doubled = Math.min(CHUNK_SIZE_BYTES_MAX, (chunk?.byteLength ?? 0) * 2);
      chunk = new Uint8Array(Math.max(sizeBytes, doubled, CHUNK_SIZE_BYTES_MIN));
      this.#chunks.push(chunk);
      this.#usedBytes = 0;
    }
    chunk.set(source.subarray(start, start + sizeBytes), this.#usedBytes);
    this.lastChunk = this.#chunks.length - 1;
    this.lastOffset = this.#usedBytes;
    this.#usedBytes += sizeBytes;
  }

  /** A view of bytes that never change. */
  view(chunk: number, offset: number, sizeBytes: number): Uint8Array {
    return this.#chunks[chunk]!.subarray(offset, offset + sizeBytes);
  }
}
