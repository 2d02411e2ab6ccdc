/**
 * How an object is cut into parts, so that stores take it and memory stays bounded. Pure.
 *
 * Invariants: at most `partCountMax` parts; every part but the last has the same size; the bytes
 * under way at once are at most IN_FLIGHT_SIZE_BYTES_MAX.
 */
import { assert } from '@holdfast/base';

const MIB = 1024 * 1024;

/** Up to here an object goes in one request. */
export const PARTS_FROM_SIZE_BYTES = 16 * MIB;
/** S3 takes no smaller parts than 5 MiB; below 8 the requests cost more than the bytes. */
export const PART_SIZE_BYTES_MIN = 8 * MIB;
/** Of S3. */
export const PART_COUNT_MAX = 10_000;
/** Parts that are sent at once are held in memory. */
export const IN_FLIGHT_SIZE_BYTES_MAX = 64 * MIB;
/** More at once gain nothing: one connection fills most links. */
export const PARALLEL_PART_COUNT_MAX = 4;
/** 625 GiB: one part at a time then fills the memory that is allowed. */
export const OBJECT_SIZE_BYTES_MAX = IN_FLIGHT_SIZE_BYTES_MAX * PART_COUNT_MAX;

export interface PartPlan {
  readonly partSizeBytes: number;
  readonly partCount: number;
  readonly parallelCount: number;
}

/** Null when the object is too large for any plan. `sizeBytes` is at least 1. */
export function planParts(sizeBytes: number): PartPlan | null {
  assert(Number.isSafeInteger(sizeBytes) && sizeBytes > 0, 'only a size can be cut', { sizeBytes });
  if (sizeBytes > OBJECT_SIZE_BYTES_MAX) return null;
  const neededSizeBytes = Math.ceil(sizeBytes / PART_COUNT_MAX);
  // whole MiB: the pieces that sources are read in then never straddle two parts
  const partSizeBytes = Math.max(PART_SIZE_BYTES_MIN, Math.ceil(neededSizeBytes / MIB) * MIB);
  const parallelCount = Math.floor(IN_FLIGHT_SIZE_BYTES_MAX / partSizeBytes);
  return {
    partSizeBytes,
    partCount: Math.ceil(sizeBytes / partSizeBytes),
    parallelCount: Math.min(PARALLEL_PART_COUNT_MAX, parallelCount),
  };
}
