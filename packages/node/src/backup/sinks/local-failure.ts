/** What a refused file operation means for a sink in a folder. Pure. */
import type { SinkFailure } from './sink-failure.ts';
import { numberField, stringField } from './sink-failure.ts';

/** Linux EDQUOT: the quota is used up; Node has no name for it. */
const EDQUOT_ERRNO = -122;

const REFUSED: ReadonlyMap<string, string> = new Map([
  ['EACCES', 'permission is missing; let the user of the node write to the folder'],
  ['EPERM', 'not permitted; the file system may lack hard links, or the user the permission'],
  ['EROFS', 'the file system is mounted read-only; mount it for writing'],
  ['ENOTSUP', 'the file system lacks hard links; use another one, or an S3 store'],
  ['EOPNOTSUPP', 'the file system lacks hard links; use another one, or an S3 store'],
  ['ENOSYS', 'the file system lacks an operation that is needed; use another one'],
  ['EXDEV', 'the folder spans two file systems; mount the whole of it as one'],
  ['EMLINK', 'the file system lacks hard links; use another one, or an S3 store'],
  ['ENOENT', 'there is no such folder; create it, or mount what it is on'],
  ['ENOTDIR', 'a part of the path is a file; name a folder'],
  ['EISDIR', 'a folder stands where an object should be; move it away'],
  ['ELOOP', 'the path has a loop of links; name a folder'],
  ['ENAMETOOLONG', 'the path is too long; use a shorter folder'],
]);

/** These pass on their own: too many files open, and mounts whose server is away. */
const TRANSIENT: ReadonlySet<string> = new Set([
  'EMFILE',
  'ENFILE',
  'EAGAIN',
  'EINTR',
  'EBUSY',
  'ESTALE',
  'ETIMEDOUT',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'ECONNRESET',
  'ENOTCONN',
  'EREMOTEIO',
]);

/** Null for what is no failure of a file operation. */
export function classifyFileError(error: unknown): SinkFailure | null {
  const code = stringField(error, 'code');
  const errno = numberField(error, 'errno');
  if (errno === null || stringField(error, 'syscall') === '') return null;
  if (code === 'ENOSPC' || code === 'EDQUOT' || errno === EDQUOT_ERRNO)
    return {
      ...{ code: 'SINK_FULL', isTransient: false, isDefinite: true },
      reason: `the disk is full (${code}); free space there`,
    };
  const advice = REFUSED.get(code);
  if (advice !== undefined)
    return {
      ...{ code: 'SINK_REFUSED', isTransient: false, isDefinite: true },
      reason: `${advice} (${code})`,
    };
  return {
    ...{ code: 'SINK_UNAVAILABLE', isTransient: TRANSIENT.has(code), isDefinite: false },
    reason: `the file system failed (${code}); check the disk or the mount`,
  };
}
