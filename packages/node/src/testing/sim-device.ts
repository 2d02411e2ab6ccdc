/** A device of a simulated machine that takes its time: uses finish in order, and it may stall. */
import type { Random } from '@holdfast/base';
import type { SimProcess } from './sim-process.ts';
import type { SimScheduler } from './sim-scheduler.ts';

export interface SimDeviceOptions {
  readonly scheduler: SimScheduler;
  /** Uses of a dead process never finish. */
  readonly process: SimProcess;
  readonly random: Random;
  /** One use takes up to this many whole ms; 0: it is over in the next turn. */
  readonly delayMsMax: number;
}

export class SimDevice {
  readonly #options: SimDeviceOptions;
  #freeAtMs = 0;

  constructor(options: SimDeviceOptions) {
    this.#options = options;
  }

  get isInstant(): boolean {
    return this.#options.delayMsMax === 0;
  }

  /** No use finishes before `untilMs` of the world's clock. */
  stall(untilMs: number): void {
    this.#freeAtMs = Math.max(this.#freeAtMs, untilMs);
  }

  use(done: () => void): void {
    const { scheduler, process, random, delayMsMax } = this.#options;
    const nowMs = scheduler.clock.monotonicMs();
    const delayMs = delayMsMax === 0 ? 0 : random.nextBelow(delayMsMax + 1);
    this.#freeAtMs = Math.max(this.#freeAtMs, nowMs + delayMs);
    if (this.#freeAtMs === nowMs) process.defer(done);
    else this.#wait(done);
  }

  /** A stall that began meanwhile holds up also what is under way. */
  #wait(done: () => void): void {
    const { scheduler, process } = this.#options;
    const waitMs = this.#freeAtMs - scheduler.clock.monotonicMs();
    if (waitMs <= 0) process.run(done);
    else scheduler.clock.after(waitMs, () => this.#wait(done));
  }
}
