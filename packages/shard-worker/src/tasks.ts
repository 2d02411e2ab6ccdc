/**
 * What the host says to a lane and what the lane answers. One lane gets one FIFO stream of tasks:
 * applies and reads in the order the host posted them, so a read sees exactly the entries that
 * were posted before it. Every task carries the engine epoch: a replaced (empty) thread is noticed.
 *
 * Answers are plain data: errors cross threads as ErrorBody, never thrown.
 */
import type { ErrorBody, LogIndex } from '@holdfast/base';
import type { ChecksumAlgorithm } from '@holdfast/storage';
import type { LayerCounts, SearchLayer } from './engine/layers.ts';
import type { GraphEvent } from './graph-cache/events.ts';
import type { CollectionDefinition, PointId, PointRecord } from './model.ts';
import type { Filter } from './payload/filter.ts';

/** One log entry's part for one lane, in log order. */
export type LaneCommand =
  | {
      readonly kind: 'createCollection';
      readonly index: LogIndex;
      readonly definition: CollectionDefinition;
    }
  | { readonly kind: 'dropCollection'; readonly index: LogIndex; readonly uid: number }
  /** The checksum algorithm of everything that is sealed or merged from here on. */
  | {
      readonly kind: 'changeChecksum';
      readonly index: LogIndex;
      readonly uid: number;
      readonly algorithm: ChecksumAlgorithm;
    }
  /** What grows in any shard, and is large enough, becomes a segment. */
  | { readonly kind: 'seal'; readonly index: LogIndex }
  /** The collection has another definition from here on: other payload indexes. */
  | {
      readonly kind: 'redefineCollection';
      readonly index: LogIndex;
      readonly definition: CollectionDefinition;
    }
  | {
      readonly kind: 'write';
      readonly index: LogIndex;
      /** What rows keep as their version, never going back; default: the index. */
      readonly version?: LogIndex;
      /** Log time of the entry: a row keeps it. */
      readonly timestampMs: number;
      readonly uid: number;
      /**
       * `always`: no conditions, or the lanes voted and all hold. `ifAllHold`: every op of the
       * entry lives on this lane, so the lane decides alone: all conditions hold, or nothing is
       * written.
       */
      readonly mode: 'always' | 'ifAllHold';
      /** Encoded point ops (point-op.ts) whose shards live on this lane, in batch order. */
      readonly ops: Uint8Array;
    };

export type WriteOutcome =
  | {
      readonly kind: 'written';
      readonly index: LogIndex;
      /** Points that a delete op found and removed. */
      readonly deletedCount: number;
      /** Ops with the condition `ifUnchanged` whose point was changed or gone. */
      readonly skippedCount: number;
    }
  /** Nothing was written: these conditions did not hold (at most CONFLICTS_MAX, in batch order). */
  | {
      readonly kind: 'conflict';
      readonly index: LogIndex;
      readonly conflicts: readonly Conflict[];
    };

export interface Conflict {
  readonly id: PointId;
  /** Version found, 0 when the point does not exist. */
  readonly actualVersion: number;
}

export interface SearchQuery {
  readonly uid: number;
  readonly vector: Float32Array;
  readonly k: number;
  /** Candidate list size; null = the collection's efSearch. */
  readonly ef: number | null;
  readonly isExact: boolean;
  readonly withPayload: boolean;
  readonly withVector: boolean;
  /** Absent: every point. */
  readonly filter?: Filter;
  /** Time it may take from when the lane begins; null: as long as it takes. */
  readonly budgetMs?: number | null;
}

/** Per shard: how its rows were searched. Never silently partial. */
export interface SearchPlan {
  readonly shard: number;
  readonly graphRowCount: number;
  readonly exactRowCount: number;
  /** Of a search with a filter. */
  readonly filter?: ShardFilterPlan;
  /**
   * `tail`: the newest rows were not all looked at, there was no time. `graph`: it was left out for
   * having been too slow, and every row was compared: complete, and exact.
   */
  readonly skippedLayer?: SearchLayer;
}

/** How the matching rows of one shard were found and searched. */
export interface ShardFilterPlan {
  /**
   * `exact`: the matching rows were compared. `graph`: the graph was asked for more, and those that
   * match were kept. `fallback`: they were fewer than k, so the matching rows were compared.
   */
  readonly way: 'exact' | 'graph' | 'fallback';
  /** Rows that match; with `graph` it may be an estimate. */
  readonly matchedRowCount: number;
  /** Rows whose payload was read to decide. */
  readonly testedRowCount: number;
  /** True: a payload index, or ids, narrowed the rows. */
  readonly hasIndex: boolean;
}

export interface SearchHit extends PointRecord {
  /** l2: Euclidean distance, smaller is nearer; cosine, innerProduct: similarity, larger is. */
  readonly score: number;
}

export type LaneRead =
  | { readonly kind: 'search'; readonly query: SearchQuery }
  | {
      readonly kind: 'get';
      readonly uid: number;
      readonly ids: readonly PointId[];
      readonly withVector: boolean;
      readonly withPayload: boolean;
    }
  | {
      readonly kind: 'count';
      readonly uid: number;
      readonly filter?: Filter;
      /** As of a search. */
      readonly budgetMs?: number | null;
    }
  /** The lowest ids behind `after`, ascending. */
  | {
      readonly kind: 'scroll';
      readonly uid: number;
      readonly filter?: Filter;
      readonly after: PointId | null;
      readonly limit: number;
      readonly withVector: boolean;
      readonly withPayload: boolean;
      /** As of a search. */
      readonly budgetMs?: number | null;
    }
  /** Rows of one shard of this lane from row number `fromRow` on; bounded in rows and bytes. */
  | {
      readonly kind: 'walk';
      readonly uid: number;
      readonly shard: number;
      readonly fromRow: number;
      readonly withPoints: boolean;
    };

export type WalkQuery = Extract<LaneRead, { readonly kind: 'walk' }>;

/** A stretch of the live rows of one shard, in the order they were written. */
export interface WalkedRows {
  readonly kind: 'walk';
  readonly rowCount: number;
  /** Sum mod 2^128 of the content hashes of these rows, 32 hex digits. */
  readonly contentSum: string;
  /** With `withPoints`. */
  readonly points: readonly PointRecord[];
  /** Where the next stretch begins; null: this was the last. */
  readonly nextRow: number | null;
  /** While it stays the same, stretches fit together: no row was written, none has moved. */
  readonly stamp: string;
}

export type LaneReadResult =
  | {
      readonly kind: 'search';
      readonly hits: readonly SearchHit[];
      readonly plans: readonly SearchPlan[];
    }
  /** One per asked id that lives on this lane and exists. */
  | { readonly kind: 'get'; readonly points: readonly PointRecord[] }
  | { readonly kind: 'count'; readonly count: number }
  /** `hasMore`: behind the last of them this lane has others. Ids before it are all here. */
  | { readonly kind: 'scroll'; readonly points: readonly PointRecord[]; readonly hasMore: boolean }
  | WalkedRows
  | { readonly kind: 'error'; readonly error: ErrorBody };

/** A shard's part of a checkpoint: what the CHECKPOINT root must name. */
export interface ShardManifestReference {
  readonly uid: number;
  readonly shard: number;
  /** Relative to the data directory. */
  readonly manifestPath: string;
  readonly checksum: string;
}

export interface ShardDigest {
  readonly uid: number;
  readonly shard: number;
  /** 32 hex digits: sum mod 2^128 of the hashes of the live rows. */
  readonly digest: string;
  readonly liveRowCount: number;
}

export interface LaneStats {
  readonly appliedIndex: LogIndex;
  readonly liveRowCount: number;
  readonly tailRowCount: number;
  readonly graphRowCount: number;
  readonly deletedRowCount: number;
  readonly vectorSizeBytes: number;
  readonly payloadIndexSizeBytes: number;
  /** Rows that wait to enter a payload index; filters read payloads until it is 0. */
  readonly payloadIndexBacklogCount: number;
  /** Payload indexes that outgrew their memory and are not used. */
  readonly payloadIndexGivenUpCount: number;
  readonly busyMs: number;
  /** Null for an engine without deadlines. */
  readonly layers: LayerCounts | null;
  readonly graphs: GraphStats;
}

/** Of all graphs of a lane. Counters since the lane was opened. */
export interface GraphStats {
  /** Native vectors, dead ones included. */
  readonly nodeCount: number;
  readonly deadNodeCount: number;
  /** `engine precision`, each once: what this node uses, whatever collections wish. */
  readonly builds: readonly string[];
  readonly rebuildingCount: number;
  readonly rebuiltForDeadRowsCount: number;
  readonly rebuiltForRecallCount: number;
  /** Lowest mean recall@10 of the shards that were probed; null before the first verdict. */
  readonly recallLowest: number | null;
  /** Of the oldest of the shards' newest saved graphs; null when there is none. */
  readonly savedAgeMs: number | null;
  readonly savedCount: number;
  readonly saveFailedCount: number;
  readonly loadedCount: number;
  readonly outdatedCount: number;
  /** Saved graphs that were found damaged: an alarm each. */
  readonly quarantinedCount: number;
  /** Starts of a shard without any usable saved graph though there were some. */
  readonly rebuildingAfterLoadCount: number;
  /** The last ones, oldest first. */
  readonly events: readonly GraphEvent[];
}

export type ShardTask = { readonly epoch: number } & (
  | {
      /** First task of a fresh engine. Loads what the manifests name; empty list = empty engine. */
      readonly kind: 'open';
      readonly dataDirectory: string;
      readonly laneIndex: number;
      readonly laneCount: number;
      readonly appliedIndex: LogIndex;
      readonly definitions: readonly CollectionDefinition[];
      readonly manifests: readonly ShardManifestReference[];
      /** In shared memory: rows loaded, rows to load. Null or absent: nobody looks. */
      readonly progress?: Int32Array | null;
    }
  | {
      /** Entries fromIndex..toIndex of the log, of which `commands` concern this lane. */
      readonly kind: 'apply';
      readonly fromIndex: LogIndex;
      readonly toIndex: LogIndex;
      readonly commands: readonly LaneCommand[];
    }
  | {
      /** Evaluates conditions against the state at expectedIndex; writes nothing. */
      readonly kind: 'vote';
      readonly expectedIndex: LogIndex;
      readonly uid: number;
      readonly ops: Uint8Array;
    }
  | { readonly kind: 'read'; readonly expectedIndex: LogIndex; readonly reads: readonly LaneRead[] }
  /** Captured when it is taken up, answered when its files are written; others go on meanwhile. */
  | { readonly kind: 'checkpoint'; readonly expectedIndex: LogIndex; readonly checkpointId: string }
  /** The node's root names that checkpoint durably: dead rows that it holds may leave memory. */
  | { readonly kind: 'checkpointDurable'; readonly checkpointId: string }
  | { readonly kind: 'digest'; readonly expectedIndex: LogIndex }
  | { readonly kind: 'stats' }
  /** Resolves when every row is in its graph (or the budget ran out): for tests and benchmarks. */
  | { readonly kind: 'settle' }
  | { readonly kind: 'close' }
);

export type ShardReply = { readonly epoch: number; readonly appliedIndex: LogIndex } & (
  | { readonly kind: 'opened' }
  | { readonly kind: 'applied'; readonly outcomes: readonly WriteOutcome[] }
  | { readonly kind: 'voted'; readonly conflicts: readonly Conflict[] }
  | { readonly kind: 'read'; readonly results: readonly LaneReadResult[] }
  | { readonly kind: 'checkpointed'; readonly manifests: readonly ShardManifestReference[] }
  | { readonly kind: 'noted' }
  | { readonly kind: 'digests'; readonly digests: readonly ShardDigest[] }
  | { readonly kind: 'stats'; readonly stats: LaneStats }
  | { readonly kind: 'settled' }
  | { readonly kind: 'closed' }
  | { readonly kind: 'failed'; readonly error: ErrorBody }
);
