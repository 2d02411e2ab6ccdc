/**
 * Runs a few actors in every order of their steps. A step is one operation of a store or one timer;
 * whoever wants to make one waits until it is chosen. The same choices give the same run, so all of
 * them are visited by going back to the last choice that has another side.
 */
import type { TimerHandle, Timers } from '@holdfast/base';
import type { VirtualClock } from '@holdfast/base/testing';
import type { MemorySink } from '../../src/backup/testing/memory-sink.ts';
import { until } from './until.ts';

export type ActorSink = Pick<MemorySink, 'list' | 'name' | 'put' | 'remove'>;

/** What an actor works with: each of its operations waits to be chosen. */
export interface ActorSeams {
  readonly sink: ActorSink;
  readonly timers: Timers;
}

export class Actor {
  readonly name: string;
  /** What lets its next step go; null while it runs, or has ended. */
  go: (() => void) | null = null;
  isTimer = false;
  isEnded = false;
  stepCount = 0;

  constructor(name: string) {
    this.name = name;
  }

  get isWaiting(): boolean {
    return this.go !== null;
  }

  step(): Promise<void> {
    return new Promise((resolve) => {
      this.go = resolve;
    });
  }

  /** Lets it make one step, and waits until it wants to make the next one. */
  async advance(): Promise<void> {
    const { go } = this;
    if (go === null) throw new Error(`${this.name} wants nothing`);
    this.go = null;
    this.isTimer = false;
    this.stepCount += 1;
    go();
    await this.settled();
  }

  async settled(): Promise<void> {
    await until(() => this.isEnded || this.isWaiting);
  }

  seams(sink: MemorySink, clock: VirtualClock): ActorSeams {
    const step = () => this.step();
    return {
      timers: { after: (delayMs, callback) => this.#timer(clock, delayMs, callback) },
      sink: {
        name: sink.name,
        put: async (...given) => {
          await step();
          return sink.put(...given);
        },
        remove: async (...given) => {
          await step();
          return sink.remove(...given);
        },
        async *list(...given) {
          await step();
          yield* sink.list(...given);
        },
      },
    };
  }

  #timer(clock: VirtualClock, delayMs: number, callback: () => void): TimerHandle {
    this.isTimer = true;
    this.go = () => {
      clock.advance(delayMs);
      callback();
    };
    return { cancel: () => undefined };
  }
}

/** `run` makes the same choices again in every call and asks `choose` for each. */
export async function everyOrder(
  run: (choose: (optionCount: number) => number) => Promise<void>,
): Promise<number> {
  let path: { chosen: number; readonly optionCount: number }[] = [];
  for (let runCount = 1; ; runCount++) {
    let depth = 0;
    await run((optionCount) => {
      const known = path[depth];
      if (known === undefined) path.push({ chosen: 0, optionCount });
      depth += 1;
      return known?.chosen ?? 0;
    });
    path = path.slice(0, depth);
    while (path.length > 0 && isLastSide(path)) path.pop();
    const last = path.at(-1);
    if (last === undefined) return runCount;
    last.chosen += 1;
  }
}

function isLastSide(path: readonly { chosen: number; readonly optionCount: number }[]): boolean {
  const last = path.at(-1);
  return last === undefined || last.chosen + 1 >= last.optionCount;
}
