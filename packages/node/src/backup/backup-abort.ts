/** How a backup hears of its abort; apart from what needs a replica: threads load little. */
import { HoldfastError } from '@holdfast/base';

/** @throws HoldfastError BACKUP_ABORTED when `signal` says so */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return;
  const message = 'the backup was aborted before its end: there is none; start it again';
  throw new HoldfastError('BACKUP_ABORTED', message, { cause: signal.reason });
}
