/**
 * Keys of the objects of a backup store, relative to the prefix of the sink:
 *   <clusterId>/<timeline>/log/<firstIndex>     one chunk of the committed log
 *   <clusterId>/<timeline>/gap/<firstIndex>     entries that never reached the archive
 *   <clusterId>/timelines/<timeline>            where a timeline comes from
 *   <clusterId>/epochs/<number>                 who took over from whom
 *   <clusterId>/files/<sha256>                  one file, by its content
 *   <clusterId>/restore-tests/<time>            how a backup was restored to try it
 *   <clusterId>/backup_<id>/manifest            written last: without it there is no backup
 *   <clusterId>/locks/<name>                    who works on the store right now; empty
 * Numbers have 16 digits, so the order of keys is the order of numbers.
 */
import { assert } from '@holdfast/base';

const NUMBER_DIGIT_COUNT = 16;
const TIMELINE_PATTERN = /^[0-9a-z][0-9a-z-]{0,39}$/;
const BACKUP_ID_PATTERN = /^[0-9a-f-]{8,64}$/;
const SHA256_PATTERN = /^[0-9a-f]{64}$/;
const LOCK_NAME_PATTERN = /^[0-9A-Za-z][0-9A-Za-z_.-]{0,149}$/;
const CLUSTER_ID_PATTERN = /^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$/;

export const isTimelineName = (name: string): boolean => TIMELINE_PATTERN.test(name);
export const isBackupId = (id: string): boolean => BACKUP_ID_PATTERN.test(id);

export const logChunkPrefix = (clusterId: string, timeline: string): string =>
  `${clusterPrefix(clusterId)}${checked(timeline, TIMELINE_PATTERN)}/log/`;

export const logChunkKey = (clusterId: string, timeline: string, firstIndex: number): string =>
  `${logChunkPrefix(clusterId, timeline)}${paddedNumber(firstIndex)}`;

export const gapPrefix = (clusterId: string, timeline: string): string =>
  `${clusterPrefix(clusterId)}${checked(timeline, TIMELINE_PATTERN)}/gap/`;

export const gapKey = (clusterId: string, timeline: string, firstIndex: number): string =>
  `${gapPrefix(clusterId, timeline)}${paddedNumber(firstIndex)}`;

export const timelinePrefix = (clusterId: string): string =>
  `${clusterPrefix(clusterId)}timelines/`;

export const timelineKey = (clusterId: string, timeline: string): string =>
  `${timelinePrefix(clusterId)}${checked(timeline, TIMELINE_PATTERN)}`;

export const epochPrefix = (clusterId: string): string => `${clusterPrefix(clusterId)}epochs/`;

export const epochKey = (clusterId: string, epoch: number): string =>
  `${epochPrefix(clusterId)}${paddedNumber(epoch)}`;

export const filePrefix = (clusterId: string): string => `${clusterPrefix(clusterId)}files/`;

export const fileKey = (clusterId: string, sha256: string): string =>
  `${filePrefix(clusterId)}${checked(sha256, SHA256_PATTERN)}`;

export const restoreTestPrefix = (clusterId: string): string =>
  `${clusterPrefix(clusterId)}restore-tests/`;

/** `startedMs`: of the test. */
export const restoreTestKey = (clusterId: string, startedMs: number): string =>
  `${restoreTestPrefix(clusterId)}${paddedNumber(startedMs)}`;

/** Of every backup of the cluster; what follows is the id, a slash and `manifest`. */
export const backupPrefix = (clusterId: string): string => `${clusterPrefix(clusterId)}backup_`;

export const backupManifestKey = (clusterId: string, backupId: string): string =>
  `${backupPrefix(clusterId)}${checked(backupId, BACKUP_ID_PATTERN)}/manifest`;

/** The id in a key of a manifest; null for any other key. */
export function backupIdOfManifestKey(clusterId: string, key: string): string | null {
  const prefix = backupPrefix(clusterId);
  if (!key.startsWith(prefix) || !key.endsWith('/manifest')) return null;
  const id = key.slice(prefix.length, -'/manifest'.length);
  return isBackupId(id) ? id : null;
}

export const lockPrefix = (clusterId: string): string => `${clusterPrefix(clusterId)}locks/`;

export const lockKey = (clusterId: string, name: string): string =>
  `${lockPrefix(clusterId)}${checked(name, LOCK_NAME_PATTERN)}`;

/** The number at the end of a key; null when it is not one of 16 digits. */
export function numberOfKey(key: string): number | null {
  const name = key.slice(key.lastIndexOf('/') + 1);
  return /^\d{16}$/.test(name) ? Number(name) : null;
}

const clusterPrefix = (clusterId: string): string => `${checked(clusterId, CLUSTER_ID_PATTERN)}/`;

function paddedNumber(value: number): string {
  assert(Number.isSafeInteger(value) && value >= 0, 'a key needs a whole number', { value });
  return String(value).padStart(NUMBER_DIGIT_COUNT, '0');
}

function checked(part: string, pattern: RegExp): string {
  assert(pattern.test(part), 'a part of a key must be well formed', { part });
  return part;
}
