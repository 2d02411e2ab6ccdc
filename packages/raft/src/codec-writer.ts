/** Appends little-endian fields to a growing buffer. Asserts: it only writes our own values. */
import type { ConfState, Entry } from '@holdfast/base';
import {
  assert,
  ENTRY_SUM_SIZE_BYTES,
  encodeConf,
  encodeEntry,
  entrySizeBytes,
  writeU64,
} from '@holdfast/base';

/** Most messages carry no entries and fit. */
const INITIAL_SIZE_BYTES = 256;

const ENCODER = new TextEncoder();

export class ByteWriter {
  #bytes = new Uint8Array(INITIAL_SIZE_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #size = 0;

  u8(value: number): void {
    this.reserve(1);
    this.#view.setUint8(this.#size, value);
    this.#size += 1;
  }

  bool(value: boolean): void {
    this.u8(value ? 1 : 0);
  }

  u32(value: number): void {
    assert(Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff, 'codec: not a u32', {
      value,
    });
    this.reserve(4);
    this.#view.setUint32(this.#size, value, true);
    this.#size += 4;
  }

  u64(value: number): void {
    this.reserve(8);
    writeU64(this.#view, this.#size, value);
    this.#size += 8;
  }

  sum(value: Uint8Array): void {
    assert(value.byteLength === ENTRY_SUM_SIZE_BYTES, 'codec: sum is not 16 bytes');
    this.reserve(ENTRY_SUM_SIZE_BYTES);
    this.#bytes.set(value, this.#size);
    this.#size += ENTRY_SUM_SIZE_BYTES;
  }

  /** 32 hex digits as 16 bytes. */
  hexId(value: string): void {
    assert(value.length === 32, 'codec: not 32 hex digits', { value });
    this.reserve(16);
    for (let i = 0; i < 16; i++)
      this.#bytes[this.#size + i] = Number.parseInt(value.slice(2 * i, 2 * i + 2), 16);
    this.#size += 16;
  }

  /** Length as one byte, then UTF-8. */
  text(value: string): void {
    const encoded = ENCODER.encode(value);
    assert(encoded.byteLength <= 0xff, 'codec: text is over 255 bytes', { value });
    this.u8(encoded.byteLength);
    this.reserve(encoded.byteLength);
    this.#bytes.set(encoded, this.#size);
    this.#size += encoded.byteLength;
  }

  entry(entry: Entry): void {
    this.reserve(entrySizeBytes(entry));
    this.#size = encodeEntry(entry, this.#bytes, this.#size);
  }

  conf(conf: ConfState): void {
    const encoded = encodeConf(conf);
    this.reserve(encoded.byteLength);
    this.#bytes.set(encoded, this.#size);
    this.#size += encoded.byteLength;
  }

  /** Makes room for `sizeBytes` more, so that a large message grows the buffer once. */
  reserve(sizeBytes: number): void {
    const needed = this.#size + sizeBytes;
    if (needed <= this.#bytes.byteLength) return;
    const grown = new Uint8Array(Math.max(needed, 2 * this.#bytes.byteLength));
    grown.set(this.#bytes.subarray(0, this.#size));
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }

  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#size);
  }
}
