/**
 * The 256 bytes at the start of a log chunk; docs/DATA-FORMAT.md has the table. All of it is under
 * the hash of the chunk. Little-endian; what is reserved is zero.
 */
import type { ClusterId, LogIndex, Term } from '@holdfast/base';
import {
  assert,
  clusterId,
  ENTRY_SUM_SIZE_BYTES,
  HoldfastError,
  logIndex,
  readU64,
  term,
  writeU64,
} from '@holdfast/base';
import { fromHex, toHex } from '../checksum.ts';
import { isTimelineName } from './archive-names.ts';
import { ARCHIVE_HASH_SIZE_BYTES, archiveCorrupt } from './chain-point.ts';

export const LOG_CHUNK_HEADER_SIZE_BYTES = 256;
/** The hash covers everything but itself. */
export const LOG_CHUNK_HASH_OFFSET = 224;
/**
 * A chunk is cut at a few MiB; only a single entry may make it longer, and one has at most 16 MiB.
 */
export const LOG_CHUNK_SIZE_BYTES_MAX = 32 * 1024 * 1024;
const MAGIC = 'HFLC';
const VERSION = 1;
const TIMELINE_LENGTH_MAX = 40;
const CLUSTER_ID_OFFSET = 16;
const CLUSTER_ID_SIZE_BYTES = 16;
const TIMELINE_OFFSET = 32;
const NUMBERS_OFFSET = 80;
const SUM_BEFORE_OFFSET = 144;
const LAST_SUM_OFFSET = 160;
const RESERVED_OFFSET = 176;
const HASH_BEFORE_OFFSET = 192;

/** What a chunk says of itself. Log time of an entry: the greatest stamp up to and with it. */
export interface LogChunkHeader {
  readonly clusterId: ClusterId;
  readonly timeline: string;
  readonly entryCount: number;
  /** Of the encoded entries. */
  readonly sizeBytes: number;
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
  /** Of the entry before the first. */
  readonly termBefore: Term;
  readonly firstTerm: Term;
  readonly lastTerm: Term;
  readonly timestampBeforeMs: number;
  readonly firstTimestampMs: number;
  readonly lastTimestampMs: number;
  readonly sumBefore: Uint8Array;
  readonly lastSum: Uint8Array;
  /** Of the object before; of the timeline object for the first one. */
  readonly hashBefore: Uint8Array;
  readonly hash: Uint8Array;
}

/** Writes everything but the hash, which needs the entries. */
export function encodeLogChunkHeader(
  header: Omit<LogChunkHeader, 'hash'>,
  target: Uint8Array,
): void {
  assert(isTimelineName(header.timeline), 'a chunk belongs to a timeline', {
    timeline: header.timeline,
  });
  const view = new DataView(target.buffer, target.byteOffset, target.byteLength);
  target.set(Buffer.from(MAGIC, 'ascii'), 0);
  view.setUint16(4, VERSION, true);
  view.setUint16(6, LOG_CHUNK_HEADER_SIZE_BYTES, true);
  view.setUint32(8, header.entryCount, true);
  view.setUint32(12, header.sizeBytes, true);
  target.set(fromHex(header.clusterId), CLUSTER_ID_OFFSET);
  target[TIMELINE_OFFSET] = header.timeline.length;
  target.set(Buffer.from(header.timeline, 'ascii'), TIMELINE_OFFSET + 1);
  const numbers = numbersOf(header);
  numbers.forEach((value, i) => {
    writeU64(view, NUMBERS_OFFSET + 8 * i, value);
  });
  target.set(header.sumBefore, SUM_BEFORE_OFFSET);
  target.set(header.lastSum, LAST_SUM_OFFSET);
  target.set(header.hashBefore, HASH_BEFORE_OFFSET);
}

const numbersOf = (header: Omit<LogChunkHeader, 'hash'>): readonly number[] => [
  header.firstIndex,
  header.lastIndex,
  header.termBefore,
  header.firstTerm,
  header.lastTerm,
  header.timestampBeforeMs,
  header.firstTimestampMs,
  header.lastTimestampMs,
];

/**
 * The header as it is written, if it is well formed; whether it fits to the entries and the hash,
 * decodeLogChunk finds out. `expectedIndex` is the number in the key.
 * @throws HoldfastError BACKUP_CORRUPT, FORMAT_UNKNOWN (a newer version wrote it)
 */
export function decodeLogChunkHeader(
  bytes: Uint8Array,
  key: string,
  expectedIndex: number,
): LogChunkHeader {
  const refuse = (what: string): HoldfastError => archiveCorrupt(key, expectedIndex, what);
  if (bytes.byteLength < LOG_CHUNK_HEADER_SIZE_BYTES) throw refuse('its header is cut');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (asciiAt(bytes, 0, MAGIC.length) !== MAGIC) throw refuse('it is no chunk of the log');
  const version = view.getUint16(4, true);
  if (version !== VERSION) throw unknownVersion(key, version);
  if (view.getUint16(6, true) !== LOG_CHUNK_HEADER_SIZE_BYTES) throw refuse('its header is odd');
  const timelineLength = Math.min(bytes[TIMELINE_OFFSET] ?? 0, TIMELINE_LENGTH_MAX);
  const timeline = asciiAt(bytes, TIMELINE_OFFSET + 1, timelineLength);
  if (!isTimelineName(timeline)) throw refuse('it names no timeline');
  const sum = (offset: number): Uint8Array => bytes.slice(offset, offset + ENTRY_SUM_SIZE_BYTES);
  const hash = (offset: number): Uint8Array =>
    bytes.slice(offset, offset + ARCHIVE_HASH_SIZE_BYTES);
  if (bytes.subarray(RESERVED_OFFSET, HASH_BEFORE_OFFSET).some((byte) => byte !== 0)) {
    throw refuse('reserved bytes are not zero');
  }
  const numbers = readNumbers(view, refuse);
  return {
    clusterId: clusterId(
      toHex(bytes.subarray(CLUSTER_ID_OFFSET, CLUSTER_ID_OFFSET + CLUSTER_ID_SIZE_BYTES)),
    ),
    timeline,
    entryCount: view.getUint32(8, true),
    sizeBytes: view.getUint32(12, true),
    ...numbers,
    sumBefore: sum(SUM_BEFORE_OFFSET),
    lastSum: sum(LAST_SUM_OFFSET),
    hashBefore: hash(HASH_BEFORE_OFFSET),
    hash: hash(LOG_CHUNK_HASH_OFFSET),
  };
}

function readNumbers(view: DataView, refuse: (what: string) => HoldfastError) {
  const number = (i: number): number => {
    try {
      return readU64(view, NUMBERS_OFFSET + 8 * i);
    } catch {
      throw refuse('a number of its header is out of range');
    }
  };
  return {
    firstIndex: logIndex(number(0)),
    lastIndex: logIndex(number(1)),
    termBefore: term(number(2)),
    firstTerm: term(number(3)),
    lastTerm: term(number(4)),
    timestampBeforeMs: number(5),
    firstTimestampMs: number(6),
    lastTimestampMs: number(7),
  };
}

const asciiAt = (bytes: Uint8Array, offset: number, length: number): string =>
  Buffer.from(bytes.subarray(offset, offset + length)).toString('latin1');

export const unknownVersion = (key: string, version: number): HoldfastError =>
  new HoldfastError('FORMAT_UNKNOWN', `${key} has the unknown version ${version}: upgrade`, {
    details: { key, version },
  });
