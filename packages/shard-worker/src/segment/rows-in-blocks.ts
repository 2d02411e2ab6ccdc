/**
 * Which points have bytes in blocks of a segment that nobody can give any more: for people, who
 * have to write these points again or restore them. Bytes are read as they stand, so nothing of it
 * is ever served. A row whose own checksum holds is named for sure; one whose checksum fails is
 * named as its bytes say, in doubt; what cannot be told apart is counted.
 */
import { HoldfastError } from '@holdfast/base';
import type { BlockFileShape, FileHandle, FileSystem, Steps } from '@holdfast/storage';
import { BLOCK_SIZE_BYTES } from '@holdfast/storage';
import type { PointId } from '../model.ts';
import { readPointId } from '../point-id.ts';
import type { RecordFacts } from './format.ts';
import {
  CANONICAL_HEADER_SIZE_BYTES,
  decodeRecord,
  decodeRowsHeader,
  RECORD_PREFIX_SIZE_BYTES,
  ROWS_HEADER_SIZE_BYTES,
  recordSizeBytes,
} from './format.ts';

/** Names in one answer; the rest is counted. */
export const LOST_ROWS_NAMED_MAX = 16;
/** Records start at multiples of this. */
const ALIGNMENT_BYTES = 8;
const HEAD_SIZE_BYTES = RECORD_PREFIX_SIZE_BYTES + CANONICAL_HEADER_SIZE_BYTES;
/** 'HFRR' little-endian. */
const RECORD_MAGIC = 0x52524648;
const RECORDS_PER_STEP = 256;

export interface RowsInBlocks {
  /** Of rows with a byte in the blocks; at most LOST_ROWS_NAMED_MAX with `doubtfulIds`. */
  readonly ids: readonly PointId[];
  /** As the damaged rows themselves say. */
  readonly doubtfulIds: readonly PointId[];
  /** Rows beside those named; null when the file does not say how many it holds. */
  readonly unnamedCount: number | null;
}

/** @throws HoldfastError FILE_IO */
export function* rowsInBlocks(
  fileSystem: FileSystem,
  path: string,
  shape: BlockFileShape,
  blocks: readonly number[],
): Steps<RowsInBlocks> {
  if (!fileSystem.exists(path)) return { ids: [], doubtfulIds: [], unnamedCount: null };
  const handle = fileSystem.open(path, 'read');
  try {
    return yield* walk(new Content(handle, shape), path, new Set(blocks));
  } finally {
    handle.close();
  }
}

function* walk(content: Content, path: string, bad: ReadonlySet<number>): Steps<RowsInBlocks> {
  const names = new Names();
  const rowCount = rowCountOf(content, path);
  let soundCount = 0;
  let offset = ROWS_HEADER_SIZE_BYTES;
  for (let step = 1; offset < content.sizeBytes; step++) {
    if (step % RECORDS_PER_STEP === 0) yield;
    const record = readRecordAt(content, path, offset);
    const end = offset + (record?.sizeBytes ?? 0);
    const isHit = touches(bad, offset, Math.max(end, offset + ALIGNMENT_BYTES));
    // What looks like a record in sound blocks and is none is the inside of a row.
    if (record === null || !(record.isSound || isHit)) {
      offset += ALIGNMENT_BYTES;
      continue;
    }
    if (isHit) names.add(record.id, record.isSound);
    else soundCount += 1;
    offset = end;
  }
  return names.told(rowCount === null ? null : rowCount - soundCount);
}

/** In the block of the header nothing but the header itself has to be right for this. */
function rowCountOf(content: Content, path: string): number | null {
  try {
    const bytes = content.read(0, ROWS_HEADER_SIZE_BYTES);
    const { rowCount } = decodeRowsHeader(bytes, path);
    return rowCount * HEAD_SIZE_BYTES <= content.sizeBytes ? rowCount : null;
  } catch (thrown) {
    return nullIfDamaged(thrown);
  }
}

interface FoundRecord {
  readonly sizeBytes: number;
  readonly id: PointId;
  readonly isSound: boolean;
}

/** Null when no record starts there, as far as its head can tell. */
function readRecordAt(content: Content, path: string, offset: number): FoundRecord | null {
  if (offset + HEAD_SIZE_BYTES > content.sizeBytes) return null;
  const head = viewOf(content.read(offset, HEAD_SIZE_BYTES));
  const sizeBytes = head.getUint32(8, true);
  const dimension = head.getUint32(RECORD_PREFIX_SIZE_BYTES + 4, true);
  const payloadSizeBytes = head.getUint32(RECORD_PREFIX_SIZE_BYTES + 40, true);
  const isHead =
    head.getUint32(0, true) === RECORD_MAGIC &&
    sizeBytes === recordSizeBytes(dimension, payloadSizeBytes) &&
    offset + sizeBytes <= content.sizeBytes;
  if (!isHead) return null;
  const bytes = content.read(offset, sizeBytes);
  const facts = soundOrNull(bytes, { path, contentOffset: offset, dimension });
  const idKind = facts?.idKind ?? head.getUint8(RECORD_PREFIX_SIZE_BYTES);
  if (idKind > 1) return null;
  const id = readPointId(viewOf(bytes), RECORD_PREFIX_SIZE_BYTES + 8, idKind);
  return { sizeBytes, id, isSound: facts !== null };
}

function soundOrNull(
  bytes: Uint8Array,
  place: Parameters<typeof decodeRecord>[3],
): RecordFacts | null {
  try {
    return decodeRecord(bytes, viewOf(bytes), 0, place);
  } catch (thrown) {
    return nullIfDamaged(thrown);
  }
}

function nullIfDamaged(thrown: unknown): null {
  if (!(thrown instanceof HoldfastError)) throw thrown;
  return null;
}

const viewOf = ({ buffer, byteLength, byteOffset }: Uint8Array): DataView =>
  new DataView(buffer, byteOffset, byteLength);

function touches(bad: ReadonlySet<number>, from: number, to: number): boolean {
  const last = Math.floor((to - 1) / BLOCK_SIZE_BYTES);
  for (let block = Math.floor(from / BLOCK_SIZE_BYTES); block <= last; block++)
    if (bad.has(block)) return true;
  return false;
}

/** For error texts: `points 1, 2; perhaps 3; and 4 more`. */
export function describeRows({ doubtfulIds, ids, unnamedCount }: RowsInBlocks): string {
  const parts: string[] = [];
  if (ids.length > 0) parts.push(`points ${ids.join(', ')}`);
  if (doubtfulIds.length > 0) parts.push(`perhaps ${doubtfulIds.join(', ')}`);
  if (unnamedCount === null) parts.push('nobody knows how many more');
  else if (unnamedCount > 0) parts.push(`${unnamedCount} more that cannot be named`);
  return parts.length === 0 ? 'no point' : parts.join('; ');
}

class Names {
  readonly #ids: PointId[] = [];
  readonly #doubtfulIds: PointId[] = [];

  add(id: PointId, isSound: boolean): void {
    if (this.#ids.length + this.#doubtfulIds.length >= LOST_ROWS_NAMED_MAX) return;
    (isSound ? this.#ids : this.#doubtfulIds).push(id);
  }

  told(affectedCount: number | null): RowsInBlocks {
    const [ids, doubtfulIds] = [this.#ids, this.#doubtfulIds];
    const namedCount = ids.length + doubtfulIds.length;
    const unnamedCount = affectedCount === null ? null : Math.max(0, affectedCount - namedCount);
    return { ids, doubtfulIds, unnamedCount };
  }
}

/** The content of the blocks one after another, sound or not. What is cut off reads as zeros. */
class Content {
  readonly sizeBytes: number;
  readonly #handle: FileHandle;
  readonly #shape: BlockFileShape;
  /** The newest few: records lie one after another. */
  readonly #blocks = new Map<number, Uint8Array>();

  constructor(handle: FileHandle, shape: BlockFileShape) {
    this.#handle = handle;
    this.#shape = shape;
    this.sizeBytes = shape.contentSizeBytes;
  }

  read(offset: number, sizeBytes: number): Uint8Array {
    const bytes = new Uint8Array(Math.max(0, Math.min(sizeBytes, this.sizeBytes - offset)));
    let done = 0;
    while (done < bytes.byteLength) {
      const at = offset + done;
      const block = this.#block(Math.floor(at / BLOCK_SIZE_BYTES));
      const from = at % BLOCK_SIZE_BYTES;
      const part = block.subarray(from, from + bytes.byteLength - done);
      bytes.set(part, done);
      done += part.byteLength;
    }
    return bytes;
  }

  #block(number: number): Uint8Array {
    const known = this.#blocks.get(number);
    if (known !== undefined) return known;
    const bytes = this.#shape.readUnverified(this.#handle, number);
    const [oldest] = this.#blocks.keys();
    if (this.#blocks.size >= 2 && oldest !== undefined) this.#blocks.delete(oldest);
    this.#blocks.set(number, bytes);
    return bytes;
  }
}
