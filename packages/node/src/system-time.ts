/** The concrete clock and timers of a running process; everything else takes them as seams. */
import type { Clock, TimerHandle, Timers } from '@holdfast/base';

export const SYSTEM_CLOCK: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
};

export const SYSTEM_TIMERS: Timers = {
  after(delayMs: number, callback: () => void): TimerHandle {
    const timer = setTimeout(callback, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
};
