/**
 * How far the log may be cut after a checkpoint. Pure: a view of the node in, an index out.
 *
 * Two floors are never crossed, whatever they cost: the oldest generation that is kept
 * (recovery falls back to it) and the log behind a snapshot that is being sent (or the peer needs
 * the next one as soon as it has this one). Everything else is a convenience with a limit in bytes:
 * entries for slow peers, for reachable followers that lag, for the archive. The transfer has a
 * limit as well, and then it is given up, not overtaken.
 *
 * A follower that is not heard from holds nothing: it may be gone for ever, and a snapshot brings
 * it back.
 */
import type { LogIndex } from '@holdfast/base';
import { assert, logIndex } from '@holdfast/base';

export interface CompactionLimits {
  /** Entries kept behind the newest checkpoint, so that a slow peer needs no snapshot. */
  readonly retainedEntryCount: number;
  /** And at most so many bytes of them. */
  readonly retainedSizeBytesMax: number;
  readonly followerHoldSizeBytesMax: number;
  readonly transferHoldSizeBytesMax: number;
  readonly archiveHoldSizeBytesMax: number;
}

export interface FollowerView {
  /** Null while unknown: a new leader has not heard yet what it holds. */
  readonly matchIndex: number | null;
  /** Heard from within an election timeout. */
  readonly isReachable: boolean;
}

export interface CompactionView {
  /** Where the log starts now. */
  readonly baseIndex: number;
  /** Of the checkpoint just made, durable. */
  readonly newestIndex: number;
  /** Of the oldest generation kept; 0 when there is none but the newest. */
  readonly previousIndex: number;
  /** Of the leader; empty on any other replica. */
  readonly followers: readonly FollowerView[];
  /** Index of the checkpoint that is being sent, or null. */
  readonly transferIndex: number | null;
  /**
   * Entries up to here are damaged and nobody gives them any more, so nobody can be served from
   * them: neither retention nor a follower keeps them. 0: none.
   */
  readonly givenUpIndex: number;
  /** The archive has everything up to here; null without an archive. */
  readonly archivedIndex: number | null;
  /** As GroupLog.firstIndexWithin. */
  readonly firstIndexWithin: (sizeBytesMax: number) => number;
}

export type CompactionHolder = 'checkpoint' | 'retention' | 'follower' | 'transfer' | 'archive';

export interface CompactionDecision {
  /** The new base: at least the present one. */
  readonly index: LogIndex;
  /** What kept the log from being cut further. */
  readonly heldBy: CompactionHolder;
  /** The log behind the transfer is over its limit: end it. */
  readonly isTransferGivenUp: boolean;
}

export function decideCompaction(
  view: CompactionView,
  limits: CompactionLimits,
): CompactionDecision {
  const { baseIndex, newestIndex, previousIndex, transferIndex, archivedIndex } = view;
  const { givenUpIndex } = view;
  assert(previousIndex <= newestIndex, 'checkpoints go forward', { previousIndex, newestIndex });
  /** Largest base that leaves the newest entries of at least so many bytes, at most one more. */
  const baseWithin = (sizeBytesMax: number): number => view.firstIndexWithin(sizeBytesMax) - 1;
  let index = previousIndex;
  let heldBy: CompactionHolder = 'checkpoint';
  const hold = (at: number, by: CompactionHolder): void => {
    if (at >= index) return;
    index = at;
    heldBy = by;
  };
  const { retainedEntryCount, retainedSizeBytesMax } = limits;
  const keptFrom = Math.max(newestIndex - retainedEntryCount, baseWithin(retainedSizeBytesMax));
  hold(Math.max(keptFrom, givenUpIndex), 'retention');
  for (const { matchIndex, isReachable } of view.followers) {
    const neededFrom = matchIndex ?? baseIndex;
    // One that lies before the log cannot be caught up from it any more.
    if (!isReachable || neededFrom < baseIndex) continue;
    const from = Math.max(neededFrom, baseWithin(limits.followerHoldSizeBytesMax));
    hold(Math.max(from, givenUpIndex), 'follower');
  }
  if (archivedIndex !== null) {
    hold(Math.max(archivedIndex, baseWithin(limits.archiveHoldSizeBytesMax)), 'archive');
  }
  const isTransferGivenUp =
    transferIndex !== null && transferIndex < baseWithin(limits.transferHoldSizeBytesMax);
  if (transferIndex !== null && !isTransferGivenUp) hold(transferIndex, 'transfer');
  return { index: logIndex(Math.max(baseIndex, index)), heldBy, isTransferGivenUp };
}
