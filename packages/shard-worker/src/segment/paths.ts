/** Names of a shard's files, relative to the data directory. */
import { assert } from '@holdfast/base';

const CHECKPOINT_ID_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

export const COLLECTIONS_DIRECTORY = 'collections';

export const shardDirectory = (uid: number, shard: number): string =>
  `${COLLECTIONS_DIRECTORY}/${uid}/${shard}`;

/** The ordinal names the content: equal on every replica. */
export const segmentPath = (uid: number, shard: number, ordinal: number): string =>
  `${shardDirectory(uid, shard)}/segment-${String(ordinal).padStart(8, '0')}.seg`;

/** What `segmentPath` was made of; null for any other path. */
export function parseSegmentPath(
  path: string,
): { readonly uid: number; readonly shard: number; readonly ordinal: number } | null {
  const match = /^collections\/(\d+)\/(\d+)\/segment-(\d{8,})\.seg$/.exec(path);
  if (match === null) return null;
  const [uid, shard, ordinal] = match.slice(1).map(Number) as [number, number, number];
  return segmentPath(uid, shard, ordinal) === path ? { uid, shard, ordinal } : null;
}

/** With the checkpoint's id: a new checkpoint never overwrites a file of one that is in force. */
export const growingPath = (uid: number, shard: number, checkpointId: string): string =>
  `${shardDirectory(uid, shard)}/growing-${checked(checkpointId)}.grow`;

export const manifestPath = (uid: number, shard: number, checkpointId: string): string =>
  `${shardDirectory(uid, shard)}/manifest-${checked(checkpointId)}.man`;

/** True for a name that this package gives to files; others are never removed. */
export const isOwnFileName = (name: string): boolean =>
  /^(segment-\d+\.seg|growing-.+\.grow|manifest-.+\.man)(\.temporary)?$/.test(name);

function checked(checkpointId: string): string {
  assert(CHECKPOINT_ID_PATTERN.test(checkpointId), 'checkpoint id must be a file name part', {
    checkpointId,
  });
  return checkpointId;
}
