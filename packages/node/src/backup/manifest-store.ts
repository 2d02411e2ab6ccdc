/** Manifests of backups in a sink: which there are, reading one, and writing one for good. */
import { failpoint, HoldfastError } from '@holdfast/base';
import type { BackupManifest, KeyRing } from '@holdfast/storage';
import {
  BACKUP_MANIFEST_SIZE_BYTES_MAX,
  backupIdOfManifestKey,
  backupManifestKey,
  backupPrefix,
  decodeBackupManifest,
  encodeBackupManifest,
  openSealed,
  sealBytes,
  sealedSizeBytesMax,
} from '@holdfast/storage';
import type { SealSettings } from './sealed-file.ts';
import type { BackupSink, SinkReadOptions } from './sinks/sink.ts';
import { bytesSource } from './sinks/sink.ts';

/** Of one cluster in one sink. Retention keeps some fifty; a sink with more was never pruned. */
export const BACKUP_COUNT_MAX = 10_000;

export interface ManifestPlace {
  readonly sink: BackupSink;
  readonly clusterId: string;
}

/**
 * Ids of all backups, in order of their keys.
 * @throws HoldfastError SINK_*, BACKUP_CORRUPT when there are more than can be looked after
 */
export async function listBackupIds(
  { sink, clusterId }: ManifestPlace,
  options?: SinkReadOptions,
): Promise<readonly string[]> {
  const ids: string[] = [];
  for await (const { key } of sink.list(backupPrefix(clusterId), undefined, options)) {
    const id = backupIdOfManifestKey(clusterId, key);
    if (id === null) continue;
    if (ids.length >= BACKUP_COUNT_MAX) {
      const message = `${sink.name} has more than ${BACKUP_COUNT_MAX} backups: prune it`;
      throw new HoldfastError('BACKUP_CORRUPT', message, { details: { sink: sink.name } });
    }
    ids.push(id);
  }
  return ids;
}

/**
 * @throws HoldfastError BACKUP_NOT_FOUND, BACKUP_CORRUPT, BACKUP_KEY_WRONG, FORMAT_UNKNOWN, SINK_*
 */
export async function readStoredManifest(
  { sink, clusterId }: ManifestPlace,
  backupId: string,
  keys: KeyRing,
  options?: SinkReadOptions,
): Promise<BackupManifest> {
  const key = backupManifestKey(clusterId, backupId);
  const sizeBytesMax = BACKUP_MANIFEST_SIZE_BYTES_MAX;
  const sealed = await sink.get(key, sealedSizeBytesMax(sizeBytesMax), options);
  if (sealed === null) {
    const message = `${sink.name} has no backup ${backupId}: see holdfast backup list`;
    throw new HoldfastError('BACKUP_NOT_FOUND', message, { details: { backupId, object: key } });
  }
  const bytes = await openSealed(sealed, { kind: 'manifest', context: key, keys, sizeBytesMax });
  const manifest = decodeBackupManifest(bytes, key);
  if (manifest.backupId === backupId && manifest.clusterId === clusterId) return manifest;
  const message = `object ${key} is the manifest of another backup, ${manifest.backupId}`;
  throw new HoldfastError('BACKUP_CORRUPT', message, { details: { object: key } });
}

/**
 * Makes the backup visible. Nothing else may be written under its id, now or ever.
 * @throws HoldfastError BACKUP_ABORTED: there is no such backup, or (said in the message) there was
 *   one before, which was not touched
 */
export async function storeManifest(
  place: ManifestPlace,
  manifest: BackupManifest,
  seal: SealSettings,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { sink, clusterId } = place;
  const context = backupManifestKey(clusterId, manifest.backupId);
  const { compression, keys, random } = seal;
  const sealed = await sealBytes(encodeBackupManifest(manifest), {
    ...{ kind: 'manifest', context, compression, key: keys.current, random },
  });
  const options = { ifAbsent: true, ...(signal === undefined ? {} : { signal }) };
  let outcome: 'stored' | 'exists';
  try {
    outcome = await sink.put(context, bytesSource(sealed), options);
    failpoint('backup.after-manifest');
  } catch (error) {
    // It may be there all the same.
    throw await withdrawManifest(place, manifest.backupId, error);
  }
  if (outcome === 'stored') return;
  // An attempt that was repeated below us finds what it wrote itself.
  if (await isStored(sink, context, sealed)) return;
  const message = `${sink.name} has another backup ${manifest.backupId} already: take a new id`;
  throw new HoldfastError('BACKUP_ABORTED', message, { details: { object: context } });
}

/** @throws HoldfastError BACKUP_ABORTED when the sink does not say */
async function isStored(sink: BackupSink, key: string, sealed: Uint8Array): Promise<boolean> {
  try {
    const found = await sink.get(key, sealed.byteLength);
    return found !== null && Buffer.compare(found, sealed) === 0;
  } catch (cause) {
    // One of another size is another one.
    if (cause instanceof HoldfastError && cause.code === 'BACKUP_CORRUPT') return false;
    const message = `${sink.name} does not say whose manifest ${key} is: it may be left, verify it`;
    throw new HoldfastError('BACKUP_ABORTED', message, { cause, details: { object: key } });
  }
}

/** Takes the manifest away after `cause`. Returns what to throw. */
export async function withdrawManifest(
  { sink, clusterId }: ManifestPlace,
  backupId: string,
  cause: unknown,
): Promise<HoldfastError> {
  const key = backupManifestKey(clusterId, backupId);
  const reason = cause instanceof Error ? cause.message : String(cause);
  let rest = 'nothing of it is visible; start it again';
  failpoint('backup.before-withdrawal');
  try {
    await sink.remove([key]);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    rest = `its manifest ${key} may be left (${why}): verify that backup, or remove it`;
  }
  const message = `backup ${backupId} to ${sink.name} ended before its end: ${reason}; ${rest}`;
  return new HoldfastError('BACKUP_ABORTED', message, {
    cause,
    details: { backupId, sink: sink.name, object: key },
  });
}
