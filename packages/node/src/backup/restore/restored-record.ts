/**
 * RESTORED: what a data directory was made of, for as long as it is used. The node on it tells its
 * peers the digest of the plan, so that a cluster is never made of two plans; and shows how the
 * restore went, since that ran before any node was there to be asked.
 */
import { type Logger, toHoldfastError } from '@holdfast/base';
import type { FileSystem } from '@holdfast/storage';
import { JsonFields, joinPath, readAtomicJson, writeAtomicJson } from '@holdfast/storage';
import { type RestoreTarget, TARGET_KIND_PATTERN } from '../archive/archive-target.ts';

export const RESTORED_FILE_NAME = 'RESTORED';
const FORMAT = { format: 'holdfast-restored', version: 1 } as const;
const DIGEST_PATTERN = /^[0-9a-f]{64}$/;

export interface RestoredRecord {
  readonly planDigest: string;
  readonly nodeId: string;
  /** Of the cluster whose state it is. */
  readonly sourceClusterId: string;
  readonly backupId: string;
  readonly backupIndex: number;
  /** Where the state of the source is left. */
  readonly targetIndex: number;
  readonly targetKind: RestoreTarget['kind'];
  readonly fileCount: number;
  readonly sizeBytes: number;
  /** Replayed from the archive. */
  readonly entryCount: number;
  readonly startedMs: number;
  readonly durationMs: number;
  /** Attempts that were cut off or failed before this one. */
  readonly failedCount: number;
}

/** @throws HoldfastError FILE_IO */
export function writeRestored(
  fileSystem: FileSystem,
  directory: string,
  record: RestoredRecord,
): void {
  writeAtomicJson(fileSystem, joinPath(directory, RESTORED_FILE_NAME), FORMAT, record);
}

/** Null: the directory was never restored. @throws HoldfastError FILE_CORRUPT, FORMAT_UNKNOWN */
export function readRestored(fileSystem: FileSystem, directory: string): RestoredRecord | null {
  const path = joinPath(directory, RESTORED_FILE_NAME);
  if (!fileSystem.exists(path)) return null;
  const fields = new JsonFields(path, readAtomicJson(fileSystem, path, FORMAT));
  const kind = fields.matching('targetKind', TARGET_KIND_PATTERN) as RestoreTarget['kind'];
  return {
    planDigest: fields.matching('planDigest', DIGEST_PATTERN),
    nodeId: fields.text('nodeId'),
    sourceClusterId: fields.text('sourceClusterId'),
    backupId: fields.text('backupId'),
    backupIndex: fields.integer('backupIndex'),
    targetIndex: fields.integer('targetIndex'),
    targetKind: kind,
    fileCount: fields.integer('fileCount'),
    sizeBytes: fields.integer('sizeBytes'),
    entryCount: fields.integer('entryCount'),
    startedMs: fields.integer('startedMs'),
    durationMs: fields.integer('durationMs'),
    failedCount: fields.integer('failedCount'),
  };
}

/** It is a note about the directory: rot of it keeps no node from its work. */
export function knownRestore(
  fileSystem: FileSystem,
  directory: string,
  logger: Logger,
): RestoredRecord | null {
  try {
    return readRestored(fileSystem, directory);
  } catch (thrown) {
    const { code, message } = toHoldfastError(thrown);
    if (code !== 'FILE_CORRUPT') throw thrown;
    logger.error({ code }, `what this directory was restored from cannot be read: ${message}`);
    return null;
  }
}

/** For people: how a restore stands in a directory that no node runs on. */
export type RestoreState =
  | { readonly phase: 'none' }
  | { readonly phase: 'unfinished'; readonly planDigest: string; readonly failedCount: number }
  | { readonly phase: 'done'; readonly progressPercent: 100; readonly restored: RestoredRecord };

/** As a page shows it. */
export const restoreStateOf = (record: RestoredRecord | null): RestoreState =>
  record === null ? { phase: 'none' } : { phase: 'done', progressPercent: 100, restored: record };
