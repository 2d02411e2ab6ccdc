/** Clock and timers of this process, for tests of what only real threads can show. */
import type { Timers } from '@holdfast/base';

export const REAL_CLOCK = { monotonicMs: (): number => performance.now() };

export const REAL_TIMERS: Timers = {
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
};
