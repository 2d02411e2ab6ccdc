/** The priority of a thread, where the system knows such a thing. */
import { readlinkSync } from 'node:fs';
import { setPriority } from 'node:os';

/** The lowest that there is. */
const PRIORITY_LOWEST = 19;

/**
 * From now on the calling thread runs when nothing else wants a processor. Null when that is so,
 * otherwise why not: Linux has priorities of threads, other systems of processes alone.
 */
export function lowerThreadPriority(): string | null {
  try {
    // '<process>/task/<thread>'
    const threadId = Number(readlinkSync('/proc/thread-self').split('/').at(-1));
    setPriority(threadId, PRIORITY_LOWEST);
    return null;
  } catch (error) {
    return String(error);
  }
}
