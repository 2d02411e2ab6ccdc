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
import { openOrNull } from '../fs.ts';
import type { FileFlaw } from '../scrub-steps.ts';
import { flaw } from '../scrub-steps.ts';
import type { ParsedBatch } from './batch-reader.ts';
import { readBatch } from './batch-reader.ts';
import type { WalFileFacts } from './file-facts.ts';
import { FileWindow } from './file-window.ts';
import type { BatchHeader } from './format.ts';
import {
  BATCH_ALIGNMENT_BYTES,
  batchSizeBytes,
  checksumMask,
  decodeBatchHeader,
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
import type { SalvageItem } from './salvage.ts';

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
   * Of a `batch` that hides records of any kind: per group up to where the log was known to be
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
  const look = new WalFileLook(fileId, expected);
  const isThere = yield* lookAt(fileSystem, path, look);
  if (!isThere && expected === null) return [];
  if (!isThere) look.missing();
  const oldest = Math.max(1, fileId - FILES_BEFORE_MAX);
  for (let id = fileId - 1; look.needsBefore && id >= oldest; id--) {
    const before = new WalFileLook(id, null);
    yield* lookAt(fileSystem, walFilePath(directory, id), before);
    look.follow(before);
  }
  if (isThere) look.header(path);
  return look.flaws;
}

/** False when there is no such file. */
function* lookAt(
  fileSystem: FileSystem,
  path: string,
  look: WalFileLook,
): Generator<number, boolean, undefined> {
  const handle = openOrNull(fileSystem, path);
  if (handle === null) return false;
  try {
    yield* look.batches(new FileWindow(handle));
    return true;
  } finally {
    handle.close();
  }
}

/** From the first byte that is not zero to behind the last one, aligned as batches are. */
interface UsedRange {
  readonly start: number;
  readonly end: number;
}

/** The next batch, and what is not zero before it. */
interface FoundBatch {
  readonly batch: ParsedBatch | null;
  readonly used: UsedRange | null;
}

type DamagedContent = Extract<ParsedBatch['content'], { readonly kind: 'damaged' }>;

/** Files looked back into for how far the log was committed; without an answer all is doubted. */
const FILES_BEFORE_MAX = 16;
/** A batch of small records may have thousands. */
const FLAWS_PER_BATCH_MAX = 64;

class WalFileLook {
  readonly flaws: WalFlaw[] = [];
  readonly #fileId: number;
  readonly #mask: number;
  readonly #expected: WalFileFacts | null;
  /** The page of the file header. */
  #head = new Uint8Array(0);
  #first: BatchHeader | null = null;
  /** By the batches looked at so far; replaced, never changed: flaws hold it. */
  #committed: ReadonlyMap<GroupId, number> = new Map();

  constructor(fileId: number, expected: WalFileFacts | null) {
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
  follow(before: WalFileLook): void {
    const known = before.#committed;
    for (const [i, flaw] of this.flaws.entries()) {
      if (flaw.committed?.size === 0) this.flaws[i] = { ...flaw, committed: known };
    }
  }

  *batches(window: FileWindow): Generator<number, undefined, undefined> {
    yield* window.hold(0, FIRST_BATCH_OFFSET);
    this.#head = window.bytes.slice(0, FIRST_BATCH_OFFSET);
    let offset = FIRST_BATCH_OFFSET;
    /** Number of the batch before; 0 at the start of the file. */
    let before = 0;
    for (;;) {
      const { batch, used } = yield* this.#next(window, offset);
      if (batch === null) {
        this.#end(offset, before, used, window.sizeBytes);
        return;
      }
      const isFirstMissing = before === 0 && batch.offset > FIRST_BATCH_OFFSET;
      const hasGap = isFirstMissing || (before !== 0 && batch.header.watermark !== before);
      if (hasGap) this.#lost(used, offset, batch.offset);
      else if (used !== null) this.#unused(used, true);
      before = batch.header.batch;
      this.#first ??= batch.header;
      this.#batch(batch, window);
      offset = batch.offset + batch.sizeBytes;
    }
  }

  header(path: string): void {
    const bytes = this.#head;
    const first = this.#first;
    const isBlank = first === null && isZeroRange(bytes, 0, FILE_HEADER_SIZE_BYTES);
    const isUsed = this.#expected !== null;
    if ((!isBlank || isUsed) && !hasHeader(bytes, this.#fileId, path)) {
      const what = 'the file header fails its checksum';
      const { batch: number = 0, watermark = 0 } = first ?? {};
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
  #end(offset: number, before: number, used: UsedRange | null, length: number): void {
    const { isClosed = false, lastBatch = 0, sizeBytes = 0 } = this.#expected ?? {};
    const end = Math.max(length, sizeBytes);
    if (before < lastBatch) {
      const isCut = length < sizeBytes;
      const what = isCut ? `it is cut at ${length} bytes` : 'its last batches are gone';
      this.#hole(Math.min(offset, end), end, what);
      return;
    }
    if (used !== null) this.#unused(used, isClosed);
    if (length < sizeBytes) this.#zeros(length, sizeBytes, 'it is cut behind its batches', true);
  }

  #batch({ confirmation, content, header, offset, sizeBytes }: ParsedBatch, window: FileWindow) {
    const payload = payloadStart(header, offset);
    const payloadEnd = payload + header.payloadSizeBytes;
    if (content.kind === 'whole') this.#noteCommits(content.records);
    else this.#damaged(content, payload, payloadEnd);
    if (confirmation === null) this.#add('note', offset, payload, 'a confirmation has rot');
    const { bytes, start } = window;
    if (!isZeroRange(bytes, payloadEnd - start, offset + sizeBytes - start)) {
      this.#zeros(payloadEnd, offset + sizeBytes, 'the space behind a batch has rot', true);
    }
  }

  /**
   * One flaw per damaged record: rot that is told stays until its file goes, and more may come. Of
   * a batch with too many of them the rest is one.
   */
  #damaged({ items, what }: DamagedContent, payload: number, payloadEnd: number): void {
    let told = 0;
    for (const [i, item] of items.entries()) {
      if (item.kind === 'record') continue;
      told += 1;
      const isLast = told === FLAWS_PER_BATCH_MAX;
      const end = isLast ? payloadEnd : offsetOf(items[i + 1], payloadEnd);
      // A record that can still be named hides nothing but its own data.
      if (item.kind === 'named' && !isLast) this.#add('batch', item.offset, end, item.what);
      else this.#hole(item.offset, end, item.what);
      if (isLast) return;
    }
    // Each record is sound and their number or order is not.
    if (told === 0) this.#hole(payload, payloadEnd, what);
  }

  /**
   * Batches that cannot be seen, or are gone without a trace. The first of them began at `from`,
   * also when what is left of it begins with zeros.
   */
  #lost(used: UsedRange | null, from: number, to: number): void {
    // What is left of it may end in zeros too: it reached up to the next one.
    this.#hole(from, to, used === null ? 'a batch is gone' : 'a batch has lost its header');
  }

  #unused({ end, start }: UsedRange, isEnclosed: boolean): void {
    this.#zeros(start, end, 'space that holds no batch is not zero', isEnclosed);
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

  *#next(window: FileWindow, from: number): Generator<number, FoundBatch, undefined> {
    let used = null as UsedRange | null;
    for (let at = from; ; ) {
      yield* window.hold(at, at + BATCH_ALIGNMENT_BYTES);
      if (at >= window.sizeBytes) return { batch: null, used };
      const zeroEnd = zeroBlocksEnd(window, at);
      if (zeroEnd > at) {
        at = zeroEnd;
        continue;
      }
      const batch = yield* this.#batchAt(window, at);
      if (batch !== null) return { batch, used };
      const end = Math.min(at + BATCH_ALIGNMENT_BYTES, window.sizeBytes);
      used = { start: used?.start ?? at, end };
      at += BATCH_ALIGNMENT_BYTES;
    }
  }

  /** Afterwards the window holds all of the batch. */
  *#batchAt(window: FileWindow, at: number): Generator<number, ParsedBatch | null, undefined> {
    const fileId = this.#fileId;
    const mask = this.#mask;
    const { bytes, start } = window;
    const header = decodeBatchHeader(bytes, fileId, at - start, mask, start);
    if (header === null) return null;
    const { confirmationSizeBytes, payloadSizeBytes } = header;
    yield* window.hold(at, at + batchSizeBytes(confirmationSizeBytes, payloadSizeBytes));
    return readBatch(window.bytes, fileId, at - window.start, mask, window.start);
  }
}

function offsetOf(item: SalvageItem | undefined, end: number): number {
  if (item === undefined) return end;
  return item.kind === 'record' ? item.record.offset : item.offset;
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

/** Behind the last whole block of zeros that is held from `at` on, or the end of the file. */
function zeroBlocksEnd({ bytes, sizeBytes, start }: FileWindow, at: number): number {
  const end = bytes.byteLength - ((start + bytes.byteLength - at) % BATCH_ALIGNMENT_BYTES);
  let to = at - start;
  if (bytes[to] !== 0) return at;
  for (let step = ZEROS.byteLength; step >= BATCH_ALIGNMENT_BYTES; step /= 2) {
    while (to + step <= end && isZeroRange(bytes, to, to + step)) to += step;
  }
  const isTail = to === end && start + bytes.byteLength === sizeBytes;
  return isTail && isZeroRange(bytes, end, bytes.byteLength) ? sizeBytes : start + to;
}

function isZeroRange(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at += ZEROS.byteLength) {
    const piece = bytes.subarray(at, Math.min(end, at + ZEROS.byteLength));
    if (Buffer.compare(piece, ZEROS.subarray(0, piece.byteLength)) !== 0) return false;
  }
  return true;
}
