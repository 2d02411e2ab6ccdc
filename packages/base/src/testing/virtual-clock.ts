/** Time that moves only when told to. Timers fire in order of due time, then of creation. */
import { assert } from '../assert.ts';
import type { Clock, TimerHandle, Timers } from '../clock.ts';

interface PendingTimer {
  readonly dueMs: number;
  readonly order: number;
  readonly callback: () => void;
  cancelled: boolean;
}

export class VirtualClock implements Clock, Timers {
  #nowMs = 0;
  #wallOffsetMs: number;
  #order = 0;
  #timers: PendingTimer[] = [];

  constructor(wallStartMs = 1_700_000_000_000) {
    this.#wallOffsetMs = wallStartMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return Math.floor(this.#wallOffsetMs + this.#nowMs);
  }

  /** Moves the wall clock only, as an operator or NTP would. */
  jumpWall(deltaMs: number): void {
    this.#wallOffsetMs += deltaMs;
  }

  after(delayMs: number, callback: () => void): TimerHandle {
    assert(delayMs >= 0, 'timer delay must not be negative', { delayMs });
    const timer: PendingTimer = {
      dueMs: this.#nowMs + delayMs,
      order: this.#order++,
      callback,
      cancelled: false,
    };
    this.#timers.push(timer);
    return {
      cancel: () => {
        timer.cancelled = true;
      },
    };
  }

  /** Advances by `deltaMs`, firing what falls due on the way. */
  advance(deltaMs: number): void {
    const endMs = this.#nowMs + deltaMs;
    for (;;) {
      const next = this.#takeNextDue(endMs);
      if (next === undefined) break;
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.callback();
    }
    this.#nowMs = endMs;
  }

  /** Due time of the next timer, or undefined when none waits. */
  nextDueMs(): number | undefined {
    const live = this.#timers.filter((timer) => !timer.cancelled);
    return live.length === 0 ? undefined : Math.min(...live.map((timer) => timer.dueMs));
  }

  #takeNextDue(endMs: number): PendingTimer | undefined {
    this.#timers = this.#timers.filter((timer) => !timer.cancelled);
    let best: PendingTimer | undefined;
    for (const timer of this.#timers) {
      if (timer.dueMs > endMs) continue;
      const isEarlier =
        best === undefined ||
        timer.dueMs < best.dueMs ||
        (timer.dueMs === best.dueMs && timer.order < best.order);
      if (isEarlier) best = timer;
    }
    if (best !== undefined) best.cancelled = true;
    return best;
  }
}
