/** How the writer of the log fails: for now, or for good. */
import { HoldfastError } from '@holdfast/base';

/** The disk refuses a batch, and it may be tried again. */
export const isBlockedError = (error: unknown): error is HoldfastError =>
  error instanceof HoldfastError && error.code === 'WRITES_BLOCKED';

/** What is on the disk is unknown: nothing is written or synced any more. */
export function walIo(cause: HoldfastError): HoldfastError {
  const message = `the log cannot be written: ${cause.message}; restart the node after that`;
  return new HoldfastError('WAL_IO', message, { cause, details: cause.details });
}
