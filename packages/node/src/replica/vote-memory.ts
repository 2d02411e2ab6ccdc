/**
 * What the lanes decided about conditional batches that span several of them. A lane that is
 * brought back from the log cannot ask the others again: they have gone on. So what they refused is
 * remembered until a checkpoint covers it.
 */
import type { LogIndex } from '@holdfast/base';
import { logIndex } from '@holdfast/base';

/** About 10 MB. A group that refuses more between two checkpoints loses only this way back. */
const REFUSAL_COUNT_MAX = 200_000;

export class VoteMemory {
  /** Ascending: a set keeps the order of the log. */
  readonly #refused = new Set<LogIndex>();
  /** Up to here some may be forgotten. */
  #forgottenThrough: LogIndex;

  /** What was decided up to `index` is not known here. */
  constructor(index: LogIndex) {
    this.#forgottenThrough = index;
  }

  noteRefused(index: LogIndex): void {
    this.#refused.add(index);
    if (this.#refused.size <= REFUSAL_COUNT_MAX) return;
    const [oldest = index] = this.#refused;
    this.#refused.delete(oldest);
    this.#forgottenThrough = oldest;
  }

  /** True when every decision after `index` is still known. */
  knowsAfter(index: LogIndex): boolean {
    return this.#forgottenThrough <= index;
  }

  wasRefused(index: LogIndex): boolean {
    return this.#refused.has(index);
  }

  /** A checkpoint covers them. */
  forgetThrough(index: LogIndex): void {
    for (const each of this.#refused) {
      if (each > index) break;
      this.#refused.delete(each);
    }
    this.#forgottenThrough = logIndex(Math.max(this.#forgottenThrough, index));
  }
}
