/**
 * RESTORING: stands in a directory from before the first byte of a restore is written into it until
 * everything is complete and durable. While it is there no node starts on the directory, and
 * nothing in it counts.
 */
import { HoldfastError } from '@holdfast/base';
import type { FileSystem } from '@holdfast/storage';
import { JsonFields, joinPath, readAtomicJson, writeAtomicJson } from '@holdfast/storage';

export const RESTORING_FILE_NAME = 'RESTORING';
const MARKER_FORMAT = { format: 'holdfast-restoring', version: 2 } as const;
const DIGEST_PATTERN = /^[0-9a-f]{64}$/;

export interface RestoringMarker {
  /** Of the plan that is being carried out. */
  readonly planDigest: string;
  readonly nodeId: string;
  /** Attempts of the same plan before this one, none of which came to its end. */
  readonly failedCount: number;
}

const markerPath = (directory: string): string => joinPath(directory, RESTORING_FILE_NAME);

/** @throws HoldfastError FILE_IO */
export function markRestoring(
  fileSystem: FileSystem,
  directory: string,
  marker: RestoringMarker,
): void {
  writeAtomicJson(fileSystem, markerPath(directory), MARKER_FORMAT, marker);
}

/** Null without one. @throws HoldfastError FILE_CORRUPT, FORMAT_UNKNOWN, FILE_IO */
export function readRestoring(fileSystem: FileSystem, directory: string): RestoringMarker | null {
  const path = markerPath(directory);
  if (!fileSystem.exists(path)) return null;
  const fields = new JsonFields(path, readAtomicJson(fileSystem, path, MARKER_FORMAT));
  return {
    planDigest: fields.matching('planDigest', DIGEST_PATTERN),
    nodeId: fields.text('nodeId'),
    failedCount: fields.integer('failedCount'),
  };
}

/** From here on the directory counts. @throws HoldfastError FILE_IO */
export function unmarkRestoring(fileSystem: FileSystem, directory: string): void {
  fileSystem.remove(markerPath(directory));
  fileSystem.syncDirectory(directory);
}

/** @throws HoldfastError RECOVERY_UNFINISHED when a node must not start on the directory */
export function refuseRestoring(fileSystem: FileSystem, directory: string): void {
  if (!fileSystem.exists(markerPath(directory))) return;
  throw new HoldfastError(
    'RECOVERY_UNFINISHED',
    `a restore into ${directory} was begun and not finished: run it again with the same plan, or ` +
      'remove the directory',
    { details: { directory } },
  );
}
