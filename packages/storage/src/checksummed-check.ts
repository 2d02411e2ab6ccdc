/**
 * Checks of large block files in steps, for callers that must not block their thread: each step
 * reads about a megabyte, and the caller decides what happens between two.
 */

import { HoldfastError } from '@holdfast/base';
import { checksumAlgorithms, createStreamDigest } from './checksum.ts';
import type { Header } from './checksummed-layout.ts';
import {
  BLOCK_SIZE_BYTES,
  blockChecksum,
  CHECKSUMMED_FILE_HEADER_SIZE_BYTES,
  fileSizeBytes,
  readHeader,
} from './checksummed-layout.ts';
import type { FileHandle, FileSystem } from './fs.ts';

/** Yields between two steps; returns its value at the end. */
export type Steps<Value> = Generator<undefined, Value, undefined>;

/** Hashing this much takes about a millisecond. */
const BLOCKS_PER_STEP = 16;

/**
 * Recomputes `ChecksummedFileFacts.checksum` from the bytes of the file as they are.
 * @throws HoldfastError FILE_IO
 */
export function* digestSteps(fileSystem: FileSystem, path: string): Steps<string> {
  const handle = fileSystem.open(path, 'read');
  try {
    const digest = createStreamDigest();
    const size = handle.sizeBytes();
    // Most files are small.
    const buffer = new Uint8Array(Math.min(BLOCKS_PER_STEP * BLOCK_SIZE_BYTES, size));
    for (let at = CHECKSUMMED_FILE_HEADER_SIZE_BYTES; at < size; at += buffer.byteLength) {
      digest.update(buffer.subarray(0, handle.read(buffer, at)));
      yield;
    }
    const header = new Uint8Array(CHECKSUMMED_FILE_HEADER_SIZE_BYTES);
    digest.update(header.subarray(0, handle.read(header, 0)));
    return digest.finishHex();
  } finally {
    handle.close();
  }
}

/**
 * How many bytes from the start of an unfinished copy of a block file can be relied on: the header
 * and every whole block that passes its checksum, up to the first that does not. 0 when not even
 * the header does. The whole file still needs its digest checked: a block of another file would
 * pass here.
 * @throws HoldfastError FILE_IO
 */
export function* soundPrefixSteps(fileSystem: FileSystem, path: string): Steps<number> {
  const handle = fileSystem.open(path, 'read');
  try {
    const header = headerOrNull(handle);
    if (header === null) return 0;
    const facts = checksumAlgorithms[header.algorithm];
    const recordSizeBytes = BLOCK_SIZE_BYTES + facts.sizeBytes;
    const endBytes = fileSizeBytes(header.payloadSizeBytes, facts.sizeBytes);
    let soundBytes = CHECKSUMMED_FILE_HEADER_SIZE_BYTES;
    for (let block = 0; soundBytes < endBytes; block++) {
      const record = new Uint8Array(Math.min(recordSizeBytes, endBytes - soundBytes));
      if (handle.read(record, soundBytes) !== record.byteLength) break;
      const bytes = record.subarray(0, record.byteLength - facts.sizeBytes);
      const stored = record.subarray(bytes.byteLength);
      if (Buffer.compare(blockChecksum(facts, bytes, block), stored) !== 0) break;
      soundBytes += record.byteLength;
      if (block % BLOCKS_PER_STEP === BLOCKS_PER_STEP - 1) yield;
    }
    return soundBytes;
  } finally {
    handle.close();
  }
}

function headerOrNull(handle: FileHandle): Header | null {
  try {
    return readHeader(handle, 'meta');
  } catch (error) {
    const isUnreadable =
      error instanceof HoldfastError &&
      (error.code === 'FILE_CORRUPT' || error.code === 'FORMAT_UNKNOWN');
    if (!isUnreadable) throw error;
    return null;
  }
}
