/**
 * Layout of a sealed object, version 1: the container of everything that goes into a sink. All
 * numbers are little-endian.
 *   header, 64 bytes, in clear: magic "HFSO", version u16, kind u16, compression u16,
 *     protection u16 (0 sha256, 1 AES-256-GCM), frame size u32, plain size u64, key id 8 (zeros
 *     without a key), salt 16, zeros, crc32c of the 60 bytes before it
 *   then one frame per MiB of content, at least one: stored size u32, flags u32 (1 last,
 *     2 compressed), frame number u64, the stored bytes, a tag of 16 bytes
 *
 * `binding` = sha256(header, context): the context is the key that the object is stored under. A
 * tag covers binding, frame header and bytes, so a frame fits nowhere else and an object is refused
 * under another name. Without a key the tag is the first half of a sha256: it finds damage, but
 * whoever can write can also compute it.
 *
 * With a key each object has its own: HKDF-SHA256(key, salt, "holdfast sealed object 1", binding).
 * The nonce is the frame number, used once under it. Two objects share a key only when context,
 * content size and 128 random bits of salt are all equal: chances stay below 2^-32 for 2^48
 * objects under *one* name, and names hold at most a few.
 */
import { createHash, hkdfSync } from 'node:crypto';
import { assert, HoldfastError, readU64, writeU64 } from '@holdfast/base';
import { crc32c, toHex } from '../checksum.ts';
import type { ArchiveKey } from './archive-key.ts';
import { ARCHIVE_KEY_ID_SIZE_BYTES } from './archive-key.ts';
import type { Compression } from './compression.ts';
import { compressionByCode, compressionCode } from './compression.ts';

export const SEALED_MAGIC = 0x4f53_4648;
export const SEALED_VERSION = 1;
export const SEALED_HEADER_SIZE_BYTES = 64;
export const SEALED_FRAME_SIZE_BYTES = 1_048_576;
export const FRAME_HEADER_SIZE_BYTES = 16;
export const FRAME_TAG_SIZE_BYTES = 16;
export const SALT_SIZE_BYTES = 16;
/** Of the context in UTF-8: the longest name that S3 takes. */
export const SEALED_CONTEXT_SIZE_BYTES_MAX = 1_024;
const OBJECT_KEY_LABEL = 'holdfast sealed object 1';

/** Codes are stored in objects and never change. */
const KIND_CODES = {
  'log-chunk': 1,
  gap: 2,
  timeline: 3,
  epoch: 4,
  file: 5,
  manifest: 6,
  'restore-test': 7,
} as const;
export type SealedKind = keyof typeof KIND_CODES;

const PROTECTION_CODES = { sha256: 0, 'aes-256-gcm': 1 } as const;
export type SealedProtection = keyof typeof PROTECTION_CODES;

/** What can be read without a key, and is to be believed only once the frames were opened. */
export interface SealedHeader {
  readonly kind: SealedKind;
  readonly compression: Compression;
  readonly protection: SealedProtection;
  /** 16 hex digits; null when the object is not encrypted. */
  readonly keyId: string | null;
  readonly plainSizeBytes: number;
  /** 16 bytes. */
  readonly salt: Uint8Array;
}

/** How many frames an object of this content size has. */
export const frameCountOf = (plainSizeBytes: number): number =>
  Math.max(1, Math.ceil(plainSizeBytes / SEALED_FRAME_SIZE_BYTES));

/** Content bytes of frame `number`; all but the last are full. */
export const framePlainSizeBytes = (plainSizeBytes: number, number: number): number =>
  Math.min(SEALED_FRAME_SIZE_BYTES, plainSizeBytes - number * SEALED_FRAME_SIZE_BYTES);

/** Size of an object without compression, which is also the most that any compression makes. */
export const sealedSizeBytesMax = (plainSizeBytes: number): number =>
  SEALED_HEADER_SIZE_BYTES +
  plainSizeBytes +
  frameCountOf(plainSizeBytes) * (FRAME_HEADER_SIZE_BYTES + FRAME_TAG_SIZE_BYTES);

export function encodeSealedHeader(header: SealedHeader): Uint8Array {
  const bytes = new Uint8Array(SEALED_HEADER_SIZE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, SEALED_MAGIC, true);
  view.setUint16(4, SEALED_VERSION, true);
  view.setUint16(6, KIND_CODES[header.kind], true);
  view.setUint16(8, compressionCode(header.compression), true);
  view.setUint16(10, PROTECTION_CODES[header.protection], true);
  view.setUint32(12, SEALED_FRAME_SIZE_BYTES, true);
  writeU64(view, 16, header.plainSizeBytes);
  if (header.keyId !== null) bytes.set(Buffer.from(header.keyId, 'hex'), 24);
  assert(header.salt.byteLength === SALT_SIZE_BYTES, 'a salt has 16 bytes', {});
  bytes.set(header.salt, 32);
  view.setUint32(60, crc32c(bytes.subarray(0, 60)), true);
  return bytes;
}

/** @throws HoldfastError BACKUP_CORRUPT naming `context`, FORMAT_UNKNOWN */
export function parseSealedHeader(bytes: Uint8Array, context: string): SealedHeader {
  if (bytes.byteLength < SEALED_HEADER_SIZE_BYTES) {
    throw corruptObject(context, bytes.byteLength, 'is shorter than its header');
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, SEALED_HEADER_SIZE_BYTES);
  if (view.getUint32(0, true) !== SEALED_MAGIC) {
    throw corruptObject(context, 0, 'is not a sealed object');
  }
  if (view.getUint32(60, true) !== crc32c(bytes.subarray(0, 60))) {
    throw corruptObject(context, 0, 'fails the checksum of its header');
  }
  const version = view.getUint16(4, true);
  if (version !== SEALED_VERSION) throw unknownFormat(context, 'version', version);
  const kindCode = view.getUint16(6, true);
  const kind = nameOfCode(KIND_CODES, kindCode);
  if (kind === undefined) throw unknownFormat(context, 'kind', kindCode);
  const compression = compressionByCode(view.getUint16(8, true));
  if (compression === undefined) {
    throw unknownFormat(context, 'compression', view.getUint16(8, true));
  }
  const protection = nameOfCode(PROTECTION_CODES, view.getUint16(10, true));
  if (protection === undefined) {
    throw unknownFormat(context, 'protection', view.getUint16(10, true));
  }
  const frameSizeBytes = view.getUint32(12, true);
  if (frameSizeBytes !== SEALED_FRAME_SIZE_BYTES) {
    throw unknownFormat(context, 'frame size', frameSizeBytes);
  }
  const keyIdBytes = bytes.slice(24, 24 + ARCHIVE_KEY_ID_SIZE_BYTES);
  const isEncrypted = protection === 'aes-256-gcm';
  if (!isEncrypted && keyIdBytes.some((byte) => byte !== 0)) {
    throw corruptObject(context, 24, 'names a key and is not encrypted');
  }
  if (bytes.subarray(48, 60).some((byte) => byte !== 0)) {
    throw corruptObject(context, 48, 'has reserved bytes that are not zero');
  }
  return {
    ...{ kind, compression, protection },
    keyId: isEncrypted ? toHex(keyIdBytes) : null,
    plainSizeBytes: plainSizeOf(view, context),
    salt: bytes.slice(32, 32 + SALT_SIZE_BYTES),
  };
}

export interface FrameHeader {
  readonly storedSizeBytes: number;
  readonly isLast: boolean;
  readonly isCompressed: boolean;
  readonly number: number;
}

export function encodeFrameHeader(frame: FrameHeader): Uint8Array {
  const bytes = new Uint8Array(FRAME_HEADER_SIZE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, frame.storedSizeBytes, true);
  view.setUint32(4, (frame.isLast ? 1 : 0) | (frame.isCompressed ? 2 : 0), true);
  writeU64(view, 8, frame.number);
  return bytes;
}

/**
 * Checks all that follows from the header of the object, so that nothing but the stored size has
 * to be believed before the tag was checked, and that size is at most a frame.
 * @throws HoldfastError BACKUP_CORRUPT
 */
export function parseFrameHeader(
  bytes: Uint8Array,
  expected: { readonly number: number; readonly isLast: boolean; readonly plainSizeBytes: number },
  context: string,
  offset: number,
): FrameHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const storedSizeBytes = view.getUint32(0, true);
  const flags = view.getUint32(4, true);
  const isCompressed = (flags & 2) !== 0;
  const isLast = (flags & 1) !== 0;
  const isPlace =
    view.getUint32(8, true) === expected.number % 0x1_0000_0000 &&
    view.getUint32(12, true) === Math.floor(expected.number / 0x1_0000_0000);
  if (!isPlace) throw corruptObject(context, offset, 'has a frame in the wrong place');
  const isPossible = isCompressed
    ? storedSizeBytes < expected.plainSizeBytes
    : storedSizeBytes === expected.plainSizeBytes;
  if (flags > 3 || isLast !== expected.isLast || !isPossible) {
    throw corruptObject(context, offset, 'has a bad frame header');
  }
  return { storedSizeBytes, isLast, isCompressed, number: expected.number };
}

/** 32 bytes. `header` is the encoded one. */
export function bindingOf(header: Uint8Array, context: string): Uint8Array {
  const contextBytes = Buffer.from(context, 'utf8');
  assert(
    contextBytes.byteLength > 0 && contextBytes.byteLength <= SEALED_CONTEXT_SIZE_BYTES_MAX,
    'the context of a sealed object is the key it is stored under',
    { context },
  );
  return createHash('sha256').update(header).update(contextBytes).digest();
}

/** 32 bytes, for one object. */
export function objectKeyOf(key: ArchiveKey, salt: Uint8Array, binding: Uint8Array): Uint8Array {
  const info = Buffer.concat([Buffer.from(OBJECT_KEY_LABEL, 'ascii'), binding]);
  return new Uint8Array(hkdfSync('sha256', key.secret, salt, info, 32));
}

export function corruptObject(
  context: string,
  offset: number,
  what: string,
  cause?: unknown,
): HoldfastError {
  const message =
    `object ${context} ${what} (offset ${offset}): ` +
    'use another copy of it or another backup; nothing was changed';
  return new HoldfastError('BACKUP_CORRUPT', message, {
    details: { object: context, offset },
    ...(cause === undefined ? {} : { cause }),
  });
}

function plainSizeOf(view: DataView, context: string): number {
  try {
    return readU64(view, 16);
  } catch (cause) {
    throw corruptObject(context, 16, 'has an impossible size', cause);
  }
}

function nameOfCode<Name extends string>(
  codes: Readonly<Record<Name, number>>,
  code: number,
): Name | undefined {
  return (Object.keys(codes) as Name[]).find((name) => codes[name] === code);
}

function unknownFormat(context: string, field: string, value: number): HoldfastError {
  const message = `object ${context} has the unknown ${field} ${value}: upgrade this program`;
  return new HoldfastError('FORMAT_UNKNOWN', message, {
    details: { object: context, field, value },
  });
}
