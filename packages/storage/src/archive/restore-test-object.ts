/**
 * How one backup was restored to try it: kept in the store beside the backups, because who asks may
 * have nothing else left. JSON for people, inside a sealed object.
 */
import type { JsonFields } from '../json-shape.ts';
import { decodeArchiveJson, encodeArchiveJson } from './archive-json.ts';
import { isBackupId, isTimelineName } from './archive-names.ts';
import { unknownVersion } from './log-chunk-header.ts';

const MAGIC = 'HFRT';
const VERSION = 1;
export const RESTORE_TEST_SIZE_BYTES_MAX = 64 * 1024;
const DIGEST_PATTERN = /^[0-9a-f]{1,64}$/;
const CODE_PATTERN = /^[A-Z][A-Z0-9_]{0,63}$/;
const MESSAGE_LENGTH_MAX = 4_000;

export interface RestoreTestFailure {
  readonly code: string;
  readonly message: string;
}

export interface RestoreTestResult {
  readonly clusterId: string;
  /** Null when it failed before one was found; so are the facts below. */
  readonly backupId: string | null;
  readonly timeline: string | null;
  readonly backupIndex: number | null;
  /** Where the restored log ended: as far as the archive reached. */
  readonly lastIndex: number | null;
  /** Replayed from the archive, behind the backup. */
  readonly entryCount: number | null;
  readonly sizeBytes: number | null;
  /** What the restored node served; null unless it came to that. */
  readonly collectionCount: number | null;
  readonly vectorCount: number | null;
  /** Of the whole state at `lastIndex`. */
  readonly digest: string | null;
  readonly startedMs: number;
  readonly durationMs: number;
  /** Who made the test. */
  readonly by: string;
  /** Null: the backup is good. */
  readonly failure: RestoreTestFailure | null;
}

export function encodeRestoreTest(result: RestoreTestResult): Uint8Array {
  const { failure } = result;
  const message = failure?.message.slice(0, MESSAGE_LENGTH_MAX) ?? '';
  const kept = failure === null ? null : { code: failure.code, message };
  return encodeArchiveJson(MAGIC, { version: VERSION, ...result, failure: kept });
}

/** @throws HoldfastError BACKUP_CORRUPT naming the key, FORMAT_UNKNOWN */
export function decodeRestoreTest(bytes: Uint8Array, key: string): RestoreTestResult {
  return decodeArchiveJson(bytes, MAGIC, key, (fields) => {
    const version = fields.integer('version', 1);
    if (version !== VERSION) throw unknownVersion(key, version);
    return restoreTestFromJson(fields);
  });
}

/** @throws HoldfastError FILE_CORRUPT naming the field */
export function restoreTestFromJson(fields: JsonFields): RestoreTestResult {
  const number = (name: string): number | null =>
    fields.isNull(name) ? null : fields.integer(name);
  const backupId = fields.textOrNull('backupId');
  if (backupId !== null && !isBackupId(backupId)) throw fields.wrong('backupId');
  const timeline = fields.textOrNull('timeline');
  if (timeline !== null && !isTimelineName(timeline)) throw fields.wrong('timeline');
  return {
    clusterId: fields.text('clusterId'),
    ...{ backupId, timeline },
    backupIndex: number('backupIndex'),
    lastIndex: number('lastIndex'),
    entryCount: number('entryCount'),
    sizeBytes: number('sizeBytes'),
    collectionCount: number('collectionCount'),
    vectorCount: number('vectorCount'),
    digest: fields.isNull('digest') ? null : fields.matching('digest', DIGEST_PATTERN),
    startedMs: fields.integer('startedMs'),
    durationMs: fields.integer('durationMs'),
    by: fields.text('by'),
    failure: fields.isNull('failure') ? null : failureFromJson(fields.object('failure')),
  };
}

const failureFromJson = (fields: JsonFields): RestoreTestFailure => ({
  code: fields.matching('code', CODE_PATTERN),
  message: fields.text('message'),
});
