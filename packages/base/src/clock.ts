/** Time comes in through these seams; only compose.ts and tests make concrete ones. */
export interface Clock {
  /** Milliseconds since an arbitrary start; never goes back. Fractions allowed. */
  monotonicMs(): number;
  /** Milliseconds since the Unix epoch; may jump. Integer. */
  wallMs(): number;
}

export interface TimerHandle {
  cancel(): void;
}

/** Every timer has an owner that cancels it. */
export interface Timers {
  /** Calls `callback` once, after at least `delayMs`. */
  after(delayMs: number, callback: () => void): TimerHandle;
}
