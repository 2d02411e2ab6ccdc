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
import type { LaneHealth } from './lane-events.ts';
import type { LaneReplay } from './lane-replay.ts';

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

/** Rows of all lanes; `rowCount` is 0 until the manifests were read. */
export interface LoadProgress {
  readonly loadedRowCount: number;
  readonly rowCount: number;
}

export interface ShardHost {
  readonly laneCount: number;
  /** Lane of a shard of a collection: a pure function of (uid, shard, laneCount). */
  laneOf(uid: number, shard: number): number;
  /**
   * Replaces whatever the lanes held by the given state (start, or snapshot install). Rejects with
   * every damage of every lane when files are not what they must be: `damagesOf(error)`.
   */
  open(options: ShardHostOpenOptions): Promise<void>;
  /** How far the newest `open` has come, for people; may be asked at any time. */
  loadProgress(): LoadProgress;
  /**
   * Outcomes per lane, one per write command, in order. Rejects when a lane failed for good: fail
   * stop.
   */
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
  /**
   * Captures every lane's state in stream order (between the applies posted before and after), and
   * resolves when its files are durable. Applies and reads may be posted meanwhile. One at a time.
   */
  checkpoint(
    expectedIndex: LogIndex,
    checkpointId: string,
  ): Promise<readonly ShardManifestReference[]>;
  /** A durable root names the manifests of that checkpoint: dead rows in it may leave memory. */
  checkpointDurable(checkpointId: string): Promise<void>;
  digests(expectedIndex: LogIndex): Promise<readonly ShardDigest[]>;
  stats(): Promise<readonly LaneStats[]>;
  settle(): Promise<void>;
  /** Where lost lanes get their state back from; until it is given a lost lane stays lost. */
  useReplay(replay: LaneReplay): void;
  /** Of lanes that have threads of their own; empty for others. */
  health(): readonly LaneHealth[];
  close(): Promise<void>;
}
