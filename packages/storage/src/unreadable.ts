/**
 * Sectors that a disk refuses to read. One bad sector must not cost a node its whole file: what can
 * be read around it is read, and the rest is filled with a byte that no format has as its padding,
 * so that every checksum over it fails and it is repaired like any other rot. Nobody gets bytes
 * from here without a checksum over them: that is what makes it safe to go on.
 *
 * A disk that refuses a lot is not a disk with a bad sector: then the error stands.
 */
import { isFileIoError } from './fs.ts';

/** The unit in which the system reads files; sectors of disks divide it. */
const PAGE_SIZE_BYTES = 4_096;
/** Of one read. A disk that loses more at one place is dying, and its node must stop. */
const UNREADABLE_PAGE_COUNT_MAX = 64;
/** Not zero: unused space of logs is zero, and an unreadable page must never pass for that. */
export const UNREADABLE_BYTE = 0xdb;

/** Reads into all of `target` from `position` on; how many bytes the file had. */
export type ReadAt = (target: Uint8Array, position: number) => number;

/** As `readAt`, around what the disk refuses with EIO. @throws whatever `readAt` throws else */
export function readAround(readAt: ReadAt, target: Uint8Array, position: number): number {
  try {
    return readAt(target, position);
  } catch (error) {
    if (!isFileIoError(error, 'EIO')) throw error;
    return readPages(readAt, target, position, error);
  }
}

function readPages(readAt: ReadAt, target: Uint8Array, position: number, refusal: unknown): number {
  let refusedCount = 0;
  let done = 0;
  while (done < target.byteLength) {
    const at = position + done;
    const left = PAGE_SIZE_BYTES - (at % PAGE_SIZE_BYTES);
    const page = target.subarray(done, Math.min(target.byteLength, done + left));
    try {
      const count = readAt(page, at);
      done += count;
      if (count < page.byteLength) return done;
    } catch (error) {
      if (!isFileIoError(error, 'EIO')) throw error;
      refusedCount += 1;
      if (refusedCount > UNREADABLE_PAGE_COUNT_MAX) throw refusal;
      page.fill(UNREADABLE_BYTE);
      done += page.byteLength;
    }
  }
  return done;
}
