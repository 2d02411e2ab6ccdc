/**
 * ShardHost over any kind of lane: posts each call's tasks to the lanes concerned in one turn and
 * gathers the replies. Ordering is the ports': one FIFO stream per lane.
 */
import type { LogIndex } from '@holdfast/base';
import { assert, HoldfastError } from '@holdfast/base';
import { CONFLICTS_MAX } from '../engine/apply.ts';
import { LOAD_PROGRESS_CELL_COUNT, LOADED_CELL, TOTAL_CELL } from '../engine/load-progress.ts';
import { damagedCheckpoint, damagesOf } from '../segment/file-damage.ts';
import type {
  Conflict,
  LaneRead,
  LaneReadResult,
  LaneStats,
  ShardDigest,
  ShardManifestReference,
  ShardReply,
  ShardTask,
  WriteOutcome,
} from '../tasks.ts';
import type { LaneHealth } from './lane-events.ts';
import { laneOfShard } from './lane-of.ts';
import type { LaneReplay } from './lane-replay.ts';
import type {
  HostApplyBatch,
  LoadProgress,
  ShardHost,
  ShardHostOpenOptions,
} from './shard-host.ts';

/** One lane: a FIFO stream of tasks. */
export interface LanePort {
  /** Rejects when the lane is gone; disk trouble and refusals come as `failed` replies. */
  post(task: ShardTask): Promise<ShardReply>;
  /** @throws HoldfastError OVERLOADED when one more read task would be over the lane's limit */
  assertRoomForRead(): void;
  close(): Promise<void>;
}

type Reply<Kind extends ShardReply['kind']> = Extract<ShardReply, { readonly kind: Kind }>;

export class LaneFanOut implements ShardHost {
  readonly #ports: readonly LanePort[];
  readonly #dataDirectory: string;
  #epoch = 0;
  #isClosed = false;
  #progress: readonly Int32Array[] = [];

  constructor(ports: readonly LanePort[], dataDirectory: string) {
    assert(ports.length >= 1, 'a host has at least one lane');
    this.#ports = ports;
    this.#dataDirectory = dataDirectory;
  }

  get laneCount(): number {
    return this.#ports.length;
  }

  laneOf(uid: number, shard: number): number {
    return laneOfShard(uid, shard, this.#ports.length);
  }

  async open(options: ShardHostOpenOptions): Promise<void> {
    this.#epoch += 1;
    const { appliedIndex, definitions, manifests } = options;
    const dataDirectory = this.#dataDirectory;
    const laneCount = this.#ports.length;
    const progress = this.#ports.map(newProgressCells);
    this.#progress = progress;
    const opening = this.#postEach('opened', (laneIndex) => ({
      kind: 'open',
      epoch: this.#epoch,
      dataDirectory,
      laneIndex,
      laneCount,
      appliedIndex,
      definitions,
      manifests: manifests.filter(({ uid, shard }) => this.laneOf(uid, shard) === laneIndex),
      progress: progress[laneIndex]!,
    }));
    const settled = await Promise.allSettled(opening);
    const failures = settled.flatMap((result) =>
      result.status === 'rejected' ? [result.reason as unknown] : [],
    );
    // One look at a damaged checkpoint must tell everything, of every lane.
    const damages = failures.flatMap(damagesOf);
    const other = failures.find((error) => damagesOf(error).length === 0);
    if (other !== undefined) throw other;
    if (damages.length > 0) throw damagedCheckpoint(damages);
  }

  loadProgress(): LoadProgress {
    const total = { loadedRowCount: 0, rowCount: 0 };
    for (const cells of this.#progress) {
      total.loadedRowCount += Atomics.load(cells, LOADED_CELL);
      total.rowCount += Atomics.load(cells, TOTAL_CELL);
    }
    return total;
  }

  async apply(batch: HostApplyBatch): Promise<readonly (readonly WriteOutcome[])[]> {
    const { fromIndex, toIndex, perLane } = batch;
    assert(perLane.length === this.#ports.length, 'commands come per lane');
    const replies = await this.#postAll('applied', (lane) => ({
      kind: 'apply',
      epoch: this.#epoch,
      fromIndex,
      toIndex,
      commands: perLane[lane]!,
    }));
    for (const reply of replies) assertIndex(reply, toIndex);
    return replies.map((reply) => reply.outcomes);
  }

  async vote(
    expectedIndex: LogIndex,
    uid: number,
    opsPerLane: readonly (Uint8Array | null)[],
  ): Promise<readonly Conflict[]> {
    assert(opsPerLane.length === this.#ports.length, 'ops come per lane');
    const epoch = this.#epoch;
    const replies = await this.#postAll('voted', (lane) => {
      const ops = opsPerLane[lane]!;
      return ops === null ? null : { kind: 'vote', epoch, expectedIndex, uid, ops };
    });
    for (const reply of replies) assertIndex(reply, expectedIndex);
    return replies.flatMap((reply) => reply.conflicts).slice(0, CONFLICTS_MAX);
  }

  async read(
    expectedIndex: LogIndex,
    readsPerLane: readonly (readonly LaneRead[])[],
  ): Promise<readonly (readonly LaneReadResult[])[]> {
    assert(readsPerLane.length === this.#ports.length, 'reads come per lane');
    // All or none: a lane that refuses must not leave the others working for nothing.
    readsPerLane.forEach((reads, lane) => {
      if (reads.length > 0) this.#ports[lane]!.assertRoomForRead();
    });
    const epoch = this.#epoch;
    const results: (readonly LaneReadResult[])[] = readsPerLane.map(() => []);
    const posted = readsPerLane.flatMap((reads, lane) => {
      if (reads.length === 0) return [];
      const task = { kind: 'read', epoch, expectedIndex, reads } as const;
      return [{ lane, reply: orUnavailable(this.#post(lane, 'read', task)) }];
    });
    const replies = await gather(posted.map(({ reply }) => reply));
    replies.forEach((reply, i) => {
      const { lane } = posted[i]!;
      if (reply instanceof HoldfastError) results[lane] = refuseEach(readsPerLane[lane]!, reply);
      else {
        assertIndex(reply, expectedIndex);
        results[lane] = reply.results;
      }
    });
    return results;
  }

  async checkpoint(
    expectedIndex: LogIndex,
    checkpointId: string,
  ): Promise<readonly ShardManifestReference[]> {
    const epoch = this.#epoch;
    const replies = await this.#postAll('checkpointed', () => ({
      kind: 'checkpoint',
      epoch,
      expectedIndex,
      checkpointId,
    }));
    return replies.flatMap((reply) => reply.manifests).sort(byShard);
  }

  async checkpointDurable(checkpointId: string): Promise<void> {
    const epoch = this.#epoch;
    await this.#postAll('noted', () => ({ kind: 'checkpointDurable', epoch, checkpointId }));
  }

  async digests(expectedIndex: LogIndex): Promise<readonly ShardDigest[]> {
    const epoch = this.#epoch;
    const replies = await this.#postAll('digests', () => ({
      kind: 'digest',
      epoch,
      expectedIndex,
    }));
    return replies.flatMap((reply) => reply.digests).sort(byShard);
  }

  async stats(): Promise<readonly LaneStats[]> {
    const epoch = this.#epoch;
    const replies = await this.#postAll('stats', () => ({ kind: 'stats', epoch }));
    return replies.map((reply) => reply.stats);
  }

  useReplay(_replay: LaneReplay): void {}

  health(): readonly LaneHealth[] {
    return [];
  }

  async settle(): Promise<void> {
    const epoch = this.#epoch;
    await this.#postAll('settled', () => ({ kind: 'settle', epoch }));
  }

  /**
   * Everything posted before is answered first. Safe to call twice. A process should close its host
   * before it exits: a thread that is ended inside the native graph library takes the process down
   * with an abort (loses nothing, looks bad).
   */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const task = { kind: 'close', epoch: this.#epoch } as const;
    // An engine that has failed answers `failed`: it holds nothing and builds nothing either way.
    await Promise.allSettled(this.#ports.map((port) => port.post(task)));
    await gather(this.#ports.map((port) => port.close()));
  }

  #postAll<Kind extends ShardReply['kind']>(
    kind: Kind,
    taskOfLane: (lane: number) => ShardTask | null,
  ): Promise<readonly Reply<Kind>[]> {
    return gather(this.#postEach(kind, taskOfLane));
  }

  #postEach<Kind extends ShardReply['kind']>(
    kind: Kind,
    taskOfLane: (lane: number) => ShardTask | null,
  ): Promise<Reply<Kind>>[] {
    const replies: Promise<Reply<Kind>>[] = [];
    for (let lane = 0; lane < this.#ports.length; lane++) {
      const task = taskOfLane(lane);
      if (task !== null) replies.push(this.#post(lane, kind, task));
    }
    return replies;
  }

  async #post<Kind extends ShardReply['kind']>(
    lane: number,
    kind: Kind,
    task: ShardTask,
  ): Promise<Reply<Kind>> {
    if (this.#isClosed)
      throw new HoldfastError('SHUTTING_DOWN', 'The lanes are closed; use another node.');
    const reply = await this.#ports[lane]!.post(task);
    if (reply.kind === 'failed') throw HoldfastError.fromBody(reply.error);
    assert(reply.kind === kind, 'the reply answers another task', { lane, got: reply.kind, kind });
    assert(reply.epoch === task.epoch, 'the reply is of another epoch', { lane });
    return reply as Reply<Kind>;
  }
}

const newProgressCells = (): Int32Array =>
  new Int32Array(new SharedArrayBuffer(LOAD_PROGRESS_CELL_COUNT * 4));

/** Waits for all, then fails with the first failure: nothing is left running unobserved. */
async function gather<Value>(promises: readonly Promise<Value>[]): Promise<Value[]> {
  const settled = await Promise.allSettled(promises);
  return settled.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
}

/** A lane that is away fails the reads that need it, not those of others in the same turn. */
function orUnavailable<Value>(reply: Promise<Value>): Promise<Value | HoldfastError> {
  return reply.catch((thrown: unknown) => {
    if (thrown instanceof HoldfastError && thrown.code === 'SHARD_UNAVAILABLE') return thrown;
    throw thrown;
  });
}

function refuseEach(reads: readonly LaneRead[], refusal: HoldfastError): LaneReadResult[] {
  const error = refusal.toBody();
  return reads.map(() => ({ kind: 'error', error }));
}

function assertIndex(reply: ShardReply, index: LogIndex): void {
  assert(reply.appliedIndex === index, 'lanes must answer at one index', {
    appliedIndex: reply.appliedIndex,
    index,
  });
}

/** By collection, then shard: independent of lanes. */
function byShard(
  left: { readonly uid: number; readonly shard: number },
  right: { readonly uid: number; readonly shard: number },
): number {
  return left.uid === right.uid ? left.shard - right.shard : left.uid - right.uid;
}
