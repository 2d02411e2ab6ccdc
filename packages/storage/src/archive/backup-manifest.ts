/**
 * What one backup is: the checkpoint root, every file it needs by content, the stretch of the
 * archived log that belongs to it, and what a reader wants to know without fetching anything. JSON
 * for people inside a sealed object, written last: without it there is no backup.
 *
 * Invariant: what decodes is complete and consistent in itself. Every file that the root names is
 * listed, paths stay inside a data directory and are listed once, sums are sums.
 */
import { assert, HEX_ID_PATTERN, HoldfastError, isNodeId } from '@holdfast/base';
import type { CheckpointRoot } from '../checkpoint-root.ts';
import { checkpointRootFromJson, checkpointRootToJson } from '../checkpoint-root.ts';
import { sha256, toHex } from '../checksum.ts';
import { JsonFields } from '../json-shape.ts';
import { isArchiveKeyId } from './archive-key.ts';
import { isBackupId, isTimelineName } from './archive-names.ts';
import type { Compression } from './compression.ts';
import { corruptObject } from './sealed-layout.ts';

export const BACKUP_FORMAT_NAME = 'holdfast-backup';
export const BACKUP_FORMAT_VERSION = 1;
/** 1,000 collections with 64 shards of two files each, and as many segments again. */
export const BACKUP_FILE_COUNT_MAX = 262_144;
export const BACKUP_COLLECTION_COUNT_MAX = 1_000;
/** A day of five chunks a second. */
export const BACKUP_LOG_CHUNK_COUNT_MAX = 432_000;
/** Of the JSON: what the counts above need at most, with room. */
export const BACKUP_MANIFEST_SIZE_BYTES_MAX = 256 * 1024 * 1024;

const BACKUP_FILE_KINDS = ['meta', 'manifest', 'segment', 'growing'] as const;
export type BackupFileKind = (typeof BACKUP_FILE_KINDS)[number];
export type BackupType = 'full' | 'incremental';

const SHA256_PATTERN = /^[0-9a-f]{64}$/;
const DIGEST_PATTERN = /^[0-9a-f]{1,64}$/;
/** Below the folders of a checkpoint; no part is empty, hidden or leads upwards. */
const PATH_PATTERN = /^(?:meta|collections)(?:\/[A-Za-z0-9][A-Za-z0-9._-]{0,254}){1,8}$/;
const PATH_LENGTH_MAX = 512;
const NAME_LENGTH_MAX = 512;

/** One file of the checkpoint. It is stored under `fileKey(clusterId, sha256)`. */
export interface BackupFile {
  /** Relative to the data directory, with slashes. */
  readonly path: string;
  /** Of the content from first to last byte; the object's name. */
  readonly sha256: string;
  readonly sizeBytes: number;
  /** Of the sealed object. */
  readonly storedSizeBytes: number;
  readonly kind: BackupFileKind;
  /** What the checkpoint names it by (ChecksummedFileFacts.checksum). */
  readonly checksum: string;
}

export interface BackupCollection {
  readonly name: string;
  /** The log index that created it. */
  readonly uid: number;
  readonly dimension: number;
  readonly shardCount: number;
  readonly vectorCount: number;
  /** Sum of the digests of its shards. */
  readonly digest: string;
}

/** Entries (baseIndex, lastIndex] of the log, in chunks under `logChunkKey`. */
export interface BackupLogRange {
  readonly firstIndex: number;
  readonly lastIndex: number;
  /** First indexes of the chunks that cover the range, ascending. */
  readonly chunks: readonly number[];
}

export interface BackupManifest {
  readonly backupId: string;
  readonly type: BackupType;
  /** Wall clock of the node that wrote it. */
  readonly createdMs: number;
  /** Time stamp of the newest entry in the checkpoint, by the clock of the log. */
  readonly logTimeMs: number;
  readonly clusterId: string;
  readonly timeline: string;
  readonly nodeId: string;
  readonly productVersion: string;
  /** Of the layout of the data directory: DATA_FORMAT_VERSION. */
  readonly dataFormatVersion: number;
  /** Of what this backup added; files that were there already may differ. */
  readonly compression: Compression;
  readonly keyId: string | null;
  /** The backup that an incremental one is measured from; null for a full one. */
  readonly baseBackupId: string | null;
  /** Null without an archive of the log. */
  readonly log: BackupLogRange | null;
  /** Of all files. */
  readonly sizeBytes: number;
  readonly storedSizeBytes: number;
  readonly vectorCount: number;
  readonly root: CheckpointRoot;
  readonly files: readonly BackupFile[];
  readonly collections: readonly BackupCollection[];
}

/**
 * The content of the manifest object, to be sealed. The manifest must be one that would decode.
 * @throws HoldfastError BACKUP_ABORTED when it is over a limit
 */
export function encodeBackupManifest(manifest: BackupManifest): Uint8Array {
  refuseOverLimits(manifest);
  const { root, ...rest } = manifest;
  const body = { ...rest, root: checkpointRootToJson(root) };
  const bytes = renderManifest(body);
  if (bytes.byteLength > BACKUP_MANIFEST_SIZE_BYTES_MAX) {
    throw overLimit('bytes of manifest', bytes.byteLength, BACKUP_MANIFEST_SIZE_BYTES_MAX);
  }
  // A manifest that cannot be read again is no backup: better to hear of it now.
  decodeBackupManifest(bytes, `backup ${manifest.backupId}`);
  return bytes;
}

/**
 * `context` names the object in errors.
 * @throws HoldfastError BACKUP_CORRUPT (naming the field), FORMAT_UNKNOWN
 */
export function decodeBackupManifest(bytes: Uint8Array, context: string): BackupManifest {
  const envelope = parseEnvelope(bytes, context);
  const { format, version, body } = envelope;
  if (format !== BACKUP_FORMAT_NAME) throw corruptObject(context, 0, 'is no manifest of a backup');
  if (version !== BACKUP_FORMAT_VERSION) {
    const message = `${context} has the unknown manifest version ${String(version)}: upgrade`;
    throw new HoldfastError('FORMAT_UNKNOWN', message, { details: { object: context, version } });
  }
  if (Buffer.compare(renderManifest(body), bytes) !== 0) {
    throw corruptObject(context, 0, 'fails the checksum of its manifest');
  }
  try {
    const manifest = parseManifest(new JsonFields(context, body));
    const flaw = flawOfManifest(manifest);
    if (flaw !== null) throw corruptObject(context, 0, flaw);
    return manifest;
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'FILE_CORRUPT') throw error;
    throw corruptObject(context, 0, `cannot be used: ${error.message}`, error);
  }
}

function parseEnvelope(bytes: Uint8Array, context: string): Record<string, unknown> {
  let envelope: unknown;
  try {
    envelope = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw corruptObject(context, 0, 'is not JSON', cause);
  }
  if (typeof envelope === 'object' && envelope !== null && !Array.isArray(envelope)) {
    return envelope as Record<string, unknown>;
  }
  throw corruptObject(context, 0, 'is no JSON object');
}

function renderManifest(body: unknown): Uint8Array {
  const format = BACKUP_FORMAT_NAME;
  const version = BACKUP_FORMAT_VERSION;
  const checksum = toHex(sha256([Buffer.from(JSON.stringify([format, version, body]), 'utf8')]));
  return Buffer.from(`${JSON.stringify({ format, version, checksum, body }, null, 1)}\n`, 'utf8');
}

function parseManifest(fields: JsonFields): BackupManifest {
  const log = fields.isNull('log') ? null : parseLogRange(fields.object('log'));
  return {
    backupId: checkedText(fields, 'backupId', isBackupId),
    type: oneOf(fields, 'type', ['full', 'incremental']),
    createdMs: fields.integer('createdMs'),
    logTimeMs: fields.integer('logTimeMs'),
    clusterId: fields.matching('clusterId', HEX_ID_PATTERN),
    timeline: checkedText(fields, 'timeline', isTimelineName),
    nodeId: checkedText(fields, 'nodeId', isNodeId),
    productVersion: checkedText(fields, 'productVersion', isShortText),
    dataFormatVersion: fields.integer('dataFormatVersion', 1),
    compression: oneOf(fields, 'compression', ['none', 'gzip', 'zstd']),
    keyId: checkedTextOrNull(fields, 'keyId', isArchiveKeyId),
    baseBackupId: checkedTextOrNull(fields, 'baseBackupId', isBackupId),
    log,
    sizeBytes: fields.integer('sizeBytes'),
    storedSizeBytes: fields.integer('storedSizeBytes'),
    vectorCount: fields.integer('vectorCount'),
    root: checkpointRootFromJson(fields.object('root')),
    files: limited(fields, 'files', BACKUP_FILE_COUNT_MAX).map(parseFile),
    collections: limited(fields, 'collections', BACKUP_COLLECTION_COUNT_MAX).map(parseCollection),
  };
}

function parseFile(fields: JsonFields): BackupFile {
  return {
    path: checkedText(fields, 'path', isBackupPath),
    sha256: fields.matching('sha256', SHA256_PATTERN),
    sizeBytes: fields.integer('sizeBytes', 1),
    storedSizeBytes: fields.integer('storedSizeBytes', 1),
    kind: oneOf(fields, 'kind', BACKUP_FILE_KINDS),
    checksum: fields.matching('checksum', SHA256_PATTERN),
  };
}

function parseCollection(fields: JsonFields): BackupCollection {
  return {
    name: checkedText(fields, 'name', isShortText),
    uid: fields.integer('uid', 1),
    dimension: fields.integer('dimension', 1),
    shardCount: fields.integer('shardCount', 1),
    vectorCount: fields.integer('vectorCount'),
    digest: fields.matching('digest', DIGEST_PATTERN),
  };
}

function parseLogRange(fields: JsonFields): BackupLogRange {
  const chunks = fields.integers('chunks');
  if (chunks.length > BACKUP_LOG_CHUNK_COUNT_MAX) throw fields.wrong('chunks');
  return {
    firstIndex: fields.integer('firstIndex', 1),
    lastIndex: fields.integer('lastIndex', 1),
    chunks,
  };
}

/** What does not fit together; null when all does. */
function flawOfManifest(manifest: BackupManifest): string | null {
  const { baseBackupId, collections, files, root, type } = manifest;
  if ((type === 'incremental') !== (baseBackupId !== null)) return 'has a base that does not fit';
  if (baseBackupId === manifest.backupId) return 'names itself as its base';
  const byPath = new Map(files.map((file) => [file.path, file]));
  if (byPath.size !== files.length) return 'lists a path twice';
  const isNamed = (path: string, checksum: string): boolean =>
    byPath.get(path)?.checksum === checksum;
  if (!isNamed(root.metaFile.path, root.metaFile.checksum)) return 'lacks the meta file';
  const missing = root.shards.find((shard) => !isNamed(shard.manifestPath, shard.checksum));
  if (missing !== undefined) return `lacks the file ${missing.manifestPath}`;
  if (sumOf(files, 'sizeBytes') !== manifest.sizeBytes) return 'has a wrong sum of sizes';
  if (sumOf(files, 'storedSizeBytes') !== manifest.storedSizeBytes) return 'has a wrong stored sum';
  if (sumOf(collections, 'vectorCount') !== manifest.vectorCount) return 'has a wrong row count';
  return flawOfLog(manifest);
}

function flawOfLog({ log, root }: BackupManifest): string | null {
  if (log === null) return null;
  const { chunks, firstIndex, lastIndex } = log;
  if (lastIndex !== root.meta.index || firstIndex > lastIndex) return 'has a log range that is off';
  const first = chunks[0];
  if (first === undefined || first > firstIndex) return 'lacks the first chunk of its log range';
  const isAscending = chunks.every((index, i) => i === 0 || index > (chunks[i - 1] as number));
  const last = chunks.at(-1) as number;
  return isAscending && last <= lastIndex ? null : 'has chunks of the log in disorder';
}

export const isBackupPath = (path: string): boolean =>
  path.length <= PATH_LENGTH_MAX && PATH_PATTERN.test(path);

function refuseOverLimits({ collections, files, log }: BackupManifest): void {
  const chunkCount = log?.chunks.length ?? 0;
  if (files.length > BACKUP_FILE_COUNT_MAX) {
    throw overLimit('files', files.length, BACKUP_FILE_COUNT_MAX);
  }
  assert(collections.length <= BACKUP_COLLECTION_COUNT_MAX, 'a cluster has its limit', {});
  if (chunkCount > BACKUP_LOG_CHUNK_COUNT_MAX) {
    throw overLimit('chunks of the log', chunkCount, BACKUP_LOG_CHUNK_COUNT_MAX);
  }
}

function overLimit(what: string, found: number, limit: number): HoldfastError {
  const message = `the backup has ${found} ${what}, and ${limit} is the limit: make a full backup`;
  return new HoldfastError('BACKUP_ABORTED', message, { details: { what, found, limit } });
}

const isShortText = (text: string): boolean => text.length >= 1 && text.length <= NAME_LENGTH_MAX;

function checkedText(fields: JsonFields, name: string, isGood: (text: string) => boolean): string {
  const text = fields.text(name);
  if (!isGood(text)) throw fields.wrong(name);
  return text;
}

const checkedTextOrNull = (
  fields: JsonFields,
  name: string,
  isGood: (text: string) => boolean,
): string | null => (fields.isNull(name) ? null : checkedText(fields, name, isGood));

function oneOf<Name extends string>(
  fields: JsonFields,
  name: string,
  values: readonly Name[],
): Name {
  const text = fields.text(name);
  const value = values.find((candidate) => candidate === text);
  if (value === undefined) throw fields.wrong(name);
  return value;
}

function limited(fields: JsonFields, name: string, countMax: number): readonly JsonFields[] {
  const items = fields.objects(name);
  if (items.length > countMax) throw fields.wrong(name);
  return items;
}

function sumOf<Name extends string>(
  items: readonly Readonly<Record<Name, number>>[],
  name: Name,
): number {
  return items.reduce((sum, item) => sum + item[name], 0);
}
