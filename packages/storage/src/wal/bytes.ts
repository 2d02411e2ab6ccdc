/** Writes and reads the fields of record payloads, little-endian, with every length checked. */
import type { ConfState } from '@holdfast/base';
import {
  assert,
  copyBytes,
  decodeConf,
  ENTRY_SUM_SIZE_BYTES,
  HoldfastError,
  readU64,
  writeU64,
} from '@holdfast/base';

export function malformed(what: string, cause?: unknown): HoldfastError {
  return new HoldfastError('WAL_CORRUPT', `record payload has a bad ${what}`, {
    cause,
    details: { what },
  });
}

/** Strings on disk have a u16 length. */
const TEXT_SIZE_BYTES_MAX = 0xffff;

/** One growing buffer: a summary is written with every batch, so fields must cost no objects. */
export class ByteWriter {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #size = 0;

  u8(value: number): void {
    const at = this.#advance(1);
    this.#bytes[at] = value;
  }

  u32(value: number): void {
    const at = this.#advance(4);
    this.#view.setUint32(at, value, true);
  }

  u64(value: number): void {
    const at = this.#advance(8);
    writeU64(this.#view, at, value);
  }

  sum(bytes: Uint8Array): void {
    assert(bytes.byteLength === ENTRY_SUM_SIZE_BYTES, 'sum must be 16 bytes');
    this.bytes(bytes);
  }

  bytes(value: Uint8Array): void {
    const at = this.#advance(value.byteLength);
    this.#bytes.set(value, at);
  }

  text(value: string): void {
    const bytes = Buffer.from(value, 'utf8');
    assert(bytes.byteLength <= TEXT_SIZE_BYTES_MAX, 'text is too long for the log', {
      sizeBytes: bytes.byteLength,
    });
    const at = this.#advance(2);
    this.#view.setUint16(at, bytes.byteLength, true);
    this.bytes(bytes);
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#size);
  }

  /** May replace the buffer: take the place first, then look at the buffer. */
  #advance(count: number): number {
    const start = this.#size;
    this.#size += count;
    if (this.#size > this.#bytes.byteLength) {
      const grown = new Uint8Array(Math.max(this.#size, 2 * this.#bytes.byteLength));
      grown.set(this.#bytes);
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    return start;
  }
}

export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  u32(): number {
    return this.#view.getUint32(this.#advance(4), true);
  }

  u64(): number {
    return readU64(this.#view, this.#advance(8));
  }

  sum(): Uint8Array {
    const start = this.#advance(ENTRY_SUM_SIZE_BYTES);
    return copyBytes(this.#bytes, start, start + ENTRY_SUM_SIZE_BYTES);
  }

  text(): string {
    const size = this.#view.getUint16(this.#advance(2), true);
    const start = this.#advance(size);
    return Buffer.from(this.#bytes.subarray(start, start + size)).toString('utf8');
  }

  conf(): ConfState {
    try {
      const { conf, end } = decodeConf(this.#bytes, this.#offset);
      this.#offset = end;
      return conf;
    } catch (thrown) {
      throw malformed('configuration', thrown);
    }
  }

  expectEnd(): void {
    if (this.#offset !== this.#bytes.byteLength) throw malformed('length');
  }

  #advance(count: number): number {
    const start = this.#offset;
    if (start + count > this.#bytes.byteLength) throw malformed('length');
    this.#offset = start + count;
    return start;
  }
}
