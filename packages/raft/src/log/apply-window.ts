/**
 * How far the state machine was asked to apply and how far it has: applied <= applying, and the
 * bytes between the two stay under a limit (one batch may overshoot it, else nothing would move),
 * and so does their number: in memory a small entry is many times its bytes.
 */
import type { Entry, LogIndex } from '@holdfast/base';
import { assert, entrySizeBytes } from '@holdfast/base';

/** As objects some 600 bytes each: 10 MB. Several times what the state machine takes at once. */
const APPLYING_ENTRY_COUNT_MAX = 16_384;

interface Batch {
  readonly lastIndex: LogIndex;
  readonly sizeBytes: number;
}

export class ApplyWindow {
  readonly #sizeBytesMax: number;
  #applied: LogIndex;
  #applying: LogIndex;
  #batches: Batch[] = [];
  #sizeBytes = 0;

  constructor(applied: LogIndex, sizeBytesMax: number) {
    this.#applied = applied;
    this.#applying = applied;
    this.#sizeBytesMax = sizeBytesMax;
  }

  get applied(): LogIndex {
    return this.#applied;
  }

  get applying(): LogIndex {
    return this.#applying;
  }

  get hasRoom(): boolean {
    return this.#sizeBytes < this.#sizeBytesMax && this.roomEntryCount > 0;
  }

  get roomEntryCount(): number {
    return Math.max(0, APPLYING_ENTRY_COUNT_MAX - (this.#applying - this.#applied));
  }

  get roomBytes(): number {
    return Math.max(0, this.#sizeBytesMax - this.#sizeBytes);
  }

  start(entries: readonly Entry[]): void {
    let sizeBytes = 0;
    for (const entry of entries) sizeBytes += entrySizeBytes(entry);
    const lastIndex = (this.#applying + entries.length) as LogIndex;
    assert(entries.at(-1)?.index === lastIndex, 'apply: batch leaves a gap', { lastIndex });
    this.#push({ lastIndex, sizeBytes });
  }

  startSnapshot(index: LogIndex): void {
    assert(index > this.#applying, 'apply: snapshot lies behind', { index });
    this.#push({ lastIndex: index, sizeBytes: 0 });
  }

  /** Reports may be merged and repeated; a part of a batch frees nothing until all is done. */
  finish(index: LogIndex): void {
    assert(index <= this.#applying, 'apply: reported an index that was never handed out', {
      index,
      applying: this.#applying,
    });
    if (index <= this.#applied) return;
    this.#applied = index;
    let doneCount = 0;
    for (const batch of this.#batches) {
      if (batch.lastIndex > index) break;
      this.#sizeBytes -= batch.sizeBytes;
      doneCount += 1;
    }
    if (doneCount > 0) this.#batches.splice(0, doneCount);
  }

  #push(batch: Batch): void {
    this.#applying = batch.lastIndex;
    this.#batches.push(batch);
    this.#sizeBytes += batch.sizeBytes;
  }
}
