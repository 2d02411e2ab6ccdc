/**
 * One life of a simulated process: its clock, its timers and every callback that runs in it.
 *
 * Of a dead process nothing runs. A paused one (SIGSTOP) runs nothing either, while its clock goes
 * on: what fell due meanwhile runs in order when it is resumed, as timers and sockets do. The clock
 * may drift against the world's by a fixed rate, and the wall clock may jump.
 */
import type { Clock, TimerHandle, Timers } from '@holdfast/base';
import { CrashSignal } from '@holdfast/storage/testing';
import type { SimScheduler } from './sim-scheduler.ts';

export interface SimProcessOptions {
  readonly scheduler: SimScheduler;
  /** How much faster than the world's this clock runs, in parts per million. */
  readonly driftPpm: number;
  /** Wall clock against the world's, in ms. */
  readonly wallOffsetMs: number;
  /** After every callback that ran. */
  readonly onStep: () => void;
  /** The disk says that the machine stopped: nothing runs in this process any more. */
  readonly onCrash: (signal: CrashSignal) => void;
}

export class SimProcess implements Clock, Timers {
  readonly #options: SimProcessOptions;
  readonly #rate: number;
  readonly #bornAtMs: number;
  #wallOffsetMs: number;
  #isAlive = true;
  #isPaused = false;
  #held: (() => void)[] = [];

  constructor(options: SimProcessOptions) {
    this.#options = options;
    this.#rate = 1 + options.driftPpm / 1_000_000;
    this.#bornAtMs = options.scheduler.clock.monotonicMs();
    this.#wallOffsetMs = options.wallOffsetMs;
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  monotonicMs(): number {
    const worldMs = this.#options.scheduler.clock.monotonicMs();
    if (this.#rate === 1) return worldMs;
    const localMs = this.#bornAtMs + (worldMs - this.#bornAtMs) * this.#rate;
    // Whole microseconds, so that a timer never fires a rounding error before its time.
    return Math.ceil(localMs * 1_000) / 1_000;
  }

  wallMs(): number {
    return this.#options.scheduler.clock.wallMs() + this.#wallOffsetMs;
  }

  jumpWall(deltaMs: number): void {
    this.#wallOffsetMs += deltaMs;
  }

  after(delayMs: number, callback: () => void): TimerHandle {
    const { clock } = this.#options.scheduler;
    return clock.after(delayMs / this.#rate, () => this.run(callback));
  }

  readonly defer = (callback: () => void): void => {
    this.#options.scheduler.defer(() => this.run(callback));
  };

  /** Runs `callback` now, when the process is resumed, or never. */
  run(callback: () => void): void {
    if (!this.#isAlive) return;
    if (this.#isPaused) {
      this.#held.push(callback);
      return;
    }
    try {
      callback();
    } catch (error) {
      if (!(error instanceof CrashSignal)) throw error;
      this.end();
      this.#options.onCrash(error);
      return;
    }
    this.#options.onStep();
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    const held = this.#held;
    this.#held = [];
    for (const callback of held) this.defer(callback);
  }

  end(): void {
    this.#isAlive = false;
    this.#held = [];
  }
}
