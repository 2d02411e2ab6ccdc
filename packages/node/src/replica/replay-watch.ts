/**
 * Tells in the log how far a started node is in replaying what it knows to be committed: a line
 * every few seconds, one at the end. What the leader commits meanwhile is not part of it.
 */
import type { Clock, Logger, LogIndex } from '@holdfast/base';

/** Between two lines. */
const TELL_INTERVAL_MS = 2_000;

export interface ReplayWatchOptions {
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly logger: Logger;
  /** Applied when the node started. */
  readonly fromIndex: LogIndex;
  /** Committed, as the node's own log says. */
  readonly toIndex: LogIndex;
}

export class ReplayWatch {
  readonly #options: ReplayWatchOptions;
  readonly #startMs: number;
  #toldMs: number;
  #isOver: boolean;

  constructor(options: ReplayWatchOptions) {
    this.#options = options;
    this.#startMs = options.clock.monotonicMs();
    this.#toldMs = this.#startMs;
    this.#isOver = options.toIndex <= options.fromIndex;
  }

  onApplied(appliedIndex: LogIndex): void {
    if (this.#isOver) return;
    const { clock, fromIndex, logger, toIndex } = this.#options;
    const nowMs = clock.monotonicMs();
    const entryCount = toIndex - fromIndex;
    if (appliedIndex >= toIndex) {
      this.#isOver = true;
      const elapsedMs = Math.round(nowMs - this.#startMs);
      logger.info({ entryCount, elapsedMs, index: toIndex }, 'the log is replayed');
    } else if (nowMs - this.#toldMs >= TELL_INTERVAL_MS) {
      this.#toldMs = nowMs;
      logger.info({ replayedCount: appliedIndex - fromIndex, entryCount }, 'replaying the log');
    }
  }
}
