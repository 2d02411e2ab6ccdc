/** What a lane says about itself, summed over its shards. */
import type { LogIndex } from '@holdfast/base';
import type { LaneGraphs } from '../graph-cache/lane-graphs.ts';
import type { LaneStats } from '../tasks.ts';
import type { SearchLayers } from './layers.ts';
import type { Shard } from './shard.ts';

/** `busyMs` is the runner's to fill in: an engine has no clock. */
export function describeLane(
  appliedIndex: LogIndex,
  shards: readonly Shard[],
  graphs: LaneGraphs,
  layers: SearchLayers | null,
): LaneStats {
  const total = { live: 0, graph: 0, dead: 0, sizeBytes: 0 };
  const index = { sizeBytes: 0, backlog: 0, givenUp: 0 };
  for (const { rows, queue, indexes } of shards) {
    total.live += rows.liveCount;
    total.graph += queue.graphLiveCount;
    total.dead += rows.rowCount - rows.liveCount;
    total.sizeBytes += rows.vectors.sizeBytes;
    index.sizeBytes += indexes.sizeBytes;
    index.backlog += indexes.backlog;
    index.givenUp += indexes.givenUpCount;
  }
  return {
    appliedIndex,
    liveRowCount: total.live,
    tailRowCount: total.live - total.graph,
    graphRowCount: total.graph,
    deletedRowCount: total.dead,
    vectorSizeBytes: total.sizeBytes,
    payloadIndexSizeBytes: index.sizeBytes,
    payloadIndexBacklogCount: index.backlog,
    payloadIndexGivenUpCount: index.givenUp,
    busyMs: 0,
    graphs: graphs.stats(shards),
    layers: layers?.counts ?? null,
  };
}
