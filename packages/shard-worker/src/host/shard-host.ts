/**
 * The node's view of its lanes: shard -> lane affinity and FIFO streams. The same interface is
 * served by Piscina threads in production and by engines inline in simulation and unit tests.
 *
 * Ordering: calls are posted to every lane concerned in the turn they are made, in call order.
 * A read made after an apply (without awaiting it) sees that apply on every lane.
 */
import type { LogIndex } from '@holdfast/base';
import type { CollectionDefinition } from '../model.ts';
import type {
  Conflict,
  LaneCommand,
  LaneRead,
  LaneReadResult,
  LaneStats,
  ShardDigest,
  ShardManifestReference,
  WriteOutcome,
} from '../tasks.ts';

export interface ShardHostOpenOptions {
  readonly appliedIndex: LogIndex;
  readonly definitions: readonly CollectionDefinition[];
  readonly manifests: readonly ShardManifestReference[];
}

/** Commands of fromIndex..toIndex per lane; `perLane.length === laneCount`. */
export interface HostApplyBatch {
  readonly fromIndex: LogIndex;
  readonly toIndex: LogIndex;
  readonly perLane: readonly (readonly LaneCommand[])[];
}

export interface ShardHost {
  readonly laneCount: number;
  /** Lane of a shard of a collection: a pure function of (uid, shard, laneCount). */
  laneOf(uid: number, shard: number): number;
  /** Replaces whatever the lanes held by the given state (start, or snapshot install). */
  open(options: ShardHostOpenOptions): Promise<void>;
  /** Outcomes per lane, one per write command, in order. Rejects when a lane failed: fail stop. */
  apply(batch: HostApplyBatch): Promise<readonly (readonly WriteOutcome[])[]>;
  /** Conflicts of a conditional batch over several lanes; null in `opsPerLane`: not concerned. */
  vote(
    expectedIndex: LogIndex,
    uid: number,
    opsPerLane: readonly (Uint8Array | null)[],
  ): Promise<readonly Conflict[]>;
  /** `readsPerLane[lane]` in, the same shape out. All posted in this turn. */
  read(
    expectedIndex: LogIndex,
    readsPerLane: readonly (readonly LaneRead[])[],
  ): Promise<readonly (readonly LaneReadResult[])[]>;
  checkpoint(
    expectedIndex: LogIndex,
    checkpointId: string,
  ): Promise<readonly ShardManifestReference[]>;
  digests(expectedIndex: LogIndex): Promise<readonly ShardDigest[]>;
  stats(): Promise<readonly LaneStats[]>;
  settle(): Promise<void>;
  close(): Promise<void>;
}
