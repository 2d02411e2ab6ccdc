/**
 * Reads one msgpack value from untrusted bytes. Strict, because a lenient reader changes data:
 * no extension types, string keys only, no duplicate keys, valid UTF-8, no bytes after the value.
 *
 * Bounded: depth, containers and values have limits, and a count is checked against the bytes that
 * are left before anything is allocated, so a small frame cannot ask for much memory. Integers
 * beyond 2^53 - 1 come back as bigint, for the validators to refuse by name. `bin` is a view.
 */
import { copyBytes, HoldfastError } from '@holdfast/base';

/** A payload may be 16 deep inside a request; what is far deeper is an attack, not data. */
const DEPTH_MAX = 64;
/** Maps and arrays: about 100 bytes of memory for one byte of frame. */
const CONTAINER_COUNT_MAX = 262_144;
/** Map keys count too. A batch of plain number arrays at the batch limit stays below. */
const VALUE_COUNT_MAX = 4_194_304;
const SHORT_STRING_SIZE_BYTES_MAX = 24;
/** Field names repeat in every frame: a direct-mapped cache returns them interned. */
const KEY_CACHE_SLOT_COUNT = 512;
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

interface CachedKey {
  readonly bytes: Uint8Array;
  readonly text: string;
}
const keyCache: (CachedKey | undefined)[] = new Array(KEY_CACHE_SLOT_COUNT).fill(undefined);

/** @throws HoldfastError FRAME_MALFORMED naming the offset */
export function readMsgpack(bytes: Uint8Array): unknown {
  const reader = new Reader(bytes);
  const value = reader.readValue(0);
  if (reader.offset !== bytes.byteLength) {
    throw malformed('has bytes after its value; send one map per frame', reader.offset);
  }
  return value;
}

class Reader {
  offset = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #containerCount = 0;
  #valueCount = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  readValue(depth: number): unknown {
    const code = this.#takeByte();
    if (code < 0x80) return code;
    if (code < 0x90) return this.#readMap(code & 0x0f, depth);
    if (code < 0xa0) return this.#readArray(code & 0x0f, depth);
    if (code < 0xc0) return this.#readString(code & 0x1f);
    if (code >= 0xe0) return code - 0x100;
    return this.#readCoded(code, depth);
  }

  #readCoded(code: number, depth: number): unknown {
    switch (code) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
        return this.#readBytes(this.#takeByte());
      case 0xc5:
        return this.#readBytes(this.#takeU16());
      case 0xc6:
        return this.#readBytes(this.#takeU32());
      case 0xd9:
        return this.#readString(this.#takeByte());
      case 0xda:
        return this.#readString(this.#takeU16());
      case 0xdb:
        return this.#readString(this.#takeU32());
      case 0xdc:
        return this.#readArray(this.#takeU16(), depth);
      case 0xdd:
        return this.#readArray(this.#takeU32(), depth);
      case 0xde:
        return this.#readMap(this.#takeU16(), depth);
      case 0xdf:
        return this.#readMap(this.#takeU32(), depth);
      default:
        return this.#readNumber(code);
    }
  }

  #readNumber(code: number): number | bigint {
    const view = this.#view;
    switch (code) {
      case 0xca:
        return view.getFloat32(this.#take(4));
      case 0xcb:
        return view.getFloat64(this.#take(8));
      case 0xcc:
        return this.#takeByte();
      case 0xcd:
        return this.#takeU16();
      case 0xce:
        return this.#takeU32();
      case 0xcf:
        return narrow(view.getBigUint64(this.#take(8)));
      case 0xd0:
        return view.getInt8(this.#take(1));
      case 0xd1:
        return view.getInt16(this.#take(2));
      case 0xd2:
        return view.getInt32(this.#take(4));
      case 0xd3:
        return narrow(view.getBigInt64(this.#take(8)));
      default:
        throw malformed(
          `uses msgpack type 0x${code.toString(16)}; extension types are not part of the protocol`,
          this.offset - 1,
        );
    }
  }

  #readArray(count: number, depth: number): unknown[] {
    this.#enter(count, count, depth);
    const items: unknown[] = [];
    for (let i = 0; i < count; i++) items.push(this.readValue(depth + 1));
    return items;
  }

  #readMap(count: number, depth: number): Record<string, unknown> {
    this.#enter(count * 2, count, depth);
    const map: Record<string, unknown> = {};
    for (let i = 0; i < count; i++) {
      const at = this.offset;
      const key = this.#readKey();
      if (Object.hasOwn(map, key)) throw malformed('has a map with a duplicate key', at);
      const value = this.readValue(depth + 1);
      if (key === '__proto__') defineOwn(map, key, value);
      else map[key] = value;
    }
    return map;
  }

  /** Every element takes at least one byte, so a count beyond the bytes left is a lie. */
  #enter(sizeBytesMin: number, valueCount: number, depth: number): void {
    if (depth >= DEPTH_MAX) throw malformed('is nested too deeply; flatten it', this.offset);
    if (sizeBytesMin > this.#bytes.byteLength - this.offset) {
      throw malformed('is cut: a count is larger than the bytes left', this.offset);
    }
    this.#containerCount += 1;
    this.#valueCount += valueCount;
    const isOver = this.#containerCount > CONTAINER_COUNT_MAX || this.#valueCount > VALUE_COUNT_MAX;
    if (isOver) throw malformed('has too many values; send smaller batches', this.offset);
  }

  #readKey(): string {
    const code = this.#takeByte();
    let sizeBytes: number;
    if (code >= 0xa0 && code < 0xc0) sizeBytes = code & 0x1f;
    else if (code === 0xd9) sizeBytes = this.#takeByte();
    else if (code === 0xda) sizeBytes = this.#takeU16();
    else if (code === 0xdb) sizeBytes = this.#takeU32();
    else throw malformed('has a map key that is not a string', this.offset - 1);
    if (sizeBytes === 0 || sizeBytes > SHORT_STRING_SIZE_BYTES_MAX) {
      return this.#readString(sizeBytes);
    }
    return this.#readCachedKey(sizeBytes);
  }

  #readCachedKey(sizeBytes: number): string {
    const start = this.#take(sizeBytes);
    const bytes = this.#bytes;
    let hash = sizeBytes;
    for (let i = 0; i < sizeBytes; i++) hash = (Math.imul(hash, 31) + bytes[start + i]!) | 0;
    const slot = (hash ^ (hash >>> 9)) & (KEY_CACHE_SLOT_COUNT - 1);
    const cached = keyCache[slot];
    if (cached !== undefined && cached.bytes.byteLength === sizeBytes) {
      let i = 0;
      while (i < sizeBytes && cached.bytes[i] === bytes[start + i]) i += 1;
      if (i === sizeBytes) return cached.text;
    }
    const text = this.#decodeText(start, sizeBytes);
    keyCache[slot] = { bytes: copyBytes(bytes, start, start + sizeBytes), text };
    return text;
  }

  #readString(sizeBytes: number): string {
    const start = this.#take(sizeBytes);
    if (sizeBytes > SHORT_STRING_SIZE_BYTES_MAX) return this.#decodeText(start, sizeBytes);
    const bytes = this.#bytes;
    let text = '';
    for (let i = start; i < start + sizeBytes; i++) {
      const byte = bytes[i]!;
      if (byte > 0x7f) return this.#decodeText(start, sizeBytes);
      text += String.fromCharCode(byte);
    }
    return text;
  }

  #decodeText(start: number, sizeBytes: number): string {
    try {
      return UTF8.decode(this.#bytes.subarray(start, start + sizeBytes));
    } catch (cause) {
      throw malformed('has a string that is not UTF-8', start, cause);
    }
  }

  #readBytes(sizeBytes: number): Uint8Array {
    const start = this.#take(sizeBytes);
    return this.#bytes.subarray(start, start + sizeBytes);
  }

  #takeByte(): number {
    return this.#bytes[this.#take(1)]!;
  }

  #takeU16(): number {
    return this.#view.getUint16(this.#take(2));
  }

  #takeU32(): number {
    return this.#view.getUint32(this.#take(4));
  }

  #take(sizeBytes: number): number {
    const start = this.offset;
    if (sizeBytes > this.#bytes.byteLength - start) {
      throw malformed('is cut: it ends inside a value', start);
    }
    this.offset = start + sizeBytes;
    return start;
  }
}

function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function defineOwn(map: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(map, key, { value, enumerable: true, writable: true, configurable: true });
}

function malformed(what: string, offset: number, cause?: unknown): HoldfastError {
  return new HoldfastError('FRAME_MALFORMED', `frame ${what} (at byte ${offset})`, {
    details: { offset },
    ...(cause === undefined ? {} : { cause }),
  });
}
