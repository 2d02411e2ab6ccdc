/**
 * From what the parts of a node say about themselves to causes for the RecoveryManager: which class
 * of fault it is, how urgent, what is being done about it and how to see that it is gone.
 *
 * | said | type | priority | action |
 * |---|---|---|---|
 * | a lane's thread died, hangs | `laneDied`, `laneHung` | P1 | `restartLane` |
 * | a lane fills its heap | `laneLeaking` | P2 | `restartLane` |
 * | the disk refuses the log | `writesRefused` | P0 | `probeLog` |
 * | a checkpoint fails | `checkpointFailed` | P0 | `makeCheckpoint` |
 * | the leader should not lead | `unfitLeader` | P1 | `handOver` |
 * | a saved graph is damaged | `graphDamaged` | P2 | `rebuildGraph` |
 * | a graph has aged | `graphAged` | P3 | `replaceGraph` |
 */
import { HoldfastError } from '@holdfast/base';
import type { GraphEvent, LaneEvent, LaneHealth, LaneLossCause } from '@holdfast/shard-worker';
import type { WalWrites } from '@holdfast/storage';
import type { RecoveryPriority } from './recovery-manager.ts';
import type { WatchedCause, WatchedCauses } from './watched-causes.ts';

const LANE_TYPES = {
  hung: ['laneHung', 1],
  died: ['laneDied', 1],
  leaking: ['laneLeaking', 2],
} as const satisfies Record<LaneLossCause, readonly [string, RecoveryPriority]>;

export interface SelfCausesParts {
  readonly watched: Pick<WatchedCauses, 'begin' | 'end' | 'fail'>;
  readonly lanes: () => readonly LaneHealth[];
  readonly writes: () => WalWrites;
}

/** How checkpoints fare; see CheckpointRunner. */
export interface CheckpointTrouble {
  /** 0: the newest attempt succeeded. */
  readonly failuresInRow: number;
  readonly reason: string;
}

/** What one lane says of its graphs. */
export interface LaneGraphFacts {
  readonly rebuildingCount: number;
  readonly rebuiltForDeadRowsCount: number;
  readonly rebuiltForRecallCount: number;
}

export class SelfCauses {
  readonly #parts: SelfCausesParts;
  /** By lane: its case, for when it is held back and goes on later. */
  readonly #lanes = new Map<number, WatchedCause>();
  readonly #heldLanes = new Set<number>();
  #checkpointFailures = 0;
  #isUnfitLeader = false;
  readonly #agedLanes = new Set<number>();
  readonly #badGraphs = new Set<string>();

  constructor(parts: SelfCausesParts) {
    this.#parts = parts;
  }

  onLane(event: LaneEvent): void {
    const { watched } = this.#parts;
    const key = `lane ${event.lane}`;
    switch (event.kind) {
      case 'laneLost':
        this.#laneLost(event.lane, event.cause, event.error.message);
        return;
      case 'laneRestarting': {
        // It was left alone before, while recoveries were switched off.
        const cause = this.#lanes.get(event.lane);
        if (this.#heldLanes.delete(event.lane) && cause !== undefined) watched.begin(cause);
        return;
      }
      case 'laneRecovered':
        watched.end(key, { downMs: event.downMs, replayedEntryCount: event.replayedEntryCount });
        return;
      case 'laneGivenUp': {
        const message = `${key} did not come back in ${event.attempts} attempts; restart the node`;
        watched.fail(key, new HoldfastError('SHARD_UNAVAILABLE', message));
        return;
      }
      case 'laneHeld':
        this.#heldLanes.add(event.lane);
        return;
      // Another attempt follows; a stall is told where it is seen, and nothing can be done.
      case 'laneRestartFailed':
      case 'laneStalled':
        return;
    }
  }

  onWrites(writes: WalWrites): void {
    const { watched } = this.#parts;
    if (writes.state === 'closed') {
      watched.end('log', { retries: writes.retries, opened: writes.opened });
      return;
    }
    watched.begin({
      ...{ key: 'log', type: 'writesRefused', priority: 0, action: 'probeLog' },
      what: `the disk refuses the log: ${writes.type ?? 'unknown'}`,
      isGone: () => this.#parts.writes().state === 'closed',
    });
  }

  onCheckpoint({ failuresInRow, reason }: CheckpointTrouble): void {
    const { watched } = this.#parts;
    const before = this.#checkpointFailures;
    this.#checkpointFailures = failuresInRow;
    if (failuresInRow === 0) {
      watched.end('checkpoint', { failures: before });
      return;
    }
    if (before > 0) return;
    watched.begin({
      ...{ key: 'checkpoint', type: 'checkpointFailed', priority: 0, action: 'makeCheckpoint' },
      what: `a checkpoint failed: ${reason}`,
      isGone: () => this.#checkpointFailures === 0,
    });
  }

  /** `reasons` why this node should not lead while it does; empty: it does not, or may. */
  onFitness(reasons: readonly string[]): void {
    const { watched } = this.#parts;
    const isUnfit = reasons.length > 0;
    if (isUnfit === this.#isUnfitLeader) return;
    this.#isUnfitLeader = isUnfit;
    if (!isUnfit) {
      watched.end('leadership');
      return;
    }
    watched.begin({
      ...{ key: 'leadership', type: 'unfitLeader', priority: 1, action: 'handOver' },
      what: `this node leads and should not: ${reasons.join(', ')}`,
      isGone: () => !this.#isUnfitLeader,
    });
  }

  onGraph({ kind, path, reason, shard, uid }: GraphEvent): void {
    const { watched } = this.#parts;
    const key = `graph ${uid}/${shard}`;
    switch (kind) {
      case 'quarantined':
        this.#badGraphs.add(key);
        watched.begin({
          ...{ key, type: 'graphDamaged', priority: 2, action: 'rebuildGraph' },
          what: `${path ?? key}: ${reason}`,
          isGone: () => !this.#badGraphs.has(key),
        });
        return;
      case 'loaded':
      case 'rebuilt':
        if (!this.#badGraphs.delete(key)) return;
        watched.end(key, { how: kind === 'loaded' ? 'an older one is used' : 'built from rows' });
        return;
      case 'saved':
      case 'saveFailed':
      case 'outdated':
      case 'rebuilding':
        return;
    }
  }

  onGraphAge(lane: number, facts: LaneGraphFacts): void {
    const { watched } = this.#parts;
    const key = `graphs of lane ${lane}`;
    const isAged = facts.rebuildingCount > 0;
    if (isAged === this.#agedLanes.has(lane)) return;
    if (!isAged) {
      this.#agedLanes.delete(lane);
      const { rebuiltForDeadRowsCount, rebuiltForRecallCount } = facts;
      watched.end(key, { rebuiltForDeadRowsCount, rebuiltForRecallCount });
      return;
    }
    this.#agedLanes.add(lane);
    watched.begin({
      ...{ key, type: 'graphAged', priority: 3, action: 'replaceGraph' },
      what: `${facts.rebuildingCount} graphs have too many dead rows or miss too much`,
      isGone: () => !this.#agedLanes.has(lane),
    });
  }

  #laneLost(lane: number, loss: LaneLossCause, why: string): void {
    const [type, priority] = LANE_TYPES[loss];
    const cause: WatchedCause = {
      ...{ key: `lane ${lane}`, type, priority, action: 'restartLane', what: why },
      isGone: () => this.#parts.lanes().some((one) => one.lane === lane && one.state === 'up'),
    };
    this.#lanes.set(lane, cause);
    this.#parts.watched.begin(cause);
  }
}
