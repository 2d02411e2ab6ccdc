/**
 * Looks at one log file of a running log, without knowing what the writer does just now. Every
 * batch is read as recovery would read it, and what is no batch must be zero.
 *
 * Every batch names the one before it, and the log knows the newest batch of each file: so what is
 * gone is found as well, be it zeroed, cut off, put back as it once was, or deleted with its file.
 *
 * The end of the file that is written to changes under the reader: what is wrong there is believed
 * only when it is still there after a pause (the caller looks twice). A batch that is being written
 * becomes whole; rot stays.
 */
import type { GroupId } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import type { FileSystem } from '../fs.ts';
import { isFileIoError } from '../fs.ts';
import type { FileFlaw } from '../scrub-steps.ts';
import { flaw } from '../scrub-steps.ts';
import type { ParsedBatch } from './batch-reader.ts';
import { readBatch } from './batch-reader.ts';
import type { WalFileFacts } from './file-facts.ts';
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
  WAL_FILE_SIZE_BYTES_MAX,
  walFilePath,
} from './format.ts';
import type { WalRecord } from './record.ts';
import { decodeGroupSummary, decodeHardState } from './record-payload.ts';

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
  /** Of `zeros`: no batch ever was there and none will be, because others lie around it. */
  readonly isEnclosed?: boolean;
  /** The directory does not lead to the file any more. */
  readonly isFileMissing?: boolean;
  /**
   * Of a `batch` that hides any number of batches: per group up to where the log was known to be
   * committed before them. What lies above may have been truncated there, for all a start can see.
   */
  readonly committed?: ReadonlyMap<GroupId, number>;
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

/**
 * `expected` is what the log knew of the file before this was called; without it a file that is
 * gone, or lacks its last batches, has no flaws. @throws HoldfastError FILE_IO
 */
export function* scrubWalFile(
  fileSystem: FileSystem,
  directory: string,
  fileId: number,
  expected: WalFileFacts | null = null,
): WalScrubSteps {
  const path = walFilePath(directory, fileId);
  const bytes = yield* readInSteps(fileSystem, path);
  if (bytes === null && expected === null) return [];
  const look = new WalFileLook(bytes ?? new Uint8Array(0), fileId, expected);
  if (bytes === null) look.missing();
  else yield* look.batches();
  if (look.needsBefore) {
    const before = yield* readInSteps(fileSystem, walFilePath(directory, fileId - 1));
    yield* look.follow(before ?? new Uint8Array(0));
  }
  if (bytes === null) return look.flaws;
  look.header(path);
  return look.flaws;
}

class WalFileLook {
  readonly flaws: WalFlaw[] = [];
  readonly #bytes: Uint8Array;
  readonly #fileId: number;
  readonly #mask: number;
  readonly #expected: WalFileFacts | null;
  #first: ParsedBatch | null = null;
  /** By the batches looked at so far; replaced, never changed: flaws hold it. */
  #committed: ReadonlyMap<GroupId, number> = new Map();

  constructor(bytes: Uint8Array, fileId: number, expected: WalFileFacts | null) {
    this.#bytes = bytes;
    this.#fileId = fileId;
    this.#mask = checksumMask(fileId);
    this.#expected = expected;
  }

  /** The directory does not lead to the file. */
  missing(): void {
    const { isClosed = false, sizeBytes = 0 } = this.#expected ?? {};
    const end = isClosed ? sizeBytes : WAL_FILE_SIZE_BYTES_MAX;
    this.#hole(0, end, 'the file is missing', { isFileMissing: true });
  }

  /** A hole lies before anything in this file that says how far the log was committed. */
  get needsBefore(): boolean {
    return this.flaws.some(({ committed }) => committed?.size === 0);
  }

  /** Learns that from the file before. */
  *follow(before: Uint8Array): Generator<number, undefined, undefined> {
    const earlier = new WalFileLook(before, this.#fileId - 1, null);
    yield* earlier.batches();
    const known = earlier.#committed;
    for (const [i, flaw] of this.flaws.entries()) {
      if (flaw.committed?.size === 0) this.flaws[i] = { ...flaw, committed: known };
    }
  }

  *batches(): Generator<number, undefined, undefined> {
    let offset = FIRST_BATCH_OFFSET;
    /** Number of the batch before; 0 at the start of the file. */
    let before = 0;
    let yieldedAt = offset;
    for (;;) {
      if (offset - yieldedAt >= STEP_SIZE_BYTES) {
        yield 0;
        yieldedAt = offset;
      }
      const { batch, isZero } = yield* this.#next(offset);
      if (batch === null) {
        this.#end(offset, before, isZero);
        return;
      }
      const isFirstMissing = before === 0 && batch.offset > FIRST_BATCH_OFFSET;
      const hasGap = isFirstMissing || (before !== 0 && batch.header.watermark !== before);
      if (hasGap) this.#lost(offset, batch.offset, 'a batch has lost its header');
      else if (!isZero) this.#unused(offset, batch.offset, true);
      before = batch.header.batch;
      this.#first ??= batch;
      this.#batch(batch);
      offset = batch.offset + batch.sizeBytes;
    }
  }

  header(path: string): void {
    const bytes = this.#bytes;
    const first = this.#first;
    const isBlank = first === null && isZeroRange(bytes, 0, FILE_HEADER_SIZE_BYTES);
    const isUsed = this.#expected !== null;
    if ((!isBlank || isUsed) && !hasHeader(bytes, this.#fileId, path)) {
      const what = 'the file header fails its checksum';
      const { batch: number = 0, watermark = 0 } = first?.header ?? {};
      const known = { epoch: epochOf(number), watermark };
      const place = { offset: 0, end: FILE_HEADER_SIZE_BYTES, fileId: this.#fileId };
      this.flaws.push({ ...flaw(0, what, null), ...place, kind: 'header', ...known });
    }
    if (!isZeroRange(bytes, FILE_HEADER_SIZE_BYTES, FIRST_BATCH_OFFSET)) {
      const [from, to] = [FILE_HEADER_SIZE_BYTES, FIRST_BATCH_OFFSET];
      this.#zeros(from, to, 'the page of the header has rot', true);
    }
  }

  /** Behind the last batch that can be seen. */
  #end(offset: number, before: number, isZero: boolean): void {
    const { isClosed = false, lastBatch = 0, sizeBytes = 0 } = this.#expected ?? {};
    const length = this.#bytes.byteLength;
    const end = Math.max(length, sizeBytes);
    if (before < lastBatch) {
      const isCut = length < sizeBytes;
      const what = isCut ? `it is cut at ${length} bytes` : 'its last batches are gone';
      this.#hole(Math.min(offset, end), end, what);
      return;
    }
    if (!isZero) this.#unused(offset, length, isClosed);
    if (length < sizeBytes) this.#zeros(length, sizeBytes, 'it is cut behind its batches', true);
  }

  #batch(batch: ParsedBatch): void {
    const { confirmation, content, header, offset, sizeBytes } = batch;
    const payload = payloadStart(header, offset);
    const payloadEnd = payload + header.payloadSizeBytes;
    if (content.kind === 'whole') this.#noteCommits(content.records);
    else this.#add('batch', payload, payloadEnd, content.what);
    if (confirmation === null) this.#add('note', offset, payload, 'a confirmation has rot');
    if (!isZeroRange(this.#bytes, payloadEnd, offset + sizeBytes)) {
      this.#zeros(payloadEnd, offset + sizeBytes, 'the space behind a batch has rot', true);
    }
  }

  /**
   * Batches that cannot be seen, or are gone without a trace. The first of them began at `from`,
   * also when what is left of it begins with zeros.
   */
  #lost(from: number, to: number, what: string): void {
    const { end, start } = this.#used(from, to);
    if (start < end) this.#hole(from, end, what);
    else this.#hole(from, to, 'a batch is gone');
  }

  #unused(from: number, to: number, isEnclosed: boolean): void {
    const { end, start } = this.#used(from, to);
    this.#zeros(start, end, 'space that holds no batch is not zero', isEnclosed);
  }

  /** From the first byte in [from, to) that is not zero to behind the last one, aligned. */
  #used(from: number, to: number): { readonly start: number; readonly end: number } {
    let first = from;
    while (first < to && this.#bytes[first] === 0) first += 1;
    let last = to;
    while (last > first && this.#bytes[last - 1] === 0) last -= 1;
    const start = first - (first % BATCH_ALIGNMENT_BYTES);
    return first === to ? { start: to, end: to } : { start, end: Math.min(to, alignBatch(last)) };
  }

  #zeros(offset: number, end: number, what: string, isEnclosed: boolean): void {
    const place = { offset, end, fileId: this.#fileId, isEnclosed };
    this.flaws.push({ ...flaw(offset, what, null), ...place, kind: 'zeros' });
  }

  #hole(offset: number, end: number, what: string, more: Partial<WalFlaw> = {}): void {
    const place = { offset, end, fileId: this.#fileId, committed: this.#committed, ...more };
    this.flaws.push({ ...flaw(offset, what, null), ...place, kind: 'batch' });
  }

  /** How far the log is committed is in a record of its own, or at the head of the file. */
  #noteCommits(records: readonly WalRecord[]): void {
    for (const { group, payload, type } of records) {
      const isHardState = type === 'hardState';
      if (!isHardState && type !== 'fileState') continue;
      const found = isHardState ? decodeHardState(payload) : decodeGroupSummary(payload).hardState;
      if (found === null) continue;
      this.#committed = new Map(this.#committed).set(group, found.commit);
    }
  }

  #add(kind: WalFlaw['kind'], offset: number, end: number, what: string): void {
    this.flaws.push({ ...flaw(offset, what, null), offset, end, fileId: this.#fileId, kind });
  }

  *#next(
    from: number,
  ): Generator<number, { batch: ParsedBatch | null; isZero: boolean }, undefined> {
    const bytes = this.#bytes;
    let isZero = true;
    for (let at = from; at < bytes.byteLength; at += BATCH_ALIGNMENT_BYTES) {
      const batch = readBatch(bytes, this.#fileId, at, this.#mask);
      if (batch !== null) return { batch, isZero };
      isZero &&= isZeroRange(bytes, at, Math.min(at + BATCH_ALIGNMENT_BYTES, bytes.byteLength));
      if ((at - from) % STEP_SIZE_BYTES === 0) yield 0;
    }
    return { batch: null, isZero };
  }
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
