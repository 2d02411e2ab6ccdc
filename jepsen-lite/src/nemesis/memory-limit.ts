/**
 * Little more memory for a process, by a control group of its own. What it has in use stays counted
 * in its old group; limited is what it takes from now on: new memory, and what it keeps of files.
 * Above the limit it becomes slow (version 2, memory.high) or stands still until it may have more
 * (version 1, without the killer of processes).
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const FURTHER_MEMORY_BYTES = 2 << 20;

const ROOT = '/sys/fs/cgroup';
const CONTROLLERS_PATH = join(ROOT, 'cgroup.controllers');
const FIRST_ROOT = join(ROOT, 'memory');

type Version = 1 | 2;

/** Why this machine cannot, or null. */
export function reasonAgainstMemoryLimits(): string | null {
  if (process.getuid?.() !== 0) return 'limits of memory need root';
  if (versionOf() === null) return 'this machine has no memory controller of control groups';
  return null;
}

/** Ends with `lift`. */
export class MemoryLimit {
  readonly #version: Version;
  readonly #pid: number;
  /** Where the process was before. */
  readonly #homeDirectory: string;
  readonly #directory: string;

  private constructor(pid: number, name: string, version: Version) {
    const root = version === 2 ? ROOT : FIRST_ROOT;
    this.#version = version;
    this.#pid = pid;
    this.#homeDirectory = join(root, homeGroupOf(pid, version));
    this.#directory = join(root, `holdfast-jepsen-${process.pid}-${name}`);
  }

  /**
   * Null when the process has ended, before or while it was limited: then nothing is left behind.
   * @throws Error of the file system when the kernel refuses
   */
  static of(pid: number, name: string): MemoryLimit | null {
    const version = versionOf();
    if (version === null) throw new Error('no memory controller of control groups');
    if (!hasProcess(pid)) return null;
    return unlessEnded(pid, () => {
      const limit = new MemoryLimit(pid, name, version);
      return limit.#put() ? limit : null;
    });
  }

  /** Its process may have ended meanwhile. */
  lift(): void {
    this.#set(this.#limitName, this.#version === 2 ? 'max' : '-1');
    // A group that has a process cannot go.
    const home = join(this.#homeDirectory, 'cgroup.procs');
    if (this.#hasProcess()) {
      unlessEnded(this.#pid, () => {
        writeFileSync(home, String(this.#pid));
        return null;
      });
    }
    rmdirSync(this.#directory);
  }

  /** False: the process ended meanwhile. */
  #put(): boolean {
    mkdirSync(this.#directory, { recursive: true });
    if (this.#version === 1) this.#set('memory.oom_control', '1');
    const isIn = unlessEnded(this.#pid, () => {
      this.#set('cgroup.procs', String(this.#pid));
      return true;
    });
    if (isIn === true) this.#set(this.#limitName, String(FURTHER_MEMORY_BYTES));
    else rmdirSync(this.#directory);
    return isIn === true;
  }

  get #limitName(): string {
    return this.#version === 2 ? 'memory.high' : 'memory.limit_in_bytes';
  }

  #hasProcess(): boolean {
    const pids = readFileSync(join(this.#directory, 'cgroup.procs'), 'utf8').split('\n');
    return pids.includes(String(this.#pid));
  }

  #set(name: string, value: string): void {
    writeFileSync(join(this.#directory, name), value);
  }
}

const hasProcess = (pid: number): boolean => existsSync(`/proc/${pid}`);

/** Null when `work` failed because there is no such process any more. */
function unlessEnded<T>(pid: number, work: () => T): T | null {
  try {
    return work();
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === 'ESRCH' || (code === 'ENOENT' && !hasProcess(pid))) return null;
    throw thrown;
  }
}

function versionOf(): Version | null {
  const hasSecond =
    existsSync(CONTROLLERS_PATH) && readFileSync(CONTROLLERS_PATH, 'utf8').includes('memory');
  if (hasSecond) return 2;
  return existsSync(join(FIRST_ROOT, 'memory.limit_in_bytes')) ? 1 : null;
}

/** Lines of the file are `hierarchy:controllers:path`. */
function homeGroupOf(pid: number, version: Version): string {
  const lines = readFileSync(`/proc/${pid}/cgroup`, 'utf8').trim().split('\n');
  for (const line of lines) {
    const [hierarchy, controllers, ...path] = line.split(':');
    const isOurs = version === 2 ? hierarchy === '0' : controllers?.split(',').includes('memory');
    if (isOurs) return path.join(':');
  }
  return '/';
}
