/**
 * Reads little-endian fields of a message from a peer. Trusts nothing: every read is checked
 * against the end, every value against its range, and a list is never allocated before its bytes
 * are there.
 */
import type { ConfState, Entry, NodeId } from '@holdfast/base';
import {
  copyBytes,
  decodeConf,
  decodeEntry,
  ENTRY_HEADER_SIZE_BYTES,
  ENTRY_SUM_SIZE_BYTES,
  HoldfastError,
  isNodeId,
} from '@holdfast/base';

export const malformed = (what: string, offset: number): HoldfastError =>
  new HoldfastError('MESSAGE_MALFORMED', `raft message ${what}`, { details: { offset } });

const DECODER = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  bool(): boolean {
    const value = this.u8();
    if (value > 1) throw this.#bad('has a flag that is neither 0 nor 1');
    return value === 1;
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  /** A safe integer. */
  u64(): number {
    const start = this.#take(8);
    const high = this.#view.getUint32(start + 4, true);
    const value = high * 0x1_0000_0000 + this.#view.getUint32(start, true);
    if (!Number.isSafeInteger(value)) throw this.#bad('has an integer out of range');
    return value;
  }

  sum(): Uint8Array {
    const start = this.#take(ENTRY_SUM_SIZE_BYTES);
    return copyBytes(this.#bytes, start, start + ENTRY_SUM_SIZE_BYTES);
  }

  hexId(): string {
    const start = this.#take(16);
    let text = '';
    for (let i = start; i < start + 16; i++) text += this.#bytes[i]!.toString(16).padStart(2, '0');
    return text;
  }

  text(): string {
    const size = this.u8();
    const start = this.#take(size);
    try {
      return DECODER.decode(this.#bytes.subarray(start, start + size));
    } catch (cause) {
      throw new HoldfastError('MESSAGE_MALFORMED', 'raft message has text that is not UTF-8', {
        cause,
        details: { offset: start },
      });
    }
  }

  nodeId(): NodeId {
    const value = this.text();
    if (!isNodeId(value)) throw this.#bad('has a malformed node id');
    return value;
  }

  entries(): readonly Entry[] {
    const count = this.u32();
    if (count * ENTRY_HEADER_SIZE_BYTES > this.#bytes.byteLength - this.#offset)
      throw this.#bad('promises more entries than it has bytes');
    const entries: Entry[] = [];
    for (let i = 0; i < count; i++) {
      const start = this.#offset;
      const { entry, end } = decodeEntry(this.#bytes, start);
      entries.push(entry);
      this.#offset = end;
    }
    return entries;
  }

  conf(): ConfState {
    const { conf, end } = decodeConf(this.#bytes, this.#offset);
    this.#offset = end;
    return conf;
  }

  /** Nothing may follow a message. */
  finish(): void {
    if (this.#offset !== this.#bytes.byteLength) throw this.#bad('is followed by more bytes');
  }

  fail(what: string): never {
    throw this.#bad(what);
  }

  #take(sizeBytes: number): number {
    const start = this.#offset;
    if (start + sizeBytes > this.#bytes.byteLength) throw this.#bad('is cut');
    this.#offset = start + sizeBytes;
    return start;
  }

  #bad(what: string): HoldfastError {
    return malformed(what, this.#offset);
  }
}
