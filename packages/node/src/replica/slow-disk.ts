/**
 * A leader whose disk is slow is not needed for a commit, a majority of the others is enough; so
 * nothing stops, and nobody would notice. But every write then rests on fewer nodes than it should,
 * one more slow or dead disk stops them all, and what the leader serves and keeps lags behind. So
 * it goes, if others are faster: slow is a disk on which entries are durable long after a majority
 * has committed them without it. Where all disks are slow, nobody is behind anybody, and a change
 * of leaders would only cost time.
 */

export interface DiskView {
  readonly isLeader: boolean;
  readonly commitIndex: number;
  /** The own log is durable up to here. */
  readonly durableIndex: number;
}

/** Several times what a busy disk takes; an election timeout is four times as long. */
const LAG_MS_MAX = 150;
/** So long in all it has to be behind: a single hiccup passes. */
const SLOW_MS_MAX = 600;
/** After so long without any lag everything is forgotten. */
const FORGET_MS = 2_000;
/** Between two looks; a process that stood still says nothing about its disk. */
const LOOK_INTERVAL_MS = 40;
const LOOK_GAP_MS_MAX = 100;
/** Commits that wait for the own disk, at most one per look; only the oldest matters. */
const WAITING_COUNT_MAX = 64;

interface Commit {
  readonly index: number;
  readonly atMs: number;
}

export class SlowDiskWatch {
  /** Committed and not durable here, oldest first. */
  #waiting: Commit[] = [];
  #lastLookMs = Number.NEGATIVE_INFINITY;
  #lastSlowMs = Number.NEGATIVE_INFINITY;
  #slowMs = 0;

  /** Whether this replica leads and should not. At every tick; looks now and then. */
  isTooSlow(nowMs: number, view: () => DiskView): boolean {
    const gapMs = nowMs - this.#lastLookMs;
    if (gapMs >= LOOK_INTERVAL_MS) {
      this.#lastLookMs = nowMs;
      this.#look(nowMs, Math.min(gapMs, LOOK_GAP_MS_MAX), view());
    }
    return this.#slowMs >= SLOW_MS_MAX;
  }

  #look(nowMs: number, gapMs: number, { commitIndex, durableIndex, isLeader }: DiskView): void {
    if (!isLeader) {
      this.#waiting = [];
      this.#slowMs = 0;
      return;
    }
    this.#waiting = this.#waiting.filter(({ index }) => index > durableIndex);
    const knownIndex = Math.max(durableIndex, this.#waiting.at(-1)?.index ?? 0);
    const hasRoom = this.#waiting.length < WAITING_COUNT_MAX;
    if (commitIndex > knownIndex && hasRoom)
      this.#waiting.push({ index: commitIndex, atMs: nowMs });
    const lagMs = nowMs - (this.#waiting[0]?.atMs ?? nowMs);
    if (lagMs >= LAG_MS_MAX) {
      this.#slowMs += gapMs;
      this.#lastSlowMs = nowMs;
    } else if (nowMs - this.#lastSlowMs >= FORGET_MS) this.#slowMs = 0;
  }
}
