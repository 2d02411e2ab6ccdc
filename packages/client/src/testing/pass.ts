/** Moves virtual time while letting every promise that can run, run in between. */
import type { VirtualClock } from '@holdfast/base/testing';

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export async function pass(clock: VirtualClock, ms: number): Promise<void> {
  const endMs = clock.monotonicMs() + ms;
  for (;;) {
    await settle();
    const dueMs = clock.nextDueMs();
    if (dueMs === undefined || dueMs > endMs) break;
    clock.advance(Math.max(0, dueMs - clock.monotonicMs()));
  }
  clock.advance(Math.max(0, endMs - clock.monotonicMs()));
  await settle();
}

/** Moves time until `promise` settles, at most `withinMs`. */
export async function passUntil<Value>(
  clock: VirtualClock,
  promise: Promise<Value>,
  withinMs: number,
): Promise<Value> {
  let isSettled = false;
  const mark = (): void => {
    isSettled = true;
  };
  promise.then(mark, mark);
  const endMs = clock.monotonicMs() + withinMs;
  await settle();
  while (!isSettled) {
    const dueMs = clock.nextDueMs();
    if (dueMs === undefined || dueMs > endMs) {
      throw new Error(`nothing settled the promise within ${withinMs} ms of virtual time`);
    }
    clock.advance(Math.max(0, dueMs - clock.monotonicMs()));
    await settle();
  }
  return promise;
}
