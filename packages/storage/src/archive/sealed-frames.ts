/**
 * Sealing and opening one frame at a time (layout in sealed-layout.ts). Frames can be sealed in any
 * order and more than once: the same content gives the same bytes, so an upload that starts again
 * in the middle sends what it sent before.
 *
 * Invariant: a frame is sealed with one content only. Another one under the same number would use
 * a nonce twice; whoever seals a frame again must know that the content is the same.
 */
import { createCipheriv, createDecipheriv, createHash, timingSafeEqual } from 'node:crypto';
import { assert, HoldfastError, writeU64 } from '@holdfast/base';
import type { ArchiveKey, KeyRing } from './archive-key.ts';
import type { Compression, Compressor } from './compression.ts';
import { loadCompressor } from './compression.ts';
import type { FrameHeader, SealedHeader, SealedKind } from './sealed-layout.ts';
import {
  bindingOf,
  corruptObject,
  encodeFrameHeader,
  encodeSealedHeader,
  FRAME_HEADER_SIZE_BYTES,
  FRAME_TAG_SIZE_BYTES,
  frameCountOf,
  framePlainSizeBytes,
  objectKeyOf,
  parseFrameHeader,
  parseSealedHeader,
  SALT_SIZE_BYTES,
} from './sealed-layout.ts';

/** Unpredictable bytes: those of the operating system, but in tests that own chance. */
export type RandomBytes = (sizeBytes: number) => Uint8Array;

export interface SealOptions {
  readonly kind: SealedKind;
  /** The key that the object will be stored under. */
  readonly context: string;
  readonly compression: Compression;
  /** Null: not encrypted, only checked. */
  readonly key: ArchiveKey | null;
  readonly random: RandomBytes;
}

export interface OpenOptions {
  readonly kind: SealedKind;
  /** The key that the object was read from. */
  readonly context: string;
  readonly keys: KeyRing;
  /** Content larger than this is refused before any of it is read. */
  readonly sizeBytesMax: number;
}

const CIPHER = 'aes-256-gcm';

export class FrameSealer {
  /** The first bytes of the object. */
  readonly header: Uint8Array;
  readonly plainSizeBytes: number;
  readonly frameCount: number;
  readonly #binding: Uint8Array;
  readonly #objectKey: Uint8Array | null;
  readonly #compressor: Compressor;
  readonly #isCompressing: boolean;

  private constructor(options: SealOptions, plainSizeBytes: number, compressor: Compressor) {
    const { kind, context, compression, key, random } = options;
    const salt = random(SALT_SIZE_BYTES);
    this.plainSizeBytes = plainSizeBytes;
    this.frameCount = frameCountOf(plainSizeBytes);
    this.header = encodeSealedHeader({
      ...{ kind, compression, plainSizeBytes, salt },
      protection: key === null ? 'sha256' : 'aes-256-gcm',
      keyId: key?.id ?? null,
    });
    this.#binding = bindingOf(this.header, context);
    this.#objectKey = key === null ? null : objectKeyOf(key, salt, this.#binding);
    this.#compressor = compressor;
    this.#isCompressing = compression !== 'none';
  }

  static async create(options: SealOptions, plainSizeBytes: number): Promise<FrameSealer> {
    return new FrameSealer(options, plainSizeBytes, await loadCompressor(options.compression));
  }

  /** Content bytes of frame `number`. */
  plainSizeBytesOf(number: number): number {
    return framePlainSizeBytes(this.plainSizeBytes, number);
  }

  /** The whole frame. `plain` must have `plainSizeBytesOf(number)` bytes; it is not changed. */
  async seal(number: number, plain: Uint8Array): Promise<Uint8Array> {
    assert(number >= 0 && number < this.frameCount, 'a frame is inside its object', { number });
    assert(plain.byteLength === this.plainSizeBytesOf(number), 'a frame is filled', { number });
    const content = await this.#smaller(plain);
    const header = encodeFrameHeader({
      storedSizeBytes: content.byteLength,
      isLast: number === this.frameCount - 1,
      isCompressed: content.byteLength < plain.byteLength,
      number,
    });
    if (this.#objectKey === null) {
      return joined([header, content, plainTag(this.#binding, header, content)]);
    }
    const cipher = createCipheriv(CIPHER, this.#objectKey, nonceOf(number), {
      authTagLength: FRAME_TAG_SIZE_BYTES,
    });
    cipher.setAAD(header);
    const stored = cipher.update(content);
    cipher.final();
    return joined([header, stored, cipher.getAuthTag()]);
  }

  /** Stored as it is when compression does not make it smaller. */
  async #smaller(plain: Uint8Array): Promise<Uint8Array> {
    if (!this.#isCompressing || plain.byteLength === 0) return plain;
    const compressed = await this.#compressor.compress(plain);
    return compressed.byteLength < plain.byteLength ? compressed : plain;
  }
}

export class FrameOpener {
  readonly header: SealedHeader;
  readonly frameCount: number;
  readonly #context: string;
  readonly #binding: Uint8Array;
  readonly #objectKey: Uint8Array | null;
  readonly #compressor: Compressor;

  private constructor(
    header: SealedHeader,
    options: OpenOptions,
    binding: Uint8Array,
    key: ArchiveKey | null,
    compressor: Compressor,
  ) {
    this.header = header;
    this.frameCount = frameCountOf(header.plainSizeBytes);
    this.#context = options.context;
    this.#binding = binding;
    this.#objectKey = key === null ? null : objectKeyOf(key, header.salt, binding);
    this.#compressor = compressor;
  }

  /**
   * `headerBytes` are the first 64 of the object, or what there is of them.
   * @throws HoldfastError BACKUP_CORRUPT, BACKUP_KEY_WRONG, FORMAT_UNKNOWN
   */
  static async create(headerBytes: Uint8Array, options: OpenOptions): Promise<FrameOpener> {
    const { kind, context, keys, sizeBytesMax } = options;
    const header = parseSealedHeader(headerBytes, context);
    if (header.kind !== kind) {
      throw corruptObject(context, 6, `holds a ${header.kind}, not a ${kind}`);
    }
    if (header.plainSizeBytes > sizeBytesMax) {
      const what = `holds ${header.plainSizeBytes} bytes, and may hold ${sizeBytesMax}`;
      throw corruptObject(context, 16, what);
    }
    const key = await findKey(header, keys, context);
    const compressor = await loadCompressor(header.compression);
    return new FrameOpener(header, options, bindingOf(headerBytes, context), key, compressor);
  }

  /**
   * How many bytes follow a frame header: the stored bytes and the tag.
   * @throws HoldfastError BACKUP_CORRUPT; `offset` is that of the frame in the object
   */
  parse(number: number, headerBytes: Uint8Array, offset: number): FrameHeader {
    const expected = {
      number,
      isLast: number === this.frameCount - 1,
      plainSizeBytes: framePlainSizeBytes(this.header.plainSizeBytes, number),
    };
    return parseFrameHeader(headerBytes, expected, this.#context, offset);
  }

  /**
   * The content of one frame, verified. `frame` is the whole of it and must have been parsed.
   * @throws HoldfastError BACKUP_CORRUPT
   */
  async open(parsed: FrameHeader, frame: Uint8Array, offset: number): Promise<Uint8Array> {
    const headerBytes = frame.subarray(0, FRAME_HEADER_SIZE_BYTES);
    const tagStart = FRAME_HEADER_SIZE_BYTES + parsed.storedSizeBytes;
    const stored = frame.subarray(FRAME_HEADER_SIZE_BYTES, tagStart);
    const tag = frame.subarray(tagStart, tagStart + FRAME_TAG_SIZE_BYTES);
    const content = this.#verified(parsed.number, headerBytes, stored, tag);
    const number = parsed.number;
    if (content === null) {
      throw corruptObject(this.#context, offset, `fails the check of frame ${number}`);
    }
    if (!parsed.isCompressed) return content;
    const sizeBytes = framePlainSizeBytes(this.header.plainSizeBytes, number);
    try {
      return await this.#compressor.expand(content, sizeBytes);
    } catch (cause) {
      const what = `has a frame ${number} that cannot be expanded`;
      throw corruptObject(this.#context, offset, what, cause);
    }
  }

  /** Null when the tag does not fit. */
  #verified(
    number: number,
    headerBytes: Uint8Array,
    stored: Uint8Array,
    tag: Uint8Array,
  ): Uint8Array | null {
    if (this.#objectKey === null) {
      return timingSafeEqual(plainTag(this.#binding, headerBytes, stored), tag) ? stored : null;
    }
    const decipher = createDecipheriv(CIPHER, this.#objectKey, nonceOf(number), {
      authTagLength: FRAME_TAG_SIZE_BYTES,
    });
    decipher.setAAD(headerBytes);
    decipher.setAuthTag(tag);
    const content = decipher.update(stored);
    try {
      decipher.final();
    } catch {
      // The one thing `final` finds out: the tag does not fit.
      return null;
    }
    return content;
  }
}

async function findKey(
  header: SealedHeader,
  keys: KeyRing,
  context: string,
): Promise<ArchiveKey | null> {
  const { keyId } = header;
  if (keyId === null) {
    if (!keys.isPlainRefused) return null;
    const message = `object ${context} is not encrypted, and only encrypted ones are accepted`;
    throw new HoldfastError('BACKUP_KEY_WRONG', message, { details: { object: context } });
  }
  const key = await keys.find(keyId);
  if (key !== null) return key;
  const message = `object ${context} is encrypted with the key ${keyId}: give that key as well`;
  throw new HoldfastError('BACKUP_KEY_WRONG', message, { details: { object: context, keyId } });
}

function plainTag(binding: Uint8Array, header: Uint8Array, content: Uint8Array): Uint8Array {
  const digest = createHash('sha256').update(binding).update(header).update(content).digest();
  return digest.subarray(0, FRAME_TAG_SIZE_BYTES);
}

/** 96 bits: the frame number as u64, then zeros. The key is the object's own. */
function nonceOf(number: number): Uint8Array {
  const nonce = new Uint8Array(12);
  writeU64(new DataView(nonce.buffer), 0, number);
  return nonce;
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.byteLength;
  }
  return bytes;
}
