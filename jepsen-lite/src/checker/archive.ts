/**
 * Whether what a run left in the store is what its cluster did: the archive without a hole or an
 * overlap, every backup that can be seen complete, and a node restored from it to an index in the
 * state that the cluster had there. Pure.
 */
import { type InvalidExample, invalid, unknown, type Verdict, valid } from './verdict.ts';

/** A collection, by what tells its content. */
export interface CollectionView {
  readonly uid: number;
  readonly name: string;
  readonly vectorCount: number;
  readonly digest: string;
}

/** What reading the whole store has shown. */
export interface StoreAudit {
  readonly chunkCount: number;
  readonly entryCount: number;
  readonly gapCount: number;
  readonly backups: readonly { readonly backupId: string }[];
  /** In words. */
  readonly wrong: readonly string[];
}

/** What became of a file that no backup names, and that is old enough to go. */
export interface RemovalView {
  /**
   * What the leader said: that it removed what nobody needs, or that it removed nothing. Unknown:
   * it failed on the way, or its answer was lost.
   */
  readonly answer: 'done' | 'refused' | 'unknown';
  readonly isGarbageLeft: boolean;
}

export interface ArchiveEvidence {
  /** True when the store was away for so long that the log was not held. */
  readonly isGapAllowed: boolean;
  /** A node said that it was good; null: none did. */
  readonly newestBackupId: string | null;
  readonly madeBackupCount: number;
  /** Begun, and the leader died or it failed. */
  readonly brokenBackupCount: number;
  readonly audit: StoreAudit;
  /** Before the store was read. Whoever died at work may forbid it for an hour. */
  readonly removal: RemovalView;
  /** Of the comparison. */
  readonly index: number;
  /** In the cluster at that index. */
  readonly expected: readonly CollectionView[];
  /** In the node that was restored to it; a text: why it could not be. */
  readonly restored: readonly CollectionView[] | string;
}

export function judgeArchive(evidence: ArchiveEvidence): Verdict {
  const { audit, isGapAllowed, newestBackupId } = evidence;
  const [wrong] = audit.wrong;
  if (wrong !== undefined) {
    const examples = audit.wrong.map((what) => ({ what }));
    return invalid(`the store is not whole: ${wrong}`, examples);
  }
  if (audit.gapCount > 0 && !isGapAllowed) {
    const reason = `the archive has ${audit.gapCount} gaps, although the log was held for it`;
    return invalid(reason, []);
  }
  const { answer, isGarbageLeft } = evidence.removal;
  if (answer === 'done' && isGarbageLeft) {
    return invalid('what nobody needs was said to be removed and is there', []);
  }
  if (answer === 'refused' && !isGarbageLeft) {
    return invalid('a removal was refused, and something is gone', []);
  }
  if (newestBackupId === null) return unknown('no backup was made');
  if (!audit.backups.some(({ backupId }) => backupId === newestBackupId)) {
    return invalid(`backup ${newestBackupId} was said to be good and is not there`, []);
  }
  return judgeRestored(evidence);
}

function judgeRestored(evidence: ArchiveEvidence): Verdict {
  const { audit, brokenBackupCount, expected, index, madeBackupCount, restored } = evidence;
  if (typeof restored === 'string') {
    return invalid(`the store could not be restored to index ${index}: ${restored}`, []);
  }
  const differing = differences(expected, restored);
  if (differing.length > 0) {
    return invalid(`restored to index ${index}, ${differing.length} collections differ`, differing);
  }
  return valid({
    ...{
      index,
      madeBackupCount,
      brokenBackupCount,
      isGarbageRemoved: !evidence.removal.isGarbageLeft,
    },
    ...{ chunkCount: audit.chunkCount, entryCount: audit.entryCount, gapCount: audit.gapCount },
    collectionCount: restored.length,
    rowCount: restored.reduce((sum, { vectorCount }) => sum + vectorCount, 0),
  });
}

function differences(
  expected: readonly CollectionView[],
  restored: readonly CollectionView[],
): readonly InvalidExample[] {
  const uids = new Set([...expected, ...restored].map(({ uid }) => uid));
  return [...uids].flatMap((uid) => {
    const before = expected.find((one) => one.uid === uid) ?? null;
    const after = restored.find((one) => one.uid === uid) ?? null;
    const isEqual =
      before?.name === after?.name &&
      before?.vectorCount === after?.vectorCount &&
      before?.digest === after?.digest;
    return isEqual ? [] : [{ expected: before, restored: after }];
  });
}
