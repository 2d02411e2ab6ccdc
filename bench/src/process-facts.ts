/** What the operating system says of a process, seen from outside: memory and system calls. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

export interface MemoryFacts {
  readonly residentBytes: number;
  readonly residentPeakBytes: number;
}

/** @throws Error when the process is gone */
export function readMemory(pid: number): MemoryFacts {
  return parseMemory(readFileSync(`/proc/${pid}/status`, 'utf8'));
}

export function parseMemory(status: string): MemoryFacts {
  return {
    residentBytes: kibibytesOf(status, 'VmRSS') * 1_024,
    residentPeakBytes: kibibytesOf(status, 'VmHWM') * 1_024,
  };
}

function kibibytesOf(status: string, key: string): number {
  const value = new RegExp(`^${key}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
  if (value === undefined) throw new Error(`/proc status has no ${key}`);
  return Number(value);
}

/** What the kernel counts processor time in; fixed at 100 a second for programs since Linux 2.6. */
const TICK_MS = 10;

/**
 * Processor time of a process and all its threads so far. @throws Error when the process is gone
 */
export function readProcessorMs(pid: number): number {
  return parseProcessorMs(readFileSync(`/proc/${pid}/stat`, 'utf8'));
}

/** The command name, in parentheses, may hold blanks: fields are counted from behind it. */
export function parseProcessorMs(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [userTicks, systemTicks] = [Number(fields[11]), Number(fields[12])];
  return (userTicks + systemTicks) * TICK_MS;
}

export type SystemCallCounts = Readonly<Record<string, number>>;

/** The calls that make data durable; anything else would only slow the traced process. */
const TRACED_CALLS = 'fsync,fdatasync,sync_file_range,msync';

/**
 * Counts durable writes of a running process and all its threads with strace. Tracing slows the
 * process, so this is a phase of its own, never part of a measured one.
 */
export class SystemCallTrace {
  readonly #child: ChildProcess;
  readonly #reportPath: string;
  readonly #ended: Promise<void>;

  private constructor(pid: number, reportPath: string) {
    this.#reportPath = reportPath;
    this.#child = spawn(
      'strace',
      ['-c', '-f', '-e', `trace=${TRACED_CALLS}`, '-o', reportPath, '-p', String(pid)],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    this.#ended = new Promise((resolve) => {
      this.#child.once('exit', () => resolve());
      this.#child.once('error', () => resolve());
    });
  }

  /** Resolves when strace is attached. Null when it is absent or may not attach. */
  static async attach(pid: number, reportPath: string): Promise<SystemCallTrace | null> {
    const trace = new SystemCallTrace(pid, reportPath);
    const isAttached = await new Promise<boolean>((resolve) => {
      let heard = '';
      trace.#child.stderr?.on('data', (chunk: Buffer) => {
        heard += chunk.toString();
        if (/attached/.test(heard)) resolve(true);
      });
      void trace.#ended.then(() => resolve(false));
    });
    return isAttached ? trace : null;
  }

  /** Detaches and returns the counts since `attach`. */
  async finish(): Promise<SystemCallCounts> {
    this.#child.kill('SIGINT');
    await this.#ended;
    return existsSync(this.#reportPath)
      ? parseSystemCalls(readFileSync(this.#reportPath, 'utf8'))
      : {};
  }
}

/** Reads the summary table of `strace -c`: the last column is the call, the fourth its count. */
export function parseSystemCalls(report: string): SystemCallCounts {
  const counts: Record<string, number> = {};
  for (const line of report.split('\n')) {
    const columns = line.trim().split(/\s+/);
    const name = columns.at(-1) ?? '';
    const count = Number(columns[3]);
    const isRow = /^[\d.]+$/.test(columns[0] ?? '') && Number.isInteger(count);
    if (isRow && name !== 'total') counts[name] = count;
  }
  return counts;
}
