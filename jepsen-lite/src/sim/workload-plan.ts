/**
 * The plan of a run in which a workload plays in the simulator: what the seed draws for any run,
 * with as many nodes as were asked for, and with sizes for workloads that write a hundred times as
 * much as the simulator's own clients. `none`: the same machines, and nothing happens to them.
 */
import { drawPlan } from './draw-plan.ts';
import type { SimPlan } from './plan.ts';

export interface WorkloadPlanOptions {
  readonly seed: number;
  readonly nodeCount: number;
  readonly durationMs: number;
  readonly hasFaults: boolean;
}

/** A node takes 64 connections, and a worker has two with each. */
export const SIM_WORKER_COUNT_MAX = 30;

const MIB = 1024 * 1024;

/** A snapshot of what a minute of load leaves must get through in seconds, also beside the load. */
const SNAPSHOT_BYTES_PER_SEC_MIN = MIB;
const SNAPSHOT_LOG_HOLD_SIZE_BYTES_MIN = 4 * MIB;
const SNAPSHOT_CHUNK_SIZE_BYTES_MIN = 8 * 1024;
/** Segments stay a dozen per shard: each costs work at every search and checkpoint. */
const SEAL_ROW_COUNT_MIN = 200;
const CHECKPOINT_INTERVAL_MS_MIN = 1_000;
/** Small enough that a run fills many, large enough for the largest batch. */
const WAL_FILE_SIZE_BYTES_MIN = 256 * 1024;

const NO_LOSS = { lossRate: 0, duplicateRate: 0, reorderRate: 0 } as const;

/** Pure. */
export function workloadPlan(options: WorkloadPlanOptions): SimPlan {
  const { durationMs, hasFaults, nodeCount, seed } = options;
  const drawn = drawPlan(seed, durationMs);
  const perNode = <Item>(items: readonly Item[]): readonly Item[] =>
    Array.from({ length: nodeCount }, (_unused, i) => items[i % items.length]!);
  const { limits } = drawn;
  return {
    ...drawn,
    nodeCount,
    laneCounts: perNode(drawn.laneCounts),
    driftPpm: perNode(drawn.driftPpm),
    weather: hasFaults ? drawn.weather : { ...drawn.weather, ...NO_LOSS },
    checkpointIntervalMs: Math.max(drawn.checkpointIntervalMs, CHECKPOINT_INTERVAL_MS_MIN),
    walFileSizeBytes: Math.max(drawn.walFileSizeBytes, WAL_FILE_SIZE_BYTES_MIN),
    snapshotChunkSizeBytes: Math.max(drawn.snapshotChunkSizeBytes, SNAPSHOT_CHUNK_SIZE_BYTES_MIN),
    limits: {
      ...limits,
      snapshotTransferBytesPerSecMax: Math.max(
        limits.snapshotTransferBytesPerSecMax,
        SNAPSHOT_BYTES_PER_SEC_MIN,
      ),
      snapshotLogHoldSizeBytesMax: Math.max(
        limits.snapshotLogHoldSizeBytesMax,
        SNAPSHOT_LOG_HOLD_SIZE_BYTES_MIN,
      ),
      sealRowCount: Math.max(limits.sealRowCount, SEAL_ROW_COUNT_MIN),
    },
    // What is checked of a store is checked by the simulator's own runs.
    backup: null,
    startsWithLeases: hasFaults && drawn.startsWithLeases,
    faults: hasFaults ? drawn.faults : [],
  };
}
