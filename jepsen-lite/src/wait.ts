/**
 * Waiting for a condition of the outside world (a process, a port, an HTTP answer). Every wait has
 * a deadline and names what it waited for; the last answer is part of the error, because "timed
 * out" alone helps nobody.
 */
import { assert } from '@holdfast/base';

export interface WaitOptions {
  /** Ends the error sentence "gave up waiting for ...". */
  readonly what: string;
  readonly timeoutMs: number;
  /** Pause between two looks; small enough not to blur failover times. Default 25. */
  readonly pollIntervalMs?: number;
}

/** What was waited for did not come: where the cluster was to do it, the cluster did not. */
export class WaitExpired extends Error {}

/** Time as workers see it: of this machine, or of a simulation. */
export interface HarnessTime {
  /** Monotonic; only differences mean something. */
  nowMs(): number;
  /** Resolves after at least `delayMs`. */
  pause(delayMs: number): Promise<void>;
}

/** Resolves after at least `delayMs`. */
export function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}

export const REAL_TIME: HarnessTime = { nowMs: () => performance.now(), pause };

/**
 * Calls `look` until it answers something else than null, and returns that answer. An exception of
 * `look` counts as "not yet" and is the cause of the final error.
 * @throws WaitExpired naming `what` when the time is over
 */
export async function waitFor<Answer>(
  options: WaitOptions,
  look: () => Promise<Answer | null> | Answer | null,
): Promise<Answer> {
  assert(options.timeoutMs > 0, 'timeout must be positive', { timeoutMs: options.timeoutMs });
  const deadlineMs = performance.now() + options.timeoutMs;
  let lastFailure: unknown;
  for (;;) {
    try {
      const answer = await look();
      if (answer !== null) return answer;
      lastFailure = undefined;
    } catch (thrown) {
      lastFailure = thrown;
    }
    if (performance.now() >= deadlineMs) {
      const reason = lastFailure instanceof Error ? `: ${lastFailure.message}` : '';
      throw new WaitExpired(
        `gave up after ${options.timeoutMs} ms waiting for ${options.what}${reason}`,
        { cause: lastFailure },
      );
    }
    await pause(options.pollIntervalMs ?? 25);
  }
}
