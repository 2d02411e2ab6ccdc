/**
 * The last 64 bytes of an object in a folder: size and digest of the content before them.
 *
 * A trailer and not a file beside it, because one name then carries both: one link or rename makes
 * content and digest appear together, and no crash leaves one without the other. At the end and not
 * in front, because the digest is known when the content has been written.
 *
 *   0  8   magic `HFOBJECT`
 *   8  8   size of the content, u64 little-endian
 *   16 32  SHA-256 of the content
 *   48 4   CRC-32C of the 48 bytes before, u32 little-endian
 *   52 12  zero
 */
import { readU64, writeU64 } from '@holdfast/base';
import { crc32c, fromHex, toHex } from '@holdfast/storage';
import type { SinkDigest } from './sink-digest.ts';
import { corrupt } from './sink-digest.ts';

export const TRAILER_SIZE_BYTES = 64;
const MAGIC = Buffer.from('HFOBJECT', 'latin1');
const SIZE_OFFSET = 8;
const SHA256_OFFSET = 16;
const CHECKSUM_OFFSET = 48;
const RESERVED_OFFSET = 52;

export function encodeTrailer(digest: SinkDigest): Uint8Array {
  const bytes = new Uint8Array(TRAILER_SIZE_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC, 0);
  writeU64(view, SIZE_OFFSET, digest.sizeBytes);
  bytes.set(fromHex(digest.sha256), SHA256_OFFSET);
  view.setUint32(CHECKSUM_OFFSET, crc32c(bytes.subarray(0, CHECKSUM_OFFSET)), true);
  return bytes;
}

/** @throws HoldfastError BACKUP_CORRUPT naming the object */
export function decodeTrailer(bytes: Uint8Array, object: string): SinkDigest {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.byteLength !== TRAILER_SIZE_BYTES) throw corrupt(object, 'it is cut short');
  if (!MAGIC.equals(bytes.subarray(0, SIZE_OFFSET)))
    throw corrupt(object, 'it does not end with its digest');
  const isReservedZero = bytes.subarray(RESERVED_OFFSET).every((byte) => byte === 0);
  const sum = crc32c(bytes.subarray(0, CHECKSUM_OFFSET));
  if (view.getUint32(CHECKSUM_OFFSET, true) !== sum || !isReservedZero)
    throw corrupt(object, 'the record of its digest fails its checksum');
  return {
    sizeBytes: readU64(view, SIZE_OFFSET),
    sha256: toHex(bytes.subarray(SHA256_OFFSET, CHECKSUM_OFFSET)),
  };
}
