/**
 * What a refused file operation means for a writer: a pure table. Only what happened before any
 * sync may be tried again; a failed sync never, because the kernel has thrown the bytes away and
 * would report success the next time.
 */
import { HoldfastError } from '@holdfast/base';

export type WriteErrorType = 'disk_full' | 'io_error' | 'permission';

export interface WriteErrorFacts {
  readonly type: WriteErrorType;
  /** The same operation may be tried again. */
  readonly isRetryable: boolean;
  /** One is enough to stop trying for a while: it does not pass in milliseconds. */
  readonly isDecisive: boolean;
}

/** Linux EDQUOT, which Node has no name for. */
const EDQUOT_ERRNO = -122;

const TYPES = new Map<unknown, WriteErrorType>([
  ['ENOSPC', 'disk_full'],
  ['EDQUOT', 'disk_full'],
  [EDQUOT_ERRNO, 'disk_full'],
  ['EIO', 'io_error'],
  ['EACCES', 'permission'],
  ['EPERM', 'permission'],
  ['EROFS', 'permission'],
]);

/** After these nobody knows what the disk holds. */
const FINAL_OPERATIONS: ReadonlySet<unknown> = new Set([
  'sync',
  'datasync',
  'syncDirectory',
  'close',
  'remove',
]);

/** Null for anything that is no refusal of a disk: a bug, or damage. */
export function classifyWriteError(error: unknown): WriteErrorFacts | null {
  if (!(error instanceof HoldfastError) || error.code !== 'FILE_IO') return null;
  const { code, errno, operation } = error.details;
  const type = TYPES.get(code) ?? TYPES.get(errno);
  if (type === undefined) return null;
  const isRetryable = !FINAL_OPERATIONS.has(operation);
  return { type, isRetryable, isDecisive: type === 'disk_full' };
}
