/**
 * One file as a disk sees it: the written image (page cache, what reads return) and the durable
 * image (what survives a power cut), in sectors. A sector array is never changed after it was
 * stored, so images share sectors and a clone is cheap. An absent sector is all zeros.
 */
import type { Random } from '@holdfast/base';

export const SECTOR_SIZE_BYTES = 512;

/** What a power cut does to bytes that were written and not synced. */
export interface CrashPolicy {
  /** Per un-synced sector (and directory change): does it survive? */
  readonly keeps: () => boolean;
  /** Where a sector that survives only in part is cut, or null for whole sectors. */
  readonly random: Random;
  readonly tearsSectors: boolean;
}

export class MemoryFile {
  #written = new Map<number, Uint8Array>();
  #durable = new Map<number, Uint8Array>();
  #dirty = new Set<number>();
  #writtenSizeBytes = 0;
  #durableSizeBytes = 0;

  get sizeBytes(): number {
    return this.#writtenSizeBytes;
  }

  get hasUnsynced(): boolean {
    return this.#dirty.size > 0 || this.#writtenSizeBytes !== this.#durableSizeBytes;
  }

  clone(): MemoryFile {
    const copy = new MemoryFile();
    copy.#written = new Map(this.#written);
    copy.#durable = new Map(this.#durable);
    copy.#dirty = new Set(this.#dirty);
    copy.#writtenSizeBytes = this.#writtenSizeBytes;
    copy.#durableSizeBytes = this.#durableSizeBytes;
    return copy;
  }

  read(target: Uint8Array, position: number): number {
    const count = Math.max(0, Math.min(target.byteLength, this.#writtenSizeBytes - position));
    let done = 0;
    while (done < count) {
      const at = position + done;
      const start = at % SECTOR_SIZE_BYTES;
      const length = Math.min(SECTOR_SIZE_BYTES - start, count - done);
      const sector = this.#written.get(Math.floor(at / SECTOR_SIZE_BYTES));
      if (sector === undefined) target.fill(0, done, done + length);
      else target.set(sector.subarray(start, start + length), done);
      done += length;
    }
    return count;
  }

  write(bytes: Uint8Array, position: number): void {
    let done = 0;
    while (done < bytes.byteLength) {
      const at = position + done;
      const start = at % SECTOR_SIZE_BYTES;
      const length = Math.min(SECTOR_SIZE_BYTES - start, bytes.byteLength - done);
      const number = Math.floor(at / SECTOR_SIZE_BYTES);
      this.#patch(this.#written, number, start, bytes.subarray(done, done + length));
      this.#dirty.add(number);
      done += length;
    }
    this.#writtenSizeBytes = Math.max(this.#writtenSizeBytes, position + bytes.byteLength);
  }

  truncate(sizeBytes: number): void {
    if (sizeBytes < this.#writtenSizeBytes) {
      for (const number of this.#written.keys()) {
        if ((number + 1) * SECTOR_SIZE_BYTES <= sizeBytes) continue;
        const keep = Math.max(0, sizeBytes - number * SECTOR_SIZE_BYTES);
        this.#patch(this.#written, number, keep, new Uint8Array(SECTOR_SIZE_BYTES - keep));
        this.#dirty.add(number);
      }
    }
    this.#writtenSizeBytes = sizeBytes;
  }

  sync(): void {
    for (const number of this.#dirty) copySector(this.#written, this.#durable, number);
    this.#dirty.clear();
    this.#durableSizeBytes = this.#writtenSizeBytes;
  }

  /** A failed sync on Linux: the pages are marked clean, still read back, and were not written. */
  failSync(): void {
    this.#dirty.clear();
  }

  /** Power cut: only durable bytes and what the policy lets survive remain. */
  crash(policy: CrashPolicy): void {
    for (const number of [...this.#dirty].sort((left, right) => left - right)) {
      if (!policy.keeps()) continue;
      const isTorn = policy.tearsSectors && policy.random.nextBelow(4) === 0;
      if (isTorn) this.#tear(number, policy.random.nextBelow(SECTOR_SIZE_BYTES));
      else copySector(this.#written, this.#durable, number);
    }
    if (this.#writtenSizeBytes !== this.#durableSizeBytes && policy.keeps()) {
      this.#durableSizeBytes = this.#writtenSizeBytes;
    }
    for (const number of this.#durable.keys()) {
      if (number * SECTOR_SIZE_BYTES >= this.#durableSizeBytes) this.#durable.delete(number);
    }
    this.#written = new Map(this.#durable);
    this.#writtenSizeBytes = this.#durableSizeBytes;
    this.#dirty.clear();
  }

  /** Rot: the bit is wrong in both images, as if read from a bad medium. */
  flipBit(position: number, bit: number): void {
    const number = Math.floor(position / SECTOR_SIZE_BYTES);
    const start = position % SECTOR_SIZE_BYTES;
    for (const image of [this.#written, this.#durable]) {
      const byte = image.get(number)?.[start] ?? 0;
      this.#patch(image, number, start, new Uint8Array([byte ^ (1 << bit)]));
    }
  }

  /** Numbers of the sectors that are not all zeros, ascending. */
  writtenSectors(): readonly number[] {
    return [...this.#written.keys()].sort((left, right) => left - right);
  }

  /** Rot: the sector reads as zeros, in both images. */
  eraseSector(number: number): void {
    this.#written.delete(number);
    this.#durable.delete(number);
  }

  #tear(number: number, cut: number): void {
    const fresh = this.#written.get(number) ?? new Uint8Array(SECTOR_SIZE_BYTES);
    this.#patch(this.#durable, number, 0, fresh.subarray(0, cut));
  }

  #patch(image: Map<number, Uint8Array>, number: number, start: number, bytes: Uint8Array): void {
    if (bytes.byteLength === SECTOR_SIZE_BYTES && isAllZero(bytes)) {
      image.delete(number);
      return;
    }
    const sector = image.get(number)?.slice() ?? new Uint8Array(SECTOR_SIZE_BYTES);
    sector.set(bytes, start);
    image.set(number, sector);
  }
}

function copySector(
  from: ReadonlyMap<number, Uint8Array>,
  to: Map<number, Uint8Array>,
  number: number,
): void {
  const sector = from.get(number);
  if (sector === undefined) to.delete(number);
  else to.set(number, sector);
}

function isAllZero(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.byteLength; i++) if (bytes[i] !== 0) return false;
  return true;
}
