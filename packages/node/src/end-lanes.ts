/**
 * Lanes of a node that has failed, before its process exits: ending a thread inside a call of the
 * native graph library aborts the process, which loses nothing and looks like another fault.
 */
import type { TimerHandle, Timers } from '@holdfast/base';
import type { ShardHost } from '@holdfast/shard-worker';

/** A lane that hangs keeps the process no longer: the others wait for its sockets to close. */
export const LANES_END_MS_MAX = 250;

/** Resolves when the lanes have ended, or their time is over. */
export async function endLanes(host: Pick<ShardHost, 'close'>, timers: Timers): Promise<void> {
  let timer: TimerHandle | null = null;
  const timeOver = new Promise<void>((resolve) => {
    timer = timers.after(LANES_END_MS_MAX, resolve);
  });
  // The failure was told already; what a lane says now is about a state that nobody uses.
  await Promise.race([timeOver, host.close().catch(() => undefined)]);
  (timer as TimerHandle | null)?.cancel();
}
