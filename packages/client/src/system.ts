/** The one file of this package that touches the real clock, timers and chance. */
import type { Clock, Random, TimerHandle, Timers } from '@holdfast/base';

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

/** Spreads retries; nothing here is secret. */
export const SYSTEM_RANDOM: Random = {
  nextU32: () => Math.floor(Math.random() * 0x1_0000_0000),
  nextBelow: (bound: number) => Math.floor(Math.random() * bound),
  nextFloat: () => Math.random(),
};

/** Calls back when the current turn's work is done: frames of one turn are sent together. */
export const atEndOfTurn = (callback: () => void): void => {
  process.nextTick(callback);
};
