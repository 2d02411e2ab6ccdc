/**
 * A few frames of one connection in one turn of the event loop. A client may send thousands of
 * small ones at once, and the library hands out all that it has read before anybody else gets a
 * turn; so the rest waits here, and meanwhile nothing more is read of that connection. What waits
 * is bounded by what the library had read already.
 */
import type { Clock, TimerHandle, Timers } from '@holdfast/base';

/** As many as a client may have under way by default: whoever keeps to that never waits. */
const FRAMES_PER_TURN_MAX = 256;
/** And no more begin in a turn when those before took so long. */
const TURN_MS_MAX = 8;
/** Others get so much time between two turns of one connection. */
const TURN_INTERVAL_MS = 5;

export interface FrameTurnsParts {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly handle: (bytes: Buffer, isBinary: boolean) => void;
  /** Frames wait from now on, or no more. */
  readonly onHold: () => void;
}

interface Frame {
  readonly bytes: Buffer;
  readonly isBinary: boolean;
}

export class FrameTurns {
  readonly #parts: FrameTurnsParts;
  #waiting: Frame[] = [];
  #turnFrameCount = 0;
  #turnBeganMs = 0;
  #timer: TimerHandle | null = null;

  constructor(parts: FrameTurnsParts) {
    this.#parts = parts;
  }

  /** Nothing more should be read. */
  get isHolding(): boolean {
    return this.#timer !== null;
  }

  take(bytes: Buffer, isBinary: boolean): void {
    if (this.#timer === null) {
      // Frames of one read come without a microtask between them.
      if (this.#turnFrameCount === 0) queueMicrotask(() => this.#endTurn());
      if (this.#hasTurn()) {
        this.#parts.handle(bytes, isBinary);
        return;
      }
    }
    this.#waiting.push({ bytes, isBinary });
    if (this.#timer !== null) return;
    this.#arm();
    this.#parts.onHold();
  }

  /** The connection is gone: what waits is dropped. */
  stop(): void {
    this.#waiting = [];
    this.#timer?.cancel();
    this.#timer = null;
  }

  /** Whether one more may be handled in this turn; counts it. */
  #hasTurn(): boolean {
    const nowMs = this.#parts.clock.monotonicMs();
    if (this.#turnFrameCount === 0) this.#turnBeganMs = nowMs;
    if (this.#turnFrameCount >= FRAMES_PER_TURN_MAX) return false;
    if (nowMs - this.#turnBeganMs >= TURN_MS_MAX) return false;
    this.#turnFrameCount += 1;
    return true;
  }

  #endTurn(): void {
    this.#turnFrameCount = 0;
  }

  #arm(): void {
    this.#timer = this.#parts.timers.after(TURN_INTERVAL_MS, () => this.#nextTurn());
  }

  #nextTurn(): void {
    this.#endTurn();
    let handledCount = 0;
    while (handledCount < this.#waiting.length && this.#hasTurn()) {
      const { bytes, isBinary } = this.#waiting[handledCount]!;
      handledCount += 1;
      this.#parts.handle(bytes, isBinary);
    }
    this.#endTurn();
    // One of them may have ended the connection.
    if (this.#timer === null) return;
    this.#waiting.splice(0, handledCount);
    this.#timer = null;
    if (this.#waiting.length > 0) this.#arm();
    else this.#parts.onHold();
  }
}
