const BEFORE = Uint8Array.of(0xff, 0xfe, 0xfd);
const AFTER_COUNT = 2;

/**
 * Bytes as a socket hands them out: a Buffer that is a part of a larger pool, at an odd place, and
 * the pool is no multiple of anything. What takes them for an array of their own (`slice`,
 * `buffer`, `byteOffset`) goes wrong here as it would on real connections.
 */
export function pooled(bytes: Uint8Array): Buffer {
  const pool = Buffer.alloc(bytes.byteLength + BEFORE.byteLength + AFTER_COUNT, 0xee);
  pool.set(BEFORE);
  pool.set(bytes, BEFORE.byteLength);
  return pool.subarray(BEFORE.byteLength, BEFORE.byteLength + bytes.byteLength);
}
