/** Waits for a condition by looking at every turn of the event loop: no sleeping, no time limit. */
import { setImmediate } from 'node:timers/promises';

export async function until(isMet: () => boolean): Promise<void> {
  while (!isMet()) await setImmediate();
}

/** What was queued before this call has run, promise reactions included. */
export async function nextTurn(): Promise<void> {
  await setImmediate();
}
