/**
 * Collects the reads of one turn and posts them to the lanes as one task each: many searches cost
 * one message. All lanes see the same log index, and the answers are checked for it.
 */
import type { LaneRead, ShardHost } from '@holdfast/shard-worker';
import type { Applier } from '../replica/applier.ts';
import type { Defer } from '../replica/driver.ts';
import type { LaneAnswers } from './scatter-gather.ts';
import { ReadBatch } from './scatter-gather.ts';

export class LaneReader {
  readonly #host: ShardHost;
  readonly #applier: Applier;
  readonly #defer: Defer;
  #batch: ReadBatch;
  #isScheduled = false;

  constructor(host: ShardHost, applier: Applier, defer: Defer) {
    this.#host = host;
    this.#applier = applier;
    this.#defer = defer;
    this.#batch = new ReadBatch(host);
  }

  /** The definition must be read from the catalogue in the turn of this call. */
  read(lanes: readonly number[], read: (lane: number) => LaneRead): Promise<LaneAnswers> {
    const answers = this.#batch.add(lanes, read);
    if (!this.#isScheduled) {
      this.#isScheduled = true;
      this.#defer(() => this.#post());
    }
    return answers;
  }

  #post(): void {
    this.#isScheduled = false;
    const batch = this.#batch;
    this.#batch = new ReadBatch(this.#host);
    const { index, results } = this.#applier.read(batch.readsPerLane);
    results.then(
      (perLane) => batch.settle(index, perLane),
      (error: unknown) => batch.reject(error),
    );
  }
}
