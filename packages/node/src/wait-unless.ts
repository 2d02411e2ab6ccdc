/** Lets time pass, unless whoever waits is told to end before. */
import type { HoldfastError, Timers } from '@holdfast/base';

/** Rejects with `reason` as soon as the signal says so. */
export function waitUnless(
  signal: AbortSignal | undefined,
  durationMs: number,
  timers: Timers,
  reason: () => HoldfastError,
): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(reason());
      return;
    }
    const onAbort = (): void => {
      timer.cancel();
      reject(reason());
    };
    const timer = timers.after(durationMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
