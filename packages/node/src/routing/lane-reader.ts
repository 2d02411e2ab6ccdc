/**
 * Collects the reads of one turn and posts them to the lanes as one task each: many searches cost
 * one message. All lanes see the same log index, and the answers are checked for it.
 *
 * Every read ends by its own deadline, whatever its lanes do: a lane that hangs is noticed seconds
 * later, and its reads must not wait for that. What waits is bounded by the lanes' own limit of
 * read tasks (LANE_READ_TASK_COUNT_MAX each).
 */
import type { HoldfastError, LogIndex } from '@holdfast/base';
import type { LaneRead, ShardHost } from '@holdfast/shard-worker';
import type { Applier } from '../replica/applier.ts';
import type { Defer } from '../replica/group-host.ts';
import type { LaneAnswers } from './scatter-gather.ts';
import { ReadBatch } from './scatter-gather.ts';

/**
 * Reads in one task. More save messages, but then the first answer waits for the last search, and
 * all clients go on in step instead of keeping lanes and sockets busy at once.
 */
const READS_PER_TASK_MAX = 2;

export class LaneReader {
  readonly #host: ShardHost;
  readonly #applier: Applier;
  readonly #defer: Defer;
  #batches: ReadBatch[] = [];
  /** Posted, and not answered by all of their lanes. */
  readonly #posted = new Set<ReadBatch>();

  constructor(host: ShardHost, applier: Applier, defer: Defer) {
    this.#host = host;
    this.#applier = applier;
    this.#defer = defer;
  }

  /** Log index that reads of this turn see, unless more is applied in it. */
  get index(): LogIndex {
    return this.#applier.postedIndex;
  }

  /** Reads that somebody still waits for, and tasks that lanes have not answered. */
  get counts(): { readonly reads: number; readonly tasks: number } {
    let reads = 0;
    for (const batch of this.#posted) reads += batch.pendingCount;
    return { reads, tasks: this.#posted.size };
  }

  /**
   * The definition must be read from the catalogue in the turn of this call. Rejects with
   * REQUEST_TIMEOUT when the lanes have not answered by `deadlineMs`.
   */
  read(
    lanes: readonly number[],
    deadlineMs: number,
    read: (lane: number) => LaneRead,
  ): Promise<LaneAnswers> {
    let batch = this.#batches.at(-1);
    if (batch === undefined) this.#defer(() => this.#post());
    if (batch === undefined || batch.readCount >= READS_PER_TASK_MAX) {
      batch = new ReadBatch(this.#host);
      this.#batches.push(batch);
    }
    return batch.add(lanes, deadlineMs, read);
  }

  /** Ends what is over its time. A read may be late by the pause between two calls. */
  expire(nowMs: number): void {
    for (const batch of this.#posted) batch.expire(nowMs);
  }

  /** This replica answers nobody any more. */
  abandon(error: HoldfastError): void {
    for (const batch of this.#posted) batch.reject(error);
  }

  #post(): void {
    const batches = this.#batches;
    this.#batches = [];
    for (const batch of batches) {
      const { index, results } = this.#applier.read(batch.readsPerLane);
      this.#posted.add(batch);
      results
        .then(
          (perLane) => batch.settle(index, perLane),
          (error: unknown) => batch.reject(error),
        )
        .finally(() => this.#posted.delete(batch));
    }
  }
}
