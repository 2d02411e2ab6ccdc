/** Processes that live and die on command, for the data directory lock in tests and simulation. */
import type { ProcessIdentity, ProcessTable } from '../process-table.ts';

export class FakeProcessTable implements ProcessTable {
  readonly #alive = new Set<string>();
  #self: ProcessIdentity;
  #started = 1;

  constructor(pid = 1) {
    this.#self = { pid, startTicks: '1', bootId: 'fake' };
    this.start(pid);
  }

  /** Becomes a new process with this pid; the earlier ones stay as they are. */
  start(pid: number): void {
    this.#started += 1;
    this.#self = { pid, startTicks: String(this.#started), bootId: 'fake' };
    this.#alive.add(key(this.#self));
  }

  /** kill -9 of every process with this pid. */
  kill(pid: number): void {
    for (const name of this.#alive) if (name.startsWith(`${pid}:`)) this.#alive.delete(name);
  }

  current(): ProcessIdentity {
    return this.#self;
  }

  isAlive(identity: ProcessIdentity): boolean {
    return this.#alive.has(key(identity));
  }
}

const key = ({ pid, startTicks }: ProcessIdentity): string => `${pid}:${startTicks}`;
