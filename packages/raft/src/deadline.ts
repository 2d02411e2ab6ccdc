/**
 * A span of the host's clock that begins with an input. Inputs carry no time of their own: between
 * two ticks the core knows only the time of the last tick, which after a pause may be long ago. So
 * the span is counted from the first tick after it was started, never from one before; until that
 * tick it is running. It may last longer than its duration, never shorter.
 */
export class Deadline {
  #isPending = false;
  #untilMs = Number.NEGATIVE_INFINITY;

  /** Starts the span, or starts it anew. */
  start(): void {
    this.#isPending = true;
  }

  /** To be called at every tick, before anything asks. */
  tick(nowMs: number, durationMs: number): void {
    if (!this.#isPending) return;
    this.#isPending = false;
    this.#untilMs = nowMs + durationMs;
  }

  /** `nowMs` is the time of the last tick. */
  isRunning(nowMs: number): boolean {
    return this.#isPending || nowMs < this.#untilMs;
  }
}
