/**
 * Checkpoints of one lane, one at a time: every shard is captured at once, between two entries;
 * the files are written in steps. A written one counts only when the node says that its root is
 * durable: until then its segments must stay in memory, because the files of a failed one are
 * removed.
 */
import type { LogIndex } from '@holdfast/base';
import { assert, HoldfastError, must } from '@holdfast/base';
import type { Steps } from '@holdfast/storage';
import type { CapturedShard, CheckpointPlace } from '../segment/checkpoint-writer.ts';
import { captureShard, writeCapturedShard } from '../segment/checkpoint-writer.ts';
import type { ShardManifestReference } from '../tasks.ts';
import type { Shard } from './shard.ts';

export interface WrittenCheckpoint {
  readonly appliedIndex: LogIndex;
  readonly manifests: readonly ShardManifestReference[];
}

interface Checkpoint {
  readonly id: string;
  readonly appliedIndex: LogIndex;
  readonly captured: readonly CapturedShard[];
  readonly steps: Steps<readonly ShardManifestReference[]>;
}

export class LaneCheckpoints {
  #underWay: Checkpoint | null = null;
  #written: Checkpoint | null = null;
  #isAbandoned = false;

  /** True until `step` has given or thrown an end. */
  get isBusy(): boolean {
    return this.#underWay !== null || this.#isAbandoned;
  }

  begin(place: CheckpointPlace, shards: Iterable<Shard>, appliedIndex: LogIndex, id: string): void {
    assert(!this.isBusy, 'one checkpoint at a time', { id });
    const captured = [...shards].map((shard) => captureShard(shard, appliedIndex));
    this.#underWay = { id, appliedIndex, captured, steps: writeAll(place, captured, id) };
  }

  /** What was written when all is; null when there is more to do. @throws HoldfastError FILE_IO */
  step(): WrittenCheckpoint | null {
    if (this.#isAbandoned) {
      this.#isAbandoned = false;
      throw abandoned();
    }
    const checkpoint = must(this.#underWay, 'a checkpoint is under way');
    // Whatever it throws, it has ended then.
    this.#underWay = null;
    const step = checkpoint.steps.next();
    if (step.done === true) {
      this.#written = checkpoint;
      return { appliedIndex: checkpoint.appliedIndex, manifests: step.value };
    }
    this.#underWay = checkpoint;
    return null;
  }

  /** Nothing of what is under way or was written counts any more; the next `step` says so. */
  abandon(): void {
    this.#written = null;
    if (this.#underWay === null) return;
    this.#underWay.steps.return([]);
    this.#underWay = null;
    this.#isAbandoned = true;
  }

  /** A durable root names its manifests: its segments are safe without memory. False: unknown. */
  becameDurable(id: string): boolean {
    if (this.#written?.id !== id) return false;
    for (const { segments } of this.#written.captured)
      for (const { segment } of segments) segment.isDurable = true;
    this.#written = null;
    return true;
  }
}

function* writeAll(
  place: CheckpointPlace,
  captured: readonly CapturedShard[],
  checkpointId: string,
): Steps<readonly ShardManifestReference[]> {
  const manifests: ShardManifestReference[] = [];
  for (const shard of captured)
    manifests.push(yield* writeCapturedShard(place, shard, checkpointId));
  return manifests;
}

const abandoned = (): HoldfastError =>
  new HoldfastError(
    'SHUTTING_DOWN',
    'The lane was closed or opened anew while it wrote a checkpoint; nothing of it counts.',
  );
