import { HoldfastError, type Timers } from '@holdfast/base';
import { waitUnless } from '../wait-unless.ts';

/** Rejects LEADERSHIP_LOST when the signal comes first. */
export const waitFor = (durationMs: number, signal: AbortSignal, timers: Timers): Promise<void> =>
  waitUnless(
    signal,
    durationMs,
    timers,
    () => new HoldfastError('LEADERSHIP_LOST', 'this node leads no more, or stops'),
  );
