/** Which processes live: seam for the data directory lock, over /proc in production. */
import { readFileSync } from 'node:fs';

export interface ProcessIdentity {
  readonly pid: number;
  /** Start time in clock ticks since boot: tells two processes with one pid apart. */
  readonly startTicks: string;
  /** Differs after a reboot. */
  readonly bootId: string;
}

export interface ProcessTable {
  current(): ProcessIdentity;
  isAlive(identity: ProcessIdentity): boolean;
}

/** Fields of /proc/<pid>/stat, counted after the command name in parentheses. */
const STATE_FIELD = 0;
const START_TICKS_FIELD = 19;
/** Zombie and dead: it holds no files any more, only its exit code. */
const ENDED_STATES: readonly string[] = ['Z', 'X', 'x'];

export class NodeProcessTable implements ProcessTable {
  current(): ProcessIdentity {
    const startTicks = readStartTicks(process.pid) ?? '0';
    return { pid: process.pid, startTicks, bootId: readBootId() };
  }

  isAlive(identity: ProcessIdentity): boolean {
    if (identity.bootId !== readBootId()) return false;
    const hasProcTable = readStartTicks(process.pid) !== null;
    if (!hasProcTable) return answersSignal(identity.pid);
    return readStartTicks(identity.pid) === identity.startTicks;
  }
}

/** Null when there is no such living process, or no /proc. */
function readStartTicks(pid: number): string | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    if (ENDED_STATES.includes(fields[STATE_FIELD] ?? '')) return null;
    return fields[START_TICKS_FIELD] ?? null;
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

/** Where /proc does not exist: better a lock that is too strict than two owners. */
function answersSignal(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: unknown }).code === 'EPERM';
  }
}

function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim().replaceAll('-', '');
  } catch (error) {
    if (isMissing(error)) return 'unknown';
    throw error;
  }
}

/** ESRCH: the process ended while its file was read. */
const isMissing = (error: unknown): boolean =>
  ['ENOENT', 'ESRCH'].includes(String((error as { code?: unknown }).code));
