/**
 * The one seam between Holdfast and a disk: synchronous, small, and honest about durability.
 * Nothing is durable until `sync`/`datasync` of the file returned and, for a new name, until
 * `syncDirectory` of its directory returned. A failed sync is never retried on the same handle.
 * Every failure is a HoldfastError FILE_IO with details { path, operation, code, errno }; a full
 * disk or quota also carries details.cause 'disk-full'.
 */
import { HoldfastError } from '@holdfast/base';

/** `read` and `readWrite` need an existing file; `createNew` fails when the name exists. */
export type OpenMode = 'read' | 'readWrite' | 'createNew';

export interface FileHandle {
  readonly path: string;
  /** Fills `target` from `position`; returns the bytes read, fewer only at the end of the file. */
  read(target: Uint8Array, position: number): number;
  /** Writes all chunks one after another from `position`, or throws; a short write throws. */
  write(chunks: readonly Uint8Array[], position: number): void;
  /** Makes the content and the size durable (fdatasync). */
  datasync(): void;
  /** Makes content and metadata durable (fsync). */
  sync(): void;
  truncate(sizeBytes: number): void;
  sizeBytes(): number;
  close(): void;
}

export interface FileSystem {
  open(path: string, mode: OpenMode): FileHandle;
  exists(path: string): boolean;
  /** Names in the directory, sorted by code unit. */
  list(directory: string): readonly string[];
  /** Makes the directory and its missing ancestors, and makes their names durable. */
  makeDirectory(path: string): void;
  /** Replaces `to` when it exists. Durable after syncDirectory of both directories. */
  rename(from: string, to: string): void;
  remove(path: string): void;
  /** Removes a directory with everything in it; nothing happens when it does not exist. */
  removeTree(path: string): void;
  /** Makes `to` another name of the file `from`; fails when `to` exists. */
  link(from: string, to: string): void;
  sizeBytes(path: string): number;
  isDirectory(path: string): boolean;
  syncDirectory(path: string): void;
  freeBytes(directory: string): number;
}

/** Linux EDQUOT: the disk quota is used up; Node has no name for it. */
const EDQUOT_ERRNO = -122;

export interface FileErrorFacts {
  readonly operation: string;
  readonly path: string;
  /** Name of the error number, such as ENOSPC. */
  readonly code: string;
  readonly errno: number;
  readonly cause?: unknown;
}

/** The one shape of a refused file operation. */
export function fileIoError(facts: FileErrorFacts): HoldfastError {
  const { operation, path, code, errno } = facts;
  const isDiskFull = code === 'ENOSPC' || code === 'EDQUOT' || errno === EDQUOT_ERRNO;
  const advice = isDiskFull ? 'the disk is full; free space' : 'check the disk and its permissions';
  return new HoldfastError('FILE_IO', `${operation} of ${path} failed with ${code}: ${advice}`, {
    details: { path, operation, code, errno, ...(isDiskFull ? { cause: 'disk-full' } : {}) },
    ...(facts.cause === undefined ? {} : { cause: facts.cause }),
  });
}

export const isFileIoError = (error: unknown, code: string): boolean =>
  error instanceof HoldfastError && error.code === 'FILE_IO' && error.details.code === code;

export const isDiskFullError = (error: unknown): boolean =>
  error instanceof HoldfastError && error.details.cause === 'disk-full';

/** For reading; null when there is no such file. @throws HoldfastError FILE_IO */
export function openOrNull(fileSystem: FileSystem, path: string): FileHandle | null {
  try {
    return fileSystem.open(path, 'read');
  } catch (error) {
    if (isFileIoError(error, 'ENOENT')) return null;
    throw error;
  }
}

/** Joins with single slashes; does not resolve dots. */
export function joinPath(first: string, ...rest: readonly string[]): string {
  let path = first;
  for (const part of rest) path = path.endsWith('/') ? `${path}${part}` : `${path}/${part}`;
  return path;
}

export function parentDirectory(path: string): string {
  const slash = path.lastIndexOf('/');
  if (slash < 0) return '.';
  return slash === 0 ? '/' : path.slice(0, slash);
}

export const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** The whole file as one fresh buffer. For small files and files of a known bound. */
export function readWholeFile(fileSystem: FileSystem, path: string): Uint8Array {
  const handle = fileSystem.open(path, 'read');
  try {
    const bytes = new Uint8Array(handle.sizeBytes());
    const count = handle.read(bytes, 0);
    return count === bytes.byteLength ? bytes : bytes.subarray(0, count);
  } finally {
    handle.close();
  }
}
