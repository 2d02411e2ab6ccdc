/** The priority of a thread, where the system knows such a thing. */
import { readlinkSync } from 'node:fs';
import { setPriority } from 'node:os';

/**
 * `lowest`: it runs when nothing else wants a processor. `behind`: where all processors are wanted
 * it gets about a tenth of what a thread of normal priority gets, and never nothing.
 */
const NICENESS = { lowest: 19, behind: 10 } as const;

/**
 * The calling thread has it from now on. Null when that is so, otherwise why not: Linux has
 * priorities of threads, other systems of processes alone.
 */
export function lowerThreadPriority(priority: keyof typeof NICENESS): string | null {
  try {
    // '<process>/task/<thread>'
    const threadId = Number(readlinkSync('/proc/thread-self').split('/').at(-1));
    setPriority(threadId, NICENESS[priority]);
    return null;
  } catch (error) {
    return String(error);
  }
}
