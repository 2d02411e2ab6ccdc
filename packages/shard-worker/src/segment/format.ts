/**
 * Bytes of one row, the same in segments, growing files and the digest. Little-endian:
 *
 *   record:    magic 'HFRR'   u16 version   u16 flags (0)   u32 record size (padded to 8)
 *              u32 zero   16 bytes hash   canonical row   zeros up to the record size
 *   canonical: u8 id kind   u8 zero   u16 flags (bit 0: has payload)   u32 dimension   16 bytes id
 *              u64 sequence number   f64 timestamp in ms   u32 payload size   u32 zero
 *              vector f32s   payload
 *
 * The hash is xxh128 of the canonical row: one sum covers id, sequence number, timestamp, vector
 * and payload, checks the record when it is read back, and is the row's term of the shard digest.
 * The sequence number is the log index of the write (clients call it the version), the timestamp is
 * that entry's log time. The flags of a record say how its bytes are stored (1 compressed, 2
 * encrypted): this version writes neither and refuses both.
 *
 * A file's payload (inside the checksummed blocks) is a 40-byte header and then records in row
 * order: magic, format version, flags, collection uid, shard, dimension, row count, u64 zero.
 * Every byte is accounted for: reserved ones and padding must be zero.
 */
import { HoldfastError, readU64, writeU64 } from '@holdfast/base';
import { hashRowBytes, ROW_HASH_SIZE_BYTES } from '../engine/digest.ts';
import type { RowStore } from '../engine/row-store.ts';

export const ROWS_FORMAT_VERSION = 2;
export const ROWS_HEADER_SIZE_BYTES = 40;
export const RECORD_PREFIX_SIZE_BYTES = 32;
export const CANONICAL_HEADER_SIZE_BYTES = 48;
/** 'HFRW' little-endian. */
const ROWS_MAGIC = 0x57524648;
/** 'HFRR' little-endian. */
const RECORD_MAGIC = 0x52524648;
const FLAG_HAS_PAYLOAD = 1;
/** Of sequence number and timestamp in a canonical row. */
const WRITTEN_OFFSET_BYTES = 24;
const WRITTEN_END_BYTES = 40;
/** Of the hash in a record. */
const HASH_OFFSET_BYTES = 16;

export interface RowsFileHeader {
  readonly uid: number;
  readonly shard: number;
  readonly dimension: number;
  readonly rowCount: number;
}

export const recordSizeBytes = (dimension: number, payloadSizeBytes: number): number =>
  (RECORD_PREFIX_SIZE_BYTES + CANONICAL_HEADER_SIZE_BYTES + dimension * 4 + payloadSizeBytes + 7) &
  ~7;

export function encodeRowsHeader(header: RowsFileHeader): Uint8Array {
  const bytes = new Uint8Array(ROWS_HEADER_SIZE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, ROWS_MAGIC, true);
  view.setUint16(4, ROWS_FORMAT_VERSION, true);
  writeU64(view, 8, header.uid);
  view.setUint32(16, header.shard, true);
  view.setUint32(20, header.dimension, true);
  writeU64(view, 24, header.rowCount);
  return bytes;
}

/** @throws HoldfastError SEGMENT_CORRUPT, or FORMAT_UNKNOWN for a newer version */
export function decodeRowsHeader(bytes: Uint8Array, path: string): RowsFileHeader {
  if (bytes.byteLength < ROWS_HEADER_SIZE_BYTES) throw segmentCorrupt(path, 0, 'header is cut');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== ROWS_MAGIC) throw segmentCorrupt(path, 0, 'not a rows file');
  const version = view.getUint16(4, true);
  if (version !== ROWS_FORMAT_VERSION) throw unknownRowsFormat(path, version);
  if (view.getUint16(6, true) !== 0) throw unknownRowsFlags(path, view.getUint16(6, true));
  if (view.getUint32(32, true) !== 0 || view.getUint32(36, true) !== 0)
    throw segmentCorrupt(path, 32, 'reserved bytes are not zero');
  return {
    uid: readU64(view, 8),
    shard: view.getUint32(16, true),
    dimension: view.getUint32(20, true),
    rowCount: readU64(view, 24),
  };
}

function unknownRowsFormat(path: string, version: number): HoldfastError {
  const advice =
    version === 1
      ? 'format 1 was never released: start this node with an empty data directory'
      : 'upgrade this node';
  return new HoldfastError(
    'FORMAT_UNKNOWN',
    `${path} has rows format ${version}, this node knows ${ROWS_FORMAT_VERSION}; ${advice}.`,
    { details: { path, version } },
  );
}

function unknownRowsFlags(path: string, flags: number): HoldfastError {
  return new HoldfastError(
    'FORMAT_UNKNOWN',
    `${path} has rows with the storage flags ${flags} (1 compressed, 2 encrypted), this node ` +
      'knows none; upgrade it.',
    { details: { path, flags } },
  );
}

export function segmentCorrupt(path: string, offset: number, what: string): HoldfastError {
  return new HoldfastError(
    'SEGMENT_CORRUPT',
    `${path} is damaged at byte ${offset} of its content: ${what}. It is not served; ` +
      'restore this node from a healthy replica.',
    { details: { path, offset, what } },
  );
}

/** Encodes rows into one reused buffer: what `encode` returns is valid until the next call. */
export class RowEncoder {
  #bytes = new Uint8Array(1024);
  #view = new DataView(this.#bytes.buffer);

  /** The canonical bytes of a row of `rows`. */
  canonical(rows: RowStore, row: number): Uint8Array {
    const sizeBytes = this.#write(rows, row);
    return this.#bytes.subarray(RECORD_PREFIX_SIZE_BYTES, RECORD_PREFIX_SIZE_BYTES + sizeBytes);
  }

  hash(rows: RowStore, row: number): Uint8Array {
    return hashRowBytes(this.canonical(rows, row));
  }

  /**
   * Of id, vector and payload alone: the hash of the canonical row with zeros for sequence number
   * and timestamp. Equal for equal points, whenever and in whichever cluster they were written.
   */
  contentHash(rows: RowStore, row: number): Uint8Array {
    const canonical = this.canonical(rows, row);
    canonical.fill(0, WRITTEN_OFFSET_BYTES, WRITTEN_END_BYTES);
    return hashRowBytes(canonical);
  }

  /** The whole record with its hash, padded. */
  record(rows: RowStore, row: number): Uint8Array {
    const canonical = this.canonical(rows, row);
    const sizeBytes = recordSizeBytes(rows.vectors.dimension, rows.payloadSizeBytes(row));
    const end = RECORD_PREFIX_SIZE_BYTES + canonical.byteLength;
    this.#view.setUint32(0, RECORD_MAGIC, true);
    this.#view.setUint16(4, ROWS_FORMAT_VERSION, true);
    this.#view.setUint16(6, 0, true);
    this.#view.setUint32(8, sizeBytes, true);
    this.#view.setUint32(12, 0, true);
    this.#bytes.set(hashRowBytes(canonical), HASH_OFFSET_BYTES);
    this.#bytes.fill(0, end, sizeBytes);
    return this.#bytes.subarray(0, sizeBytes);
  }

  #write(rows: RowStore, row: number): number {
    const vector = rows.vectors.vectorBytes(row);
    const payload = rows.payload(row);
    const payloadSizeBytes = payload?.byteLength ?? 0;
    this.#ensure(recordSizeBytes(rows.vectors.dimension, payloadSizeBytes));
    const start = RECORD_PREFIX_SIZE_BYTES;
    const bytes = this.#bytes;
    const view = this.#view;
    bytes[start] = rows.idKind(row);
    bytes[start + 1] = 0;
    view.setUint16(start + 2, payload === null ? 0 : FLAG_HAS_PAYLOAD, true);
    view.setUint32(start + 4, rows.vectors.dimension, true);
    bytes.set(rows.idBytes(row), start + 8);
    writeU64(view, start + 24, rows.version(row));
    view.setFloat64(start + 32, rows.timestampMs(row), true);
    view.setUint32(start + 40, payloadSizeBytes, true);
    view.setUint32(start + 44, 0, true);
    const vectorAt = start + CANONICAL_HEADER_SIZE_BYTES;
    bytes.set(vector, vectorAt);
    if (payload !== null) bytes.set(payload, vectorAt + vector.byteLength);
    return CANONICAL_HEADER_SIZE_BYTES + vector.byteLength + payloadSizeBytes;
  }

  #ensure(sizeBytes: number): void {
    if (sizeBytes <= this.#bytes.byteLength) return;
    this.#bytes = new Uint8Array(sizeBytes * 2);
    this.#view = new DataView(this.#bytes.buffer);
  }
}

/** One record as found in a file: offsets are into `bytes`. */
export interface RecordFacts {
  readonly recordSizeBytes: number;
  readonly version: number;
  readonly timestampMs: number;
  readonly idKind: number;
  readonly idOffset: number;
  readonly vectorOffset: number;
  readonly payloadOffset: number;
  readonly payloadSizeBytes: number;
  readonly hasPayload: boolean;
  readonly hash: Uint8Array;
}

export interface RecordPlace {
  readonly path: string;
  /** Position of `bytes[0]` in the file's content, for error texts. */
  readonly contentOffset: number;
  readonly dimension: number;
}

/**
 * Reads and verifies the record at `offset`, or answers null when `bytes` end before it does.
 * @throws HoldfastError SEGMENT_CORRUPT
 */
export function decodeRecord(
  bytes: Uint8Array,
  view: DataView,
  offset: number,
  place: RecordPlace,
): RecordFacts | null {
  const fail = (what: string) => segmentCorrupt(place.path, place.contentOffset + offset, what);
  const headerEnd = offset + RECORD_PREFIX_SIZE_BYTES + CANONICAL_HEADER_SIZE_BYTES;
  if (headerEnd > bytes.byteLength) return null;
  const start = offset + RECORD_PREFIX_SIZE_BYTES;
  const payloadSizeBytes = view.getUint32(start + 40, true);
  const sizeBytes = view.getUint32(offset + 8, true);
  if (view.getUint32(offset, true) !== RECORD_MAGIC) throw fail('no record starts here');
  const version = view.getUint16(offset + 4, true);
  if (version !== ROWS_FORMAT_VERSION) throw unknownRowsFormat(place.path, version);
  const flags = view.getUint16(offset + 6, true);
  if (flags !== 0) throw unknownRowsFlags(place.path, flags);
  if (view.getUint32(offset + 12, true) !== 0) throw fail('reserved bytes are not zero');
  if (view.getUint32(start + 4, true) !== place.dimension) throw fail('wrong dimension');
  if (sizeBytes !== recordSizeBytes(place.dimension, payloadSizeBytes))
    throw fail('sizes disagree');
  if (offset + sizeBytes > bytes.byteLength) return null;
  const vectorOffset = start + CANONICAL_HEADER_SIZE_BYTES;
  const payloadOffset = vectorOffset + place.dimension * 4;
  const stored = bytes.subarray(
    offset + HASH_OFFSET_BYTES,
    offset + HASH_OFFSET_BYTES + ROW_HASH_SIZE_BYTES,
  );
  const end = payloadOffset + payloadSizeBytes;
  const hash = hashRowBytes(bytes.subarray(start, end));
  for (let i = 0; i < ROW_HASH_SIZE_BYTES; i++)
    if (hash[i] !== stored[i]) throw fail('row checksum does not match');
  for (let i = end; i < offset + sizeBytes; i++)
    if (bytes[i] !== 0) throw fail('padding is not zero');
  return {
    recordSizeBytes: sizeBytes,
    version: readU64(view, start + 24),
    timestampMs: view.getFloat64(start + 32, true),
    idKind: bytes[start]!,
    idOffset: start + 8,
    vectorOffset,
    payloadOffset,
    payloadSizeBytes,
    hasPayload: (view.getUint16(start + 2, true) & FLAG_HAS_PAYLOAD) !== 0,
    hash,
  };
}
