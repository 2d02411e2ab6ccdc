/**
 * The bytes from `start` to `end` in memory of their own, that nothing else sees.
 *
 * Not `slice`: what comes from a socket is a Buffer, and `slice` of a Buffer is a view of the pool
 * it was read into, whose own buffer is longer and begins somewhere else.
 */
export const copyBytes = (
  bytes: Uint8Array,
  start = 0,
  end: number = bytes.byteLength,
): Uint8Array<ArrayBuffer> => new Uint8Array(bytes.subarray(start, end));
