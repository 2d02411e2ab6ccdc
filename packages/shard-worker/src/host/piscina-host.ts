/** ShardHost with one thread per lane: the production host. Threads start in the constructor. */
import type { HoldfastError } from '@holdfast/base';
import { must } from '@holdfast/base';
import { Lane } from './lane.ts';
import { LaneFanOut } from './lane-fan-out.ts';

export interface PiscinaHostOptions {
  readonly dataDirectory: string;
  readonly laneCount: number;
  /**
   * Told when a lane's thread dies between tasks. Later calls reject either way, because the thread
   * that replaces it is empty; this is for stopping the node at once.
   */
  readonly onLaneFailure?: (error: HoldfastError) => void;
}

export class PiscinaHost extends LaneFanOut {
  readonly #lanes: readonly Lane[];

  constructor(options: PiscinaHostOptions) {
    const onFailure = options.onLaneFailure ?? (() => {});
    const lanes = Array.from(
      { length: options.laneCount },
      (_, i) => new Lane(`lane ${i}`, onFailure),
    );
    super(lanes, options.dataDirectory);
    this.#lanes = lanes;
  }

  /** For tests: ends a lane's thread as a crash would. Only while no graph is being built. */
  terminateLane(lane: number): Promise<void> {
    return must(this.#lanes[lane], 'no such lane').terminateThread();
  }
}
