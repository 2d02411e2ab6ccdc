/**
 * How long the oldest append has been waiting for the disk, in ticks. Ticks that a stopped process
 * missed do not count: its disk was not given a chance to answer.
 */
interface Handed {
  seq: number;
  readonly tick: number;
}

export class DiskWatch {
  /** Oldest first, one per tick at most; bounded by the ticks of the longest stall. */
  #waiting: Handed[] = [];

  handedOut(seq: number, tick: number): void {
    const newest = this.#waiting.at(-1);
    if (newest?.tick === tick) newest.seq = seq;
    else this.#waiting.push({ seq, tick });
  }

  durable(seq: number): void {
    let doneCount = 0;
    while (doneCount < this.#waiting.length && this.#waiting[doneCount]!.seq <= seq) doneCount += 1;
    if (doneCount > 0) this.#waiting.splice(0, doneCount);
  }

  /** 0 when nothing waits. */
  waitingTicks(tick: number): number {
    const oldest = this.#waiting[0];
    return oldest === undefined ? 0 : tick - oldest.tick;
  }
}
