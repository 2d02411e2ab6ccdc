/**
 * Looks at one log file of a running log, without knowing what the writer does just now. Every
 * batch is read as recovery would read it, and what is no batch must be zero.
 *
 * The end of the file that is written to changes under the reader: what is wrong there is believed
 * only when it is still there after a pause (the caller looks twice). A batch that is being written
 * becomes whole; rot stays.
 */
import { HoldfastError } from '@holdfast/base';
import type { FileSystem } from '../fs.ts';
import { isFileIoError } from '../fs.ts';
import type { FileFlaw } from '../scrub-steps.ts';
import { flaw } from '../scrub-steps.ts';
import type { ParsedBatch } from './batch-reader.ts';
import { readBatch } from './batch-reader.ts';
import {
  alignBatch,
  BATCH_ALIGNMENT_BYTES,
  checksumMask,
  decodeFileHeader,
  epochOf,
  FILE_HEADER_SIZE_BYTES,
  FIRST_BATCH_OFFSET,
  parseWalFileName,
  payloadStart,
  walFilePath,
} from './format.ts';

const STEP_SIZE_BYTES = 256 * 1024;

/** A flaw of a log file, and what its repair needs to know. */
export interface WalFlaw extends FileFlaw {
  readonly offset: number;
  readonly fileId: number;
  /** Behind the last byte that is concerned. */
  readonly end: number;
  /**
   * `zeros`: bytes that belong to no batch that can be seen, and should be zero. `batch`: records
   * in [offset, end) may be unreadable. `header`: that of the file. `note`: nothing is missing.
   */
  readonly kind: 'zeros' | 'batch' | 'header' | 'note';
  /** Of a `header`: what the first batch of the file says; 0 when there is none. */
  readonly epoch?: number;
  readonly watermark?: number;
}

export type WalScrubSteps = Generator<number, readonly WalFlaw[], undefined>;

/** Ids of the log files, ascending. @throws HoldfastError FILE_IO */
export function listWalFiles(fileSystem: FileSystem, directory: string): readonly number[] {
  return fileSystem
    .list(directory)
    .map(parseWalFileName)
    .filter((id) => id !== null)
    .sort((left, right) => left - right);
}

export const walFileNameOf = (directory: string, fileId: number): string =>
  walFilePath(directory, fileId);

/** A file that is gone has no flaws: the log lets go of old ones. @throws HoldfastError FILE_IO */
export function* scrubWalFile(
  fileSystem: FileSystem,
  directory: string,
  fileId: number,
): WalScrubSteps {
  const bytes = yield* readInSteps(fileSystem, walFilePath(directory, fileId));
  if (bytes === null) return [];
  const flaws: WalFlaw[] = [];
  const mask = checksumMask(fileId);
  const add = (kind: WalFlaw['kind'], offset: number, end: number, what: string): void => {
    flaws.push({ ...flaw(offset, what, null), offset, end, fileId, kind });
  };
  let offset = FIRST_BATCH_OFFSET;
  /** Number of the batch before; 0 at the start of the file. */
  let before = 0;
  let first: ParsedBatch | null = null;
  for (;;) {
    const { batch, isZero } = yield* nextBatch(bytes, fileId, offset, mask);
    const end = batch?.offset ?? bytes.byteLength;
    if (!isZero) {
      const isGap = batch !== null && batch.header.watermark !== before;
      addRegion(bytes, offset, end, isGap, add);
    }
    if (batch === null) break;
    before = batch.header.batch;
    first ??= batch;
    addBatch(bytes, batch, add);
    offset = batch.offset + batch.sizeBytes;
  }
  const isBlank = first === null && isZeroRange(bytes, 0, FILE_HEADER_SIZE_BYTES);
  if (!isBlank && !hasHeader(bytes, fileId, walFilePath(directory, fileId))) {
    const what = 'the file header fails its checksum';
    const { batch: number = 0, watermark = 0 } = first?.header ?? {};
    const known = { epoch: epochOf(number), watermark };
    const end = FILE_HEADER_SIZE_BYTES;
    flaws.push({ ...flaw(0, what, null), offset: 0, end, fileId, kind: 'header', ...known });
  }
  if (!isZeroRange(bytes, FILE_HEADER_SIZE_BYTES, FIRST_BATCH_OFFSET)) {
    add('zeros', FILE_HEADER_SIZE_BYTES, FIRST_BATCH_OFFSET, 'the page of the header has rot');
  }
  return flaws;
}

/** Another version, by a flipped bit or not, is no header that this program can vouch for. */
function hasHeader(bytes: Uint8Array, fileId: number, path: string): boolean {
  try {
    return decodeFileHeader(bytes, fileId, path) !== null;
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    return false;
  }
}

type Add = (kind: WalFlaw['kind'], offset: number, end: number, what: string) => void;

function addBatch(bytes: Uint8Array, batch: ParsedBatch, add: Add): void {
  const { confirmation, content, header, offset, sizeBytes } = batch;
  const payload = payloadStart(header, offset);
  const payloadEnd = payload + header.payloadSizeBytes;
  if (content.kind === 'damaged') add('batch', payload, payloadEnd, content.what);
  else if (confirmation === null) add('note', offset, payload, 'a confirmation has rot');
  if (!isZeroRange(bytes, payloadEnd, offset + sizeBytes)) {
    add('zeros', payloadEnd, offset + sizeBytes, 'the space behind a batch has rot');
  }
}

/** Bytes where no batch can be seen: one that has lost its header, or rot in unused space. */
function addRegion(bytes: Uint8Array, from: number, to: number, isGap: boolean, add: Add): void {
  let first = from;
  while (bytes[first] === 0) first += 1;
  let last = to;
  while (bytes[last - 1] === 0) last -= 1;
  const start = first - (first % BATCH_ALIGNMENT_BYTES);
  const end = Math.min(to, alignBatch(last));
  if (isGap) add('batch', start, end, 'a batch has lost its header');
  else add('zeros', start, end, 'space that holds no batch is not zero');
}

function* nextBatch(
  bytes: Uint8Array,
  fileId: number,
  from: number,
  mask: number,
): Generator<number, { batch: ParsedBatch | null; isZero: boolean }, undefined> {
  let isZero = true;
  for (let at = from; at < bytes.byteLength; at += BATCH_ALIGNMENT_BYTES) {
    const batch = readBatch(bytes, fileId, at, mask);
    if (batch !== null) return { batch, isZero };
    isZero &&= isZeroRange(bytes, at, Math.min(at + BATCH_ALIGNMENT_BYTES, bytes.byteLength));
    if ((at - from) % STEP_SIZE_BYTES === 0) yield 0;
  }
  return { batch: null, isZero };
}

const ZEROS = Buffer.alloc(64 * 1024);

function isZeroRange(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at += ZEROS.byteLength) {
    const piece = bytes.subarray(at, Math.min(end, at + ZEROS.byteLength));
    if (Buffer.compare(piece, ZEROS.subarray(0, piece.byteLength)) !== 0) return false;
  }
  return true;
}

function* readInSteps(
  fileSystem: FileSystem,
  path: string,
): Generator<number, Uint8Array | null, undefined> {
  let handle: ReturnType<FileSystem['open']>;
  try {
    handle = fileSystem.open(path, 'read');
  } catch (error) {
    if (isFileIoError(error, 'ENOENT')) return null;
    throw error;
  }
  try {
    const bytes = new Uint8Array(handle.sizeBytes());
    let filled = 0;
    while (filled < bytes.byteLength) {
      const piece = bytes.subarray(filled, filled + STEP_SIZE_BYTES);
      const count = handle.read(piece, filled);
      if (count === 0) break;
      filled += count;
      yield count;
    }
    return bytes.subarray(0, filled);
  } finally {
    handle.close();
  }
}
