/** Lets time pass, unless the leadership that waits ends before. */
import type { Timers } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';

/** Rejects LEADERSHIP_LOST when the signal comes first. */
export function waitFor(durationMs: number, signal: AbortSignal, timers: Timers): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = timers.after(durationMs, () => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    });
    const onAbort = (): void => {
      timer.cancel();
      reject(new HoldfastError('LEADERSHIP_LOST', 'this node leads no more, or stops'));
    };
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
}
