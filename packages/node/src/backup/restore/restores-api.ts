/** Restores of collections beside live data, as a node is asked for them and shows them. */
import type { ErrorBody } from '@holdfast/base';
import type { BesideStep, HiddenTarget } from './beside-live.ts';
import type { RestoreStep } from './lay-directory.ts';

export interface RestoreWishes {
  /** Name or URL of one of the node's stores; null: the first. */
  readonly source: string | null;
  /** Whose past state; null: of this cluster. */
  readonly clusterId: string | null;
  /** Null: the newest. */
  readonly timeline: string | null;
  /** As parseCollectionsTarget. */
  readonly target: string;
  /** By the names they had; at least one. */
  readonly collections: readonly string[];
  /** In front of every name. */
  readonly prefix: string;
  /** False: they stay hidden, ready to be published. */
  readonly isPublished: boolean;
}

/** What was decided: every wish has its value. */
export interface RestoreOrder extends RestoreWishes {
  readonly restoreId: string;
  /** Name of the store. */
  readonly source: string;
  readonly clusterId: string;
}

export type RestorePhase = 'planning' | 'files' | 'entries' | 'rows';

export interface RestoreUnderWay extends RestoreOrder {
  readonly startedMs: number;
  readonly phase: RestorePhase;
  /** Of the phase. */
  readonly progressPercent: number;
  /** Given to the cluster so far, of all collections. */
  readonly pointCount: number;
  readonly isEnding: boolean;
}

export interface RestoredCollection extends HiddenTarget {
  readonly pointCount: number;
  readonly digest: string;
}

export type RestoreOutcome =
  | { readonly kind: 'success'; readonly made: readonly RestoredCollection[] }
  /** `left`: hidden collections that could not be purged; they go when their time is over. */
  | { readonly kind: 'failure'; readonly error: ErrorBody; readonly left: readonly HiddenTarget[] };

export interface RestoreRecord extends RestoreOrder {
  readonly startedMs: number;
  readonly endedMs: number;
  readonly outcome: RestoreOutcome;
}

export interface RestoresStatus {
  readonly underWay: RestoreUnderWay | null;
  /** Since the start of the node, newest first. */
  readonly newest: readonly RestoreRecord[];
}

export interface BegunRestore {
  readonly restoreId: string;
  /** Rejects with what kept it from its end; the same is in the status. */
  readonly done: Promise<RestoreRecord>;
}

/** Asked of the leader. */
export interface RestoresService {
  /**
   * Resolves when the restore has begun. One at a time.
   * @throws HoldfastError NOT_LEADER, NO_LEADER, OVERLOADED (one is under way), REQUEST_INVALID,
   *   COLLECTION_EXISTS, ARGUMENT_INVALID, SHUTTING_DOWN: nothing was done
   */
  begin(wishes: RestoreWishes): Promise<BegunRestore>;
  /** Ends the one under way, if there is one; what it made is purged. */
  abort(): void;
  status(): RestoresStatus;
}

export interface CarryOutOptions {
  /** Aborted: it ends soon, purges what it made, and rejects. */
  readonly signal: AbortSignal;
  readonly onStep: (step: RestoreStep | BesideStep) => void;
}

/** Does the work of one order, away from the thread of the node. */
export interface RestoreWorker {
  /** @throws HoldfastError as planCollections and restoreCollections */
  carryOut(order: RestoreOrder, options: CarryOutOptions): Promise<void>;
}
