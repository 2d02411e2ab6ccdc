/**
 * Time in a storm: one true time, and a clock per replica that runs too fast or too slow within the
 * bound that leases allow for. A replica that is stopped sees no tick; its clock goes on.
 */
import type { NodeId, Random } from '@holdfast/base';
import type { CoreCluster } from './core-cluster.ts';

const TICK_INTERVAL_MS = 20;
/** A tick of one replica alone: somewhere between two of the others. */
const ODD_TICK_MS = 3;

export class StormTime {
  readonly #cluster: CoreCluster;
  /** Speed of each clock; 1 is true. */
  readonly #speeds = new Map<NodeId, number>();
  #trueMs = 0;

  constructor(cluster: CoreCluster, random: Random, driftPpm: number) {
    this.#cluster = cluster;
    for (const id of cluster.ids) {
      // Mostly the extremes: that is where a bound breaks.
      const share = [-1, 1, -1, 1, random.nextFloat()][random.nextBelow(5)]!;
      this.#speeds.set(id, 1 + (share * driftPpm) / 1_000_000);
    }
  }

  clockMs(id: NodeId): number {
    return this.#trueMs * (this.#speeds.get(id) ?? 1);
  }

  /** One tick for all of `ids`. */
  tickAll(ids: readonly NodeId[]): void {
    this.#trueMs += TICK_INTERVAL_MS;
    for (const id of ids) this.#cluster.tickAt(id, this.clockMs(id));
  }

  /** One tick for `id`; hardly any time passes. */
  tickOne(id: NodeId): void {
    this.#trueMs += ODD_TICK_MS;
    this.#cluster.tickAt(id, this.clockMs(id));
  }
}
