export type { DistanceKind } from './distance/vector-store.ts';
export { BLOCK_ROW_COUNT, VectorStore } from './distance/vector-store.ts';
export { CONFLICTS_MAX } from './engine/apply.ts';
export type { LaneEngineOptions } from './engine/lane-engine.ts';
export { LaneEngine } from './engine/lane-engine.ts';
export type { LayerCounts, LayerLimits, SearchLayer } from './engine/layers.ts';
export { LAYER_LIMITS_DEFAULT, SEARCH_LAYERS } from './engine/layers.ts';
export { SCROLL_SIZE_BYTES_MAX } from './engine/lowest-rows.ts';
export type {
  Graph,
  GraphBuild,
  GraphFactory,
  GraphOptions,
  NativeGraphFile,
  SavedLabels,
} from './graph/graph.ts';
export type { LoadedEngines } from './graph/graph-engines.ts';
export { createGraphFactory, loadEngines, loadGraphFactory } from './graph/graph-engines.ts';
export type { GraphEvent, GraphEventKind } from './graph-cache/events.ts';
export type { GraphCachePlace } from './graph-cache/files.ts';
export { isGraphFileName } from './graph-cache/files.ts';
export type { GraphCacheOptions } from './graph-cache/graph-cache.ts';
export { GRAPH_CACHE_LIMITS } from './graph-cache/graph-cache.ts';
export { quarantineGeneration } from './graph-cache/quarantine.ts';
export type { SavedGraphFile } from './graph-cache/saved-graphs.ts';
export { listSavedGraphFiles, lookAtSavedGraph } from './graph-cache/saved-graphs.ts';
export type { GraphSidecar } from './graph-cache/sidecar.ts';
export { readSidecar } from './graph-cache/sidecar.ts';
export type { InlineHostOptions } from './host/inline-host.ts';
export { InlineHost } from './host/inline-host.ts';
export { LANE_READ_TASK_COUNT_MAX } from './host/lane.ts';
export type { LaneEvent, LaneHealth, LaneLossCause } from './host/lane-events.ts';
export { laneOfShard } from './host/lane-of.ts';
export type { PulseSample } from './host/lane-pulse.ts';
export type {
  LaneBatch,
  LaneReplay,
  LaneReplayRun,
  LaneReplayStart,
} from './host/lane-replay.ts';
export type { PiscinaHostOptions, Supervision } from './host/piscina-host.ts';
export { PiscinaHost } from './host/piscina-host.ts';
export type {
  HostApplyBatch,
  LoadProgress,
  ShardHost,
  ShardHostOpenOptions,
} from './host/shard-host.ts';
export type {
  CollectionDefinition,
  GraphChoice,
  GraphEngineName,
  GraphPrecision,
  HnswOptions,
  Metric,
  PayloadIndexDefinition,
  PayloadIndexType,
  PointId,
  PointRecord,
} from './model.ts';
export type { Filter, FilterCondition } from './payload/filter.ts';
export { comparePointIds, hashPointId, isPointId, shardOfIdHash } from './point-id.ts';
export type { PointCondition, PointOp, PointOpType } from './point-op.ts';
export {
  countPointOps,
  decodePointOps,
  encodePointOps,
  hasConditions,
  splitPointOps,
} from './point-op.ts';
export type { CheckpointFile, FileDamage } from './segment/file-damage.ts';
export { asDamage, damagedCheckpoint, damagesOf, isDamage } from './segment/file-damage.ts';
export type { RowsFileHeader } from './segment/format.ts';
export type { LoadedManifest, ShardManifest } from './segment/manifest.ts';
export { readManifest, readManifestFile } from './segment/manifest.ts';
export { parseSegmentPath, segmentPath } from './segment/paths.ts';
export type { RowDescription } from './segment/reader.ts';
export { describeRowsFile } from './segment/reader.ts';
export {
  checkpointFiles,
  manifestFiles,
  removeUnreferenced,
  verifyCheckpoint,
  verifyShardFiles,
} from './segment/references.ts';
export type { RowsInBlocks } from './segment/rows-in-blocks.ts';
export { describeRows, rowsInBlocks } from './segment/rows-in-blocks.ts';
export type {
  Conflict,
  GraphStats,
  LaneCommand,
  LaneRead,
  LaneReadResult,
  LaneStats,
  SearchHit,
  SearchPlan,
  SearchQuery,
  ShardDigest,
  ShardFilterPlan,
  ShardManifestReference,
  ShardReply,
  ShardTask,
  WalkedRows,
  WriteOutcome,
} from './tasks.ts';
