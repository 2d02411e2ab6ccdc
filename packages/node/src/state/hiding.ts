/**
 * Collections that nobody sees: dropped ones that can still be brought back, and ones that are
 * being restored beside live data. They have rows on every replica, count to every limit, and are
 * in checkpoints, snapshots and digests like all others; only names do not lead to them. All times
 * are log time, so what happens when is a function of the log alone.
 */
import type { CollectionDefinition } from '@holdfast/shard-worker';

/**
 * `dropped`: can be undeleted. `restoring`: takes rows, by uid. `ready`: was found to be equal to
 * its source, takes no rows, and can be published.
 */
export type HiddenState = 'dropped' | 'restoring' | 'ready';

export interface Hiding {
  readonly state: HiddenState;
  /** When it was dropped, or begun. */
  readonly sinceMs: number;
  /** From then on the leader proposes to purge it. */
  readonly purgeAtMs: number;
}

export interface CollectionRecord {
  readonly definition: CollectionDefinition;
  /** Null: everybody sees it. */
  readonly hiding: Hiding | null;
}

export interface HiddenCollection extends CollectionRecord {
  readonly hiding: Hiding;
}
