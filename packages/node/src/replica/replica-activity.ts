/** A picture of what a replica is busy with, for pages and metrics. Never decides anything. */
import type { LaneHealth } from '@holdfast/shard-worker';
import type { GroupLog } from '@holdfast/storage';
import type { RaftCounts, ReplicaActivity } from '../service-api.ts';
import type { CheckpointRunner } from './checkpoint-runner.ts';
import type { Checkpointer } from './checkpointer.ts';
import type { Snapshots } from './snapshots.ts';

export interface ActivitySources {
  readonly log: GroupLog;
  readonly lanes: readonly LaneHealth[];
  readonly raft: RaftCounts;
  readonly checkpointer: Checkpointer;
  readonly checkpoints: CheckpointRunner;
  readonly snapshots: Snapshots;
}

export function activityOf(sources: ActivitySources): ReplicaActivity {
  const { log, lanes, raft, checkpointer, checkpoints, snapshots } = sources;
  const { counters, outgoing, incoming, pinnedIndex } = snapshots.status();
  return {
    raft,
    lanes,
    log: {
      firstIndex: log.firstIndex(),
      sizeBytes: log.sizeBytes,
      heldBy: checkpointer.heldBy,
      pinnedIndex: pinnedIndex ?? 0,
    },
    checkpoint: {
      index: checkpointer.root?.meta.index ?? 0,
      failuresInRow: checkpoints.failuresInRow,
      writes: checkpoints.writes,
      durationMs: checkpoints.newest?.durationMs ?? 0,
      sizeBytes: checkpoints.newest?.sizeBytes ?? 0,
    },
    snapshots: { ...counters, outgoing, incoming },
  };
}
