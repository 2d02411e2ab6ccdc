/**
 * What a failed checkpoint means. No state is lost by it: the log is not cut, and the checkpoint
 * before is still whole. So the node goes on, alarms, and tries again with back-off - unless what
 * failed says that bytes on this disk cannot be trusted, or that the program is wrong.
 */
import { HoldfastError } from '@holdfast/base';

const RETRY_DELAY_MS_MIN = 1_000;
const RETRY_DELAY_MS_MAX = 60_000;

/**
 * True: the node must stop. False for a disk that is full or refuses an operation on a file of the
 * checkpoint's own, also its sync: that file is dropped, and the next try makes a new one. A failed
 * sync of a directory is another matter: names that were reported durable may not be.
 */
export function isFatalForNode(error: unknown): boolean {
  if (!(error instanceof HoldfastError)) return true;
  // The log refuses its compaction record for want of room: it is cut after the next checkpoint.
  if (error.code === 'OVERLOADED') return false;
  // A lane is being brought back, or the node is stopping.
  if (error.code === 'SHARD_UNAVAILABLE' || error.code === 'SHUTTING_DOWN') return false;
  return error.code !== 'FILE_IO' || error.details.operation === 'syncDirectory';
}

/** 1 s after the first failure in a row, doubling up to a minute. */
export const checkpointRetryDelayMs = (failuresInRow: number): number =>
  Math.min(RETRY_DELAY_MS_MAX, RETRY_DELAY_MS_MIN * 2 ** Math.min(failuresInRow - 1, 16));
