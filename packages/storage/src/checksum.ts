/**
 * Every checksum of the project. Synchronous after module load (the WASM modules are compiled once
 * by top-level await). Algorithm ids are stored in files and never change their meaning.
 */
import { createHash } from 'node:crypto';
import type { EntryHasher, EntryType, LogIndex, Term } from '@holdfast/base';
import { ENTRY_SUM_SIZE_BYTES, entryTypeCode, writeU64 } from '@holdfast/base';
import { createCRC32, createXXHash3, createXXHash128 } from 'hash-wasm';

/** Castagnoli polynomial, reflected. */
const CRC32C_POLYNOMIAL = 0x82f63b78;
/** Below this the JavaScript loop beats the call into WASM (53 ns against 193 ns for 64 bytes). */
const CRC32C_WASM_SIZE_BYTES_MIN = 192;

const [crcHasher, xxh3Hasher, xxh128Hasher] = await Promise.all([
  createCRC32(CRC32C_POLYNOMIAL),
  createXXHash3(),
  createXXHash128(),
]);

export type ChecksumAlgorithm = 'crc32c' | 'xxhash3' | 'sha256';

export interface ChecksumAlgorithmFacts {
  /** Stored in files. */
  readonly id: number;
  readonly sizeBytes: number;
  readonly compute: (chunks: readonly Uint8Array[]) => Uint8Array;
}

/** Closed list; a file with another id was written by a newer version. */
export const checksumAlgorithms = {
  crc32c: { id: 1, sizeBytes: 4, compute: crc32cBytes },
  xxhash3: { id: 2, sizeBytes: 8, compute: xxh3_64 },
  sha256: { id: 3, sizeBytes: 32, compute: sha256 },
} as const satisfies Record<ChecksumAlgorithm, ChecksumAlgorithmFacts>;

export function checksumAlgorithmById(id: number): ChecksumAlgorithm | undefined {
  const names = Object.keys(checksumAlgorithms) as ChecksumAlgorithm[];
  return names.find((name) => checksumAlgorithms[name].id === id);
}

/** CRC-32C of `bytes` as an unsigned number; `123456789` gives 0xe3069283. */
export function crc32c(bytes: Uint8Array): number {
  if (bytes.byteLength < CRC32C_WASM_SIZE_BYTES_MIN) return crc32cSmall(bytes, 0);
  return crc32cOfChunks([bytes]);
}

/** CRC-32C of the concatenation of `chunks`. */
export function crc32cOfChunks(chunks: readonly Uint8Array[]): number {
  crcHasher.init();
  for (const chunk of chunks) crcHasher.update(chunk);
  return Number.parseInt(crcHasher.digest('hex'), 16);
}

/** 8 bytes, of the concatenation of `chunks`. */
export function xxh3_64(chunks: readonly Uint8Array[]): Uint8Array {
  xxh3Hasher.init();
  for (const chunk of chunks) xxh3Hasher.update(chunk);
  return xxh3Hasher.digest('binary').slice();
}

/** 16 bytes, of the concatenation of `chunks`. */
export function xxh128(chunks: readonly Uint8Array[]): Uint8Array {
  xxh128Hasher.init();
  for (const chunk of chunks) xxh128Hasher.update(chunk);
  // A copy of its own: the module promises not to hand out its memory.
  return xxh128Hasher.digest('binary');
}

/** 32 bytes, of the concatenation of `chunks`. */
export function sha256(chunks: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha256');
  for (const chunk of chunks) hash.update(chunk);
  return new Uint8Array(hash.digest());
}

/** A running whole-file digest (sha256): lower-case hex out. */
export interface StreamDigest {
  update(chunk: Uint8Array): void;
  finishHex(): string;
}

export function createStreamDigest(): StreamDigest {
  const hash = createHash('sha256');
  return {
    update(chunk) {
      hash.update(chunk);
    },
    finishHex: () => hash.digest('hex'),
  };
}

export const toHex = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');

export const fromHex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));

/** Id of the entry chain hash, stored in WAL file headers: xxh128 over the layout below. */
export const ENTRY_HASH_ALGORITHM_ID = 1;
/** Up to here copying the data behind the header is cheaper than a second call into WASM. */
const ENTRY_HASH_COPIED_SIZE_BYTES_MAX = 1_024;
const ENTRY_HASH_HEADER_SIZE_BYTES = ENTRY_SUM_SIZE_BYTES + 8 + 8 + 1;

/**
 * The chain hash of the log: xxh128(previousSum, term u64, index u64, type u8, data), 16 bytes.
 * Not cryptographic: it finds broken disks and bugs, not forgers.
 */
export function createEntryHasher(): EntryHasher {
  const scratch = new Uint8Array(ENTRY_HASH_HEADER_SIZE_BYTES + ENTRY_HASH_COPIED_SIZE_BYTES_MAX);
  const header = scratch.subarray(0, ENTRY_HASH_HEADER_SIZE_BYTES);
  const view = new DataView(header.buffer);
  return (
    previousSum: Uint8Array,
    term: Term,
    index: LogIndex,
    type: EntryType,
    data: Uint8Array,
  ) => {
    header.set(previousSum, 0);
    writeU64(view, ENTRY_SUM_SIZE_BYTES, term);
    writeU64(view, ENTRY_SUM_SIZE_BYTES + 8, index);
    header[ENTRY_SUM_SIZE_BYTES + 16] = entryTypeCode(type);
    if (data.byteLength > ENTRY_HASH_COPIED_SIZE_BYTES_MAX) return xxh128([header, data]);
    scratch.set(data, ENTRY_HASH_HEADER_SIZE_BYTES);
    xxh128Hasher.init();
    xxh128Hasher.update(scratch.subarray(0, ENTRY_HASH_HEADER_SIZE_BYTES + data.byteLength));
    return xxh128Hasher.digest('binary');
  };
}

function crc32cBytes(chunks: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, crc32cOfChunks(chunks), true);
  return bytes;
}

const SLICES = 8;
const TABLE = makeTable();

/** Eight tables of 256 words: table k advances a byte through k more zero bytes. */
function makeTable(): Uint32Array {
  const table = new Uint32Array(256 * SLICES);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) {
      crc = (crc & 1) === 1 ? (crc >>> 1) ^ CRC32C_POLYNOMIAL : crc >>> 1;
    }
    table[byte] = crc >>> 0;
  }
  for (let slice = 1; slice < SLICES; slice++) {
    for (let byte = 0; byte < 256; byte++) {
      const previous = table[(slice - 1) * 256 + byte]!;
      table[slice * 256 + byte] = (table[previous & 0xff]! ^ (previous >>> 8)) >>> 0;
    }
  }
  return table;
}

/** Slice-by-8 in JavaScript; `previous` continues an earlier call. */
function crc32cSmall(bytes: Uint8Array, previous: number): number {
  let crc = ~previous;
  let i = 0;
  const length = bytes.byteLength;
  for (; i + 8 <= length; i += 8) {
    crc ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    crc =
      TABLE[1792 + (crc & 0xff)]! ^
      TABLE[1536 + ((crc >>> 8) & 0xff)]! ^
      TABLE[1280 + ((crc >>> 16) & 0xff)]! ^
      TABLE[1024 + (crc >>> 24)]! ^
      TABLE[768 + bytes[i + 4]!]! ^
      TABLE[512 + bytes[i + 5]!]! ^
      TABLE[256 + bytes[i + 6]!]! ^
      TABLE[bytes[i + 7]!]!;
  }
  for (; i < length; i++) crc = TABLE[(crc ^ bytes[i]!) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}
