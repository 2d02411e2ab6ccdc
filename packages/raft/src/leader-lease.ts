/**
 * What a leader remembers of its lease within one leadership: when each heartbeat was sent, and
 * from which one on answers count. Plain bookkeeping; lease.ts has the rules.
 *
 * Heartbeats of one tick share a number and a time, that of the tick: earlier than they really
 * left, which only makes the lease shorter.
 */
import type { LogIndex } from '@holdfast/base';

export class LeaderLease {
  readonly #beatCountMax: number;
  /** Ring by beat; a time older than the ring cannot carry a lease any more. */
  readonly #sentAtMs: number[] = [];
  #newestBeat = 0;
  #newestSentAtMs: number | null = null;
  #floorBeat = 0;
  #floorIndex = 0 as LogIndex;

  constructor(beatCountMax: number) {
    this.#beatCountMax = beatCountMax;
  }

  get newestBeat(): number {
    return this.#newestBeat;
  }

  /** No read is served before this index is committed. */
  get floorIndex(): LogIndex {
    return this.#floorIndex;
  }

  /** The number for heartbeats that leave now. */
  beatAt(nowMs: number): number {
    if (nowMs === this.#newestSentAtMs) return this.#newestBeat;
    this.#newestBeat += 1;
    this.#newestSentAtMs = nowMs;
    this.#sentAtMs[this.#newestBeat % this.#beatCountMax] = nowMs;
    return this.#newestBeat;
  }

  /** When `beat` was sent, or null when its answers count no more. */
  sentAtMs(beat: number): number | null {
    const oldest = Math.max(this.#floorBeat, this.#newestBeat - this.#beatCountMax) + 1;
    if (beat < oldest || beat > this.#newestBeat) return null;
    return this.#sentAtMs[beat % this.#beatCountMax] ?? null;
  }

  /** Answers to what was sent so far count no more. */
  drop(): void {
    this.#floorBeat = this.#newestBeat;
    this.#newestSentAtMs = null;
  }

  /** The lease is not taken again before `index` is committed. */
  holdBackUntil(index: LogIndex): void {
    this.#floorIndex = index;
  }
}
