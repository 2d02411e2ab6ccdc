/**
 * Time that moves only when told to. Timers fire in order of due time, then of creation. A binary
 * heap: a simulation arms and cancels millions of them.
 */
import { assert } from '../assert.ts';
import type { Clock, TimerHandle, Timers } from '../clock.ts';

interface PendingTimer {
  readonly dueMs: number;
  readonly order: number;
  /** Null once it fired or was cancelled. */
  callback: (() => void) | null;
}

/** Cancelled timers are swept out of the heap when they are most of it. */
const SWEEP_SIZE_MIN = 64;

export class VirtualClock implements Clock, Timers {
  #nowMs = 0;
  #wallOffsetMs: number;
  #order = 0;
  #heap: PendingTimer[] = [];
  #cancelledCount = 0;

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
    const timer: PendingTimer = { dueMs: this.#nowMs + delayMs, order: this.#order++, callback };
    this.#push(timer);
    return {
      cancel: () => {
        if (timer.callback === null) return;
        timer.callback = null;
        this.#cancelledCount += 1;
        this.#sweep();
      },
    };
  }

  /** Advances by `deltaMs`, firing what falls due on the way. */
  advance(deltaMs: number): void {
    const endMs = this.#nowMs + deltaMs;
    while (this.fireNext(endMs));
  }

  /**
   * Moves to the next timer that is due at `limitMs` or before and fires this one alone. Without
   * such a timer it moves to `limitMs` and returns false.
   */
  fireNext(limitMs: number): boolean {
    this.#dropCancelled();
    const next = this.#heap[0];
    if (next === undefined || next.dueMs > limitMs) {
      this.#nowMs = Math.max(this.#nowMs, limitMs);
      return false;
    }
    this.#pop();
    this.#nowMs = Math.max(this.#nowMs, next.dueMs);
    const { callback } = next;
    next.callback = null;
    callback?.();
    return true;
  }

  /** Due time of the next timer, or undefined when none waits. */
  nextDueMs(): number | undefined {
    this.#dropCancelled();
    return this.#heap[0]?.dueMs;
  }

  #dropCancelled(): void {
    while (this.#heap.length > 0 && this.#heap[0]?.callback === null) {
      this.#pop();
      this.#cancelledCount -= 1;
    }
  }

  #sweep(): void {
    const { length } = this.#heap;
    if (length < SWEEP_SIZE_MIN || this.#cancelledCount * 2 < length) return;
    const live = this.#heap.filter((timer) => timer.callback !== null);
    this.#heap = [];
    this.#cancelledCount = 0;
    for (const timer of live) this.#push(timer);
  }

  #push(timer: PendingTimer): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(timer);
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above]!;
      if (!isBefore(timer, parent)) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = timer;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child += 1;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

const isBefore = (left: PendingTimer, right: PendingTimer): boolean =>
  left.dueMs < right.dueMs || (left.dueMs === right.dueMs && left.order < right.order);
