/**
 * What steps of a page leave on the machine when one of them failed: nodes that run, a disk that is
 * mounted. Only what the steps themselves began is ended: their processes carry a mark in their
 * environment that nobody else has, and the mounts lie in the folder of the run.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

export const MARK_NAME = 'RUNBOOK_RUN';

/** Processes that inherited the mark, without this one. */
export function markedProcesses(mark: string): readonly number[] {
  const wanted = `${MARK_NAME}=${mark}`;
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => environmentOf(pid).includes(wanted))
    .map(Number);
}

function environmentOf(pid: string): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
  } catch {
    // It ended since, or belongs to somebody else.
    return [];
  }
}

/** Returns how many there were. */
export function endMarkedProcesses(mark: string): number {
  const pids = markedProcesses(mark);
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (thrown) {
      // It ended in the meantime.
      if ((thrown as NodeJS.ErrnoException).code !== 'ESRCH') throw thrown;
    }
  }
  return pids.length;
}

export function unmountBelow(folder: string): void {
  const points = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => (line.split(' ')[1] ?? '').replaceAll('\\040', ' '))
    .filter((point) => point.startsWith(`${folder}/`));
  // Lazily: a process that was ended a moment ago may still hold it.
  for (const point of points) execFileSync('umount', ['-l', point]);
}
