/**
 * How the frames of sealed objects are made smaller. Each frame is compressed alone, so a reader
 * never holds more than one. Codes are stored in objects and never change their meaning.
 *
 * Float vectors shrink by less than a tenth whatever is used, JSON by a factor of five.
 */
import { promisify } from 'node:util';
import { constants, gunzip, gzip } from 'node:zlib';
import { assert } from '@holdfast/base';

export type Compression = 'none' | 'gzip' | 'zstd';

const CODES = { none: 0, gzip: 1, zstd: 2 } as const satisfies Record<Compression, number>;

export const compressionCode = (name: Compression): number => CODES[name];

export function compressionByCode(code: number): Compression | undefined {
  const names = Object.keys(CODES) as Compression[];
  return names.find((name) => CODES[name] === code);
}

export interface Compressor {
  /** Equal bytes give equal results within one process. */
  compress(bytes: Uint8Array): Promise<Uint8Array>;
  /**
   * Exactly `sizeBytes` (at least 1) come out, and no more memory than that is ever taken.
   * @throws Error of whatever kind when `bytes` are not what `compress` made
   */
  expand(bytes: Uint8Array, sizeBytes: number): Promise<Uint8Array>;
}

/** Both were measured: the next levels take three times as long for a few percent. */
const GZIP_LEVEL = constants.Z_BEST_SPEED;
const ZSTD_LEVEL = 1;

const gzipAsync = promisify(gzip);
const gunzipAsync = promisify(gunzip);

const NONE: Compressor = {
  compress: async (bytes) => bytes,
  expand: async (bytes, sizeBytes) => ofSize(bytes, sizeBytes),
};

/** Works on the thread pool of Node. */
const GZIP: Compressor = {
  compress: (bytes) => gzipAsync(bytes, { level: GZIP_LEVEL }),
  expand: async (bytes, sizeBytes) =>
    ofSize(await gunzipAsync(bytes, { maxOutputLength: sizeBytes }), sizeBytes),
};

let zstd: Promise<Compressor> | null = null;

/** The same one each time; the module of zstd is loaded when it is first asked for. */
export async function loadCompressor(name: Compression): Promise<Compressor> {
  switch (name) {
    case 'none':
      return NONE;
    case 'gzip':
      return GZIP;
    case 'zstd':
      zstd ??= loadZstd();
      return zstd;
  }
}

/** Works on the calling thread: about 3 ms for a frame of 1 MiB. */
async function loadZstd(): Promise<Compressor> {
  const { init, compress, decompress } = await import('@bokuweb/zstd-wasm');
  await init();
  return {
    compress: async (bytes) => compress(bytes, ZSTD_LEVEL),
    async expand(bytes, sizeBytes) {
      // The library takes as much memory as the frame asks for, so it is asked first.
      const claimed = zstdContentSizeBytes(bytes);
      if (claimed !== sizeBytes) throw new Error(`zstd frame claims ${claimed} bytes`);
      return ofSize(decompress(bytes), sizeBytes);
    },
  };
}

const ZSTD_MAGIC = 0xfd2f_b528;
const ZSTD_HEADER_SIZE_BYTES_MAX = 18;

/** The content size in the header of a zstd frame (RFC 8878, 3.1.1.1); null when there is none. */
export function zstdContentSizeBytes(frame: Uint8Array): number | null {
  const header = new DataView(new ArrayBuffer(ZSTD_HEADER_SIZE_BYTES_MAX));
  new Uint8Array(header.buffer).set(frame.subarray(0, ZSTD_HEADER_SIZE_BYTES_MAX));
  if (header.getUint32(0, true) !== ZSTD_MAGIC) return null;
  const descriptor = header.getUint8(4);
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const dictionaryIdSizeBytes = [0, 1, 2, 4][descriptor & 3] as number;
  const at = 5 + (isSingleSegment ? 0 : 1) + dictionaryIdSizeBytes;
  switch (descriptor >> 6) {
    case 0:
      return isSingleSegment ? header.getUint8(at) : null;
    case 1:
      return header.getUint16(at, true) + 256;
    case 2:
      return header.getUint32(at, true);
    default:
      return header.getUint32(at + 4, true) * 0x1_0000_0000 + header.getUint32(at, true);
  }
}

function ofSize(bytes: Uint8Array, sizeBytes: number): Uint8Array {
  assert(sizeBytes >= 0, 'a size is not negative', { sizeBytes });
  if (bytes.byteLength === sizeBytes) return bytes;
  throw new Error(`expands to ${bytes.byteLength} bytes and must be ${sizeBytes}`);
}
