/**
 * Does one planned damage to one file, behind the back of the process that owns it, and says which
 * bytes are wrong afterwards. The time of modification is put back: rot leaves none.
 *
 * A node may replace a file at any moment. So everything is done to one open file, and it counts
 * only when the path still leads to that file afterwards.
 */
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  futimesSync,
  openSync,
  readSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { unreachable } from '@holdfast/base';
import type { PlannedDamage } from './plan.ts';
import { inodeOf, isGone, type VictimFile } from './victim-files.ts';

/** Bytes [from, to) of the file as it was. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

const PAGE_SIZE_BYTES = 4_096;
/** Sizes of what is swapped: the greatest of which two fit. */
const SWAP_UNIT_SIZES_BYTES = [65_536, 4_096, 512, 64] as const;
/** The writer of the log is never this near to what is hit. */
const ACTIVE_DISTANCE_BYTES = 512 * 1024;
const PLACE_TRY_COUNT = 8;

export interface DamageContext {
  readonly dataDirectory: string;
  readonly file: VictimFile;
  readonly planned: PlannedDamage;
  /** Another content for the path that is sound in itself; null when none is known. */
  readonly staleContent: Uint8Array | null;
  /** False: this part of the file was damaged before. */
  readonly isFree: (span: Span) => boolean;
}

/** Null: it cannot be done here and now, or the file was replaced meanwhile. */
export function doDamage(context: DamageContext): readonly Span[] | null {
  const path = join(context.dataDirectory, context.file.path);
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r+');
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
  try {
    const { atime, ino, mtime } = fstatSync(descriptor);
    if (ino !== context.file.inode) return null;
    const spans = damageOpen(descriptor, path, context);
    if (spans === null) return null;
    futimesSync(descriptor, atime, mtime);
    if (context.planned.damage === 'delete') return spans;
    return inodeOf(path) === ino ? spans : null;
  } finally {
    closeSync(descriptor);
  }
}

function damageOpen(
  descriptor: number,
  path: string,
  context: DamageContext,
): readonly Span[] | null {
  const { file, planned } = context;
  const whole = { from: 0, to: file.sizeBytes };
  switch (planned.damage) {
    case 'flip':
      return flip(descriptor, context);
    case 'zeroPage':
      return zeroPage(descriptor, context);
    case 'swap':
      return swap(descriptor, context);
    case 'truncate': {
      if (file.isActive || !context.isFree(whole)) return null;
      const from = Math.floor(planned.placeAt * file.contentSizeBytes);
      ftruncateSync(descriptor, from);
      return [{ from, to: file.sizeBytes }];
    }
    case 'stale':
      if (file.isActive || !context.isFree(whole)) return null;
      return putBack(descriptor, context);
    case 'delete':
      if (file.isActive || !context.isFree(whole)) return null;
      unlinkSync(path);
      return [whole];
    default:
      return unreachable(planned.damage);
  }
}

function flip(descriptor: number, context: DamageContext): readonly Span[] | null {
  const { file, planned } = context;
  const at = Math.floor(planned.placeAt * file.sizeBytes);
  const span = { from: at, to: at + 1 };
  if (!isSafe(file, span) || !context.isFree(span)) return null;
  const byte = readAt(descriptor, span);
  byte[0] = (byte[0] ?? 0) ^ (1 << planned.bit);
  writeSync(descriptor, byte, 0, 1, at);
  return [span];
}

function zeroPage(descriptor: number, context: DamageContext): readonly Span[] | null {
  const { file, planned } = context;
  const pageCount = Math.ceil(file.contentSizeBytes / PAGE_SIZE_BYTES);
  for (let attempt = 0; attempt < PLACE_TRY_COUNT; attempt++) {
    const page = (Math.floor(planned.placeAt * pageCount) + attempt) % pageCount;
    const from = page * PAGE_SIZE_BYTES;
    const span = { from, to: Math.min(from + PAGE_SIZE_BYTES, file.sizeBytes) };
    if (!isSafe(file, span) || !context.isFree(span)) continue;
    const before = readAt(descriptor, span);
    if (before.every((byte) => byte === 0)) continue;
    writeSync(descriptor, new Uint8Array(before.byteLength), 0, before.byteLength, from);
    return [span];
  }
  return null;
}

function swap(descriptor: number, context: DamageContext): readonly Span[] | null {
  const { file, planned } = context;
  const unit = SWAP_UNIT_SIZES_BYTES.find((size) => 2 * size <= file.contentSizeBytes);
  if (unit === undefined) return null;
  const unitCount = Math.floor(file.contentSizeBytes / unit);
  const first = Math.floor(planned.placeAt * unitCount);
  for (let attempt = 0; attempt < PLACE_TRY_COUNT; attempt++) {
    const second = (Math.floor(planned.secondPlaceAt * unitCount) + attempt) % unitCount;
    const spans = [first, second].map((at) => ({ from: at * unit, to: (at + 1) * unit }));
    const [left, right] = spans as [Span, Span];
    const isPossible = spans.every((span) => isSafe(file, span) && context.isFree(span));
    if (first === second || !isPossible) continue;
    const [leftBytes, rightBytes] = [readAt(descriptor, left), readAt(descriptor, right)];
    if (leftBytes.equals(rightBytes)) continue;
    writeSync(descriptor, rightBytes, 0, unit, left.from);
    writeSync(descriptor, leftBytes, 0, unit, right.from);
    return spans;
  }
  return null;
}

function putBack(descriptor: number, context: DamageContext): readonly Span[] | null {
  const { file, staleContent } = context;
  if (staleContent === null) return null;
  const whole = { from: 0, to: file.sizeBytes };
  if (readAt(descriptor, whole).equals(staleContent)) return null;
  writeSync(descriptor, staleContent, 0, staleContent.byteLength, 0);
  ftruncateSync(descriptor, staleContent.byteLength);
  return [whole];
}

/** Nothing that is being written, or about to be, is touched. */
function isSafe(file: VictimFile, { from, to }: Span): boolean {
  if (!file.isActive) return true;
  const isBefore = to < file.contentSizeBytes - ACTIVE_DISTANCE_BYTES;
  return isBefore || from > file.contentSizeBytes + ACTIVE_DISTANCE_BYTES;
}

function readAt(descriptor: number, { from, to }: Span): Buffer {
  const bytes = Buffer.alloc(to - from);
  return bytes.subarray(0, readSync(descriptor, bytes, 0, bytes.byteLength, from));
}
