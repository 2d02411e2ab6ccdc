/** Everything a lane does about its graphs beside filling them: saving, taking back, probing. */
import type { FileSystem } from '@holdfast/storage';
import type { Shard } from '../engine/shard.ts';
import type { GraphFactory } from '../graph/graph.ts';
import { ShardGraphHealth } from '../graph/graph-health.ts';
import type { GraphStats } from '../tasks.ts';
import { GraphEventLog } from './events.ts';
import type { GraphCacheOptions } from './graph-cache.ts';
import { GraphCache } from './graph-cache.ts';

export interface LaneGraphsOptions {
  readonly fs: FileSystem;
  readonly graphFactory: GraphFactory | null;
  readonly graphCache?: GraphCacheOptions | null;
}

export class LaneGraphs {
  readonly #log = new GraphEventLog();
  readonly #cache: GraphCache | null;
  readonly #health = new WeakMap<Shard, ShardGraphHealth>();
  #nextProbed = 0;

  constructor(options: LaneGraphsOptions, dataDirectory: string) {
    const { fs, graphFactory: factory, graphCache } = options;
    const isOn = factory !== null && graphCache !== undefined && graphCache !== null;
    this.#cache = isOn
      ? new GraphCache({ fs, dataDirectory, factory, options: graphCache, log: this.#log })
      : null;
  }

  get hasWork(): boolean {
    return this.#cache?.hasWork ?? false;
  }

  restore(shards: Iterable<Shard>): void {
    for (const shard of shards) this.#cache?.restore(shard);
  }

  checkpointed(shards: Iterable<Shard>, logIndex: number): void {
    this.#cache?.checkpointed(shards, logIndex);
  }

  step(): void {
    this.#cache?.step();
  }

  /** They are gone: nothing of them is saved any more. */
  forget(shards: Iterable<Shard>): void {
    for (const shard of shards) this.#cache?.forget(shard);
  }

  close(): void {
    this.#cache?.close();
  }

  /** One slice for one shard, the shards in turn; true when each of them got its verdict. */
  probe(shards: readonly Shard[]): boolean {
    const shard = shards[this.#nextProbed];
    if (shard === undefined) {
      this.#nextProbed = 0;
      return true;
    }
    let health = this.#health.get(shard);
    if (health === undefined) {
      health = new ShardGraphHealth(shard);
      this.#health.set(shard, health);
    }
    if (health.slice()) this.#nextProbed += 1;
    return false;
  }

  stats(shards: Iterable<Shard>): GraphStats {
    this.#cache?.noteRebuilt();
    const builds = new Set<string>();
    const total = { nodes: 0, dead: 0, rebuilding: 0, forDead: 0, forRecall: 0 };
    let recallLowest: number | null = null;
    for (const shard of shards) {
      const { graph, isRebuilding, rebuildCounts } = shard.queue;
      if (graph !== null) builds.add(`${graph.engine} ${graph.precision}`);
      total.nodes += graph?.rowCount ?? 0;
      total.dead += graph?.deletedCount ?? 0;
      total.rebuilding += isRebuilding ? 1 : 0;
      total.forDead += rebuildCounts.deadRows;
      total.forRecall += rebuildCounts.recall;
      const recall = this.#health.get(shard)?.recall ?? null;
      if (recall !== null) recallLowest = Math.min(recall, recallLowest ?? 1);
    }
    return {
      nodeCount: total.nodes,
      deadNodeCount: total.dead,
      builds: [...builds].sort(),
      rebuildingCount: total.rebuilding,
      rebuiltForDeadRowsCount: total.forDead,
      rebuiltForRecallCount: total.forRecall,
      recallLowest,
      savedAgeMs: this.#cache?.ageMs ?? null,
      savedCount: this.#log.count('saved'),
      saveFailedCount: this.#log.count('saveFailed'),
      loadedCount: this.#log.count('loaded'),
      outdatedCount: this.#log.count('outdated'),
      quarantinedCount: this.#log.count('quarantined'),
      rebuildingAfterLoadCount: this.#log.count('rebuilding'),
      events: this.#log.recent(),
    };
  }
}
