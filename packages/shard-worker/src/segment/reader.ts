/**
 * Reads a rows file front to back in windows of bounded size. Every block and every row checksum is
 * verified before a row is handed out.
 */
import { copyBytes } from '@holdfast/base';
import type { FileSystem } from '@holdfast/storage';
import { ChecksummedFileReader, joinPath, toHex } from '@holdfast/storage';
import type { PointId } from '../model.ts';
import { readPointId } from '../point-id.ts';
import type { RecordFacts, RowsFileHeader } from './format.ts';
import {
  decodeRecord,
  decodeRowsHeader,
  ROWS_HEADER_SIZE_BYTES,
  segmentCorrupt,
} from './format.ts';

/** Read at once; grows to the largest record when one is larger. */
const WINDOW_SIZE_BYTES = 1 << 20;

export interface RowsFileExpectation {
  readonly kind: 'segment' | 'growing';
  /** Relative to the data directory. */
  readonly path: string;
  readonly uid: number;
  readonly shard: number;
  readonly dimension: number;
  readonly rowCount: number;
}

export interface ReadRecord {
  readonly position: number;
  readonly bytes: Uint8Array;
  /** Of `bytes`. */
  readonly view: DataView;
  readonly facts: RecordFacts;
}

/**
 * Calls `visit` for each record in order; the bytes are valid during the call only.
 * @throws HoldfastError SEGMENT_CORRUPT, FORMAT_UNKNOWN, FILE_IO
 */
export function readRowsFile(
  fs: FileSystem,
  dataDirectory: string,
  expected: RowsFileExpectation,
  visit: (record: ReadRecord) => void,
): void {
  const path = joinPath(dataDirectory, expected.path);
  const reader = ChecksummedFileReader.open(fs, path, expected.kind);
  try {
    const header = readHeader(reader, path);
    const isExpected =
      header.uid === expected.uid &&
      header.shard === expected.shard &&
      header.dimension === expected.dimension &&
      header.rowCount === expected.rowCount;
    if (!isExpected) throw segmentCorrupt(path, 0, 'it belongs to another shard or checkpoint');
    visitRecords(reader, path, header, visit);
  } finally {
    reader.close();
  }
}

/** What a tool prints of a row. Vector and payload are valid during the visit only. */
export interface RowDescription {
  readonly position: number;
  readonly id: PointId;
  readonly version: number;
  readonly timestampMs: number;
  readonly payloadSizeBytes: number;
  readonly hash: string;
  readonly vector: Float32Array;
  /** Canonical JSON; null when the point has none. */
  readonly payload: Uint8Array | null;
}

/**
 * Describes a segment or growing file on its own, verifying every checksum on the way.
 * @throws HoldfastError SEGMENT_CORRUPT, FILE_CORRUPT, FORMAT_UNKNOWN, FILE_IO
 */
export function describeRowsFile(
  fs: FileSystem,
  path: string,
  visit: (row: RowDescription) => void,
): RowsFileHeader {
  const reader = ChecksummedFileReader.openAny(fs, path);
  try {
    const header = readHeader(reader, path);
    visitRecords(reader, path, header, ({ position, bytes, view, facts }) => {
      visit({
        position,
        id: readPointId(view, facts.idOffset, facts.idKind),
        version: facts.version,
        timestampMs: facts.timestampMs,
        payloadSizeBytes: facts.payloadSizeBytes,
        hash: toHex(facts.hash),
        vector: vectorOf(bytes, facts.vectorOffset, header.dimension),
        payload: facts.hasPayload ? payloadOf(bytes, facts) : null,
      });
    });
    return header;
  } finally {
    reader.close();
  }
}

/** A copy: records are aligned in the file, not in memory. */
const vectorOf = (bytes: Uint8Array, offset: number, dimension: number): Float32Array =>
  new Float32Array(copyBytes(bytes, offset, offset + dimension * 4).buffer);

const payloadOf = (bytes: Uint8Array, facts: RecordFacts): Uint8Array =>
  bytes.subarray(facts.payloadOffset, facts.payloadOffset + facts.payloadSizeBytes);

function visitRecords(
  reader: ChecksummedFileReader,
  path: string,
  header: RowsFileHeader,
  visit: (record: ReadRecord) => void,
): void {
  let offset = ROWS_HEADER_SIZE_BYTES;
  let position = 0;
  let windowSizeBytes = WINDOW_SIZE_BYTES;
  while (offset < reader.payloadSizeBytes) {
    const sizeBytes = Math.min(windowSizeBytes, reader.payloadSizeBytes - offset);
    const bytes = reader.read(offset, sizeBytes);
    const place = { path, contentOffset: offset, dimension: header.dimension };
    const window = visitWindow(bytes, position, place, visit);
    if (window.usedBytes === 0) {
      if (offset + sizeBytes === reader.payloadSizeBytes)
        throw segmentCorrupt(path, offset, 'the last record is cut');
      windowSizeBytes *= 2;
    }
    offset += window.usedBytes;
    position = window.position;
  }
  if (position !== header.rowCount)
    throw segmentCorrupt(path, offset, `${position} rows instead of ${header.rowCount}`);
}

function readHeader(reader: ChecksummedFileReader, path: string): RowsFileHeader {
  const sizeBytes = Math.min(ROWS_HEADER_SIZE_BYTES, reader.payloadSizeBytes);
  return decodeRowsHeader(reader.read(0, sizeBytes), path);
}

function visitWindow(
  bytes: Uint8Array,
  firstPosition: number,
  place: { readonly path: string; readonly contentOffset: number; readonly dimension: number },
  visit: (record: ReadRecord) => void,
): { readonly usedBytes: number; readonly position: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let usedBytes = 0;
  let position = firstPosition;
  for (;;) {
    const facts = decodeRecord(bytes, view, usedBytes, place);
    if (facts === null) return { usedBytes, position };
    visit({ position, bytes, view, facts });
    usedBytes += facts.recordSizeBytes;
    position += 1;
  }
}
