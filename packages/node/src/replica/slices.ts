/**
 * Long work on the main thread, cut into slices: between two the event loop serves sockets and
 * ticks. The work itself is a generator that yields where it may pause.
 */
import type { Steps } from '@holdfast/storage';
import type { Defer } from './group-host.ts';

/** Resolves in a later turn. */
export type Pause = () => Promise<void>;

export function pauseBy(defer: Defer): Pause {
  return () =>
    new Promise((resolve) => {
      defer(resolve);
    });
}

/** Runs `steps` to its end with a pause after each. Rejects with what it throws. */
export async function inSlices<Value>(steps: Steps<Value>, pause: Pause): Promise<Value> {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    await pause();
  }
}
