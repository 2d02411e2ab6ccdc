/**
 * One piece of the committed log in the archive: a header and the entries in the byte form that
 * disk and peers have. Everything is checked again when it is read, so that a changed, missing,
 * swapped or added entry is named by its index, whoever made the change.
 */
import type { ClusterId, Entry, EntryHasher } from '@holdfast/base';
import { assert, decodeEntry, encodeEntry, entrySizeBytes, sumsEqual } from '@holdfast/base';
import { sha256 } from '../checksum.ts';
import type { ChainPoint } from './chain-point.ts';
import { archiveCorrupt } from './chain-point.ts';
import type { LogChunkHeader } from './log-chunk-header.ts';
import {
  decodeLogChunkHeader,
  encodeLogChunkHeader,
  LOG_CHUNK_HASH_OFFSET,
  LOG_CHUNK_HEADER_SIZE_BYTES,
} from './log-chunk-header.ts';

/** The leader's time stamp of an entry; null when it has none (no-ops, configurations). */
export type EntryTimestamp = (entry: Entry) => number | null;

export interface LogChunk {
  readonly kind: 'chunk';
  readonly header: LogChunkHeader;
  /** Views of the bytes that were decoded. */
  readonly entries: readonly Entry[];
}

export interface NewLogChunk {
  readonly clusterId: ClusterId;
  readonly timeline: string;
  /** Where the object before ends. */
  readonly before: ChainPoint;
  /** At least one; they continue from `before` without a hole. */
  readonly entries: readonly Entry[];
  readonly timestampOf: EntryTimestamp;
}

export interface LogChunkChecks {
  /** Of the object: errors name it, and the number at its end is the first index. */
  readonly key: string;
  readonly firstIndex: number;
  readonly clusterId: string;
  readonly timeline: string;
  readonly hasher: EntryHasher;
  readonly timestampOf: EntryTimestamp;
}

/** Where the chain stands after a chunk. */
export const endOfChunk = ({ header }: { readonly header: LogChunkHeader }): ChainPoint => ({
  index: header.lastIndex,
  term: header.lastTerm,
  sum: header.lastSum,
  hash: header.hash,
  timestampMs: header.lastTimestampMs,
});

/** The bytes of a chunk and its header. Entries that do not continue `before` are a bug. */
export function encodeLogChunk(chunk: NewLogChunk): { bytes: Uint8Array; header: LogChunkHeader } {
  const { before, entries, timestampOf } = chunk;
  const first = entries[0];
  const last = entries.at(-1);
  assert(first !== undefined && last !== undefined, 'a chunk has entries');
  const sizeBytes = entries.reduce((size, entry) => size + entrySizeBytes(entry), 0);
  const bytes = new Uint8Array(LOG_CHUNK_HEADER_SIZE_BYTES + sizeBytes);
  let offset = LOG_CHUNK_HEADER_SIZE_BYTES;
  let timestampMs = before.timestampMs;
  for (const [i, entry] of entries.entries()) {
    assert(entry.index === before.index + 1 + i, 'entries of a chunk continue', {
      index: entry.index,
      before: before.index,
    });
    offset = encodeEntry(entry, bytes, offset);
    timestampMs = logTimeMs(timestampMs, timestampOf(entry));
  }
  const fields = {
    clusterId: chunk.clusterId,
    timeline: chunk.timeline,
    entryCount: entries.length,
    sizeBytes,
    firstIndex: first.index,
    lastIndex: last.index,
    termBefore: before.term,
    firstTerm: first.term,
    lastTerm: last.term,
    timestampBeforeMs: before.timestampMs,
    firstTimestampMs: logTimeMs(before.timestampMs, timestampOf(first)),
    lastTimestampMs: timestampMs,
    sumBefore: before.sum,
    lastSum: last.sum,
    hashBefore: before.hash,
  };
  encodeLogChunkHeader(fields, bytes);
  const hash = hashOf(bytes);
  bytes.set(hash, LOG_CHUNK_HASH_OFFSET);
  return { bytes, header: { ...fields, hash } };
}

/**
 * The chunk, every byte of it verified. Whether it continues the object before, checkFollows says.
 * @throws HoldfastError BACKUP_CORRUPT naming the key and the first index that is wrong,
 *   FORMAT_UNKNOWN
 */
export function decodeLogChunk(bytes: Uint8Array, checks: LogChunkChecks): LogChunk {
  const { key, firstIndex } = checks;
  const header = decodeLogChunkHeader(bytes, key, firstIndex);
  const refuse = (what: string) => archiveCorrupt(key, firstIndex, what);
  if (header.firstIndex !== firstIndex) throw refuse(`it begins at index ${header.firstIndex}`);
  if (header.clusterId !== checks.clusterId) throw refuse('it belongs to another cluster');
  if (header.timeline !== checks.timeline) throw refuse('it belongs to another timeline');
  const entries = decodeEntries(bytes, header, checks);
  checkTimes(entries, header, checks);
  if (!sumsEqual(hashOf(bytes), header.hash)) throw refuse('its hash does not fit');
  return { kind: 'chunk', header, entries };
}

function decodeEntries(
  bytes: Uint8Array,
  header: LogChunkHeader,
  { hasher, key }: LogChunkChecks,
): readonly Entry[] {
  const entries: Entry[] = [];
  let offset = LOG_CHUNK_HEADER_SIZE_BYTES;
  let previous = { term: header.termBefore, sum: header.sumBefore };
  let expected: number = header.firstIndex;
  while (offset < bytes.byteLength) {
    const { entry, end } = decodeOne(bytes, offset, key, expected);
    const { data, index, sum, term, type } = entry;
    const refuse = (what: string) => archiveCorrupt(key, expected, what);
    if (index !== expected) throw refuse(`entry ${index} is in its place`);
    if (index > header.lastIndex) throw refuse('there is an entry too many');
    if (term < previous.term) throw refuse('its term goes back');
    if (!sumsEqual(hasher(previous.sum, term, index, type, data), sum)) {
      throw refuse('its chain sum does not fit');
    }
    entries.push(entry);
    previous = entry;
    expected += 1;
    offset = end;
  }
  if (expected !== header.lastIndex + 1) throw archiveCorrupt(key, expected, 'it is missing');
  const isHeaderRight =
    header.entryCount === entries.length &&
    header.sizeBytes === bytes.byteLength - LOG_CHUNK_HEADER_SIZE_BYTES &&
    header.firstTerm === entries[0]?.term &&
    header.lastTerm === previous.term &&
    sumsEqual(header.lastSum, previous.sum);
  if (!isHeaderRight) {
    throw archiveCorrupt(key, header.firstIndex, 'its header does not fit to its entries');
  }
  return entries;
}

function decodeOne(bytes: Uint8Array, offset: number, key: string, index: number) {
  try {
    return decodeEntry(bytes, offset);
  } catch (cause) {
    throw archiveCorrupt(key, index, 'it is no entry', cause);
  }
}

function checkTimes(
  entries: readonly Entry[],
  header: LogChunkHeader,
  { key, timestampOf }: LogChunkChecks,
): void {
  let timestampMs = header.timestampBeforeMs;
  for (const [i, entry] of entries.entries()) {
    timestampMs = logTimeMs(timestampMs, timestampOf(entry));
    if (i === 0 && timestampMs !== header.firstTimestampMs) {
      throw archiveCorrupt(key, entry.index, 'its time stamp is not that of the header');
    }
  }
  if (timestampMs !== header.lastTimestampMs) {
    throw archiveCorrupt(key, header.lastIndex, 'its time stamp is not that of the header');
  }
}

/** Log time after an entry: it never goes back, and an entry without a stamp leaves it. */
export function logTimeMs(beforeMs: number, stampMs: number | null): number {
  if (stampMs === null || !Number.isSafeInteger(stampMs)) return beforeMs;
  return Math.max(beforeMs, stampMs);
}

const hashOf = (bytes: Uint8Array): Uint8Array =>
  sha256([bytes.subarray(0, LOG_CHUNK_HASH_OFFSET), bytes.subarray(LOG_CHUNK_HEADER_SIZE_BYTES)]);
