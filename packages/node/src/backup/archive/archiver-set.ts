/**
 * One archiver per sink: each has its own end, its own lag and its own failures. The log is kept
 * for the slowest of those that are required; the others get a gap when they are left behind.
 */
import type { LogIndex } from '@holdfast/base';
import { logIndex } from '@holdfast/base';

/** What a set needs of its members. */
export interface Archiving<Status extends object> {
  readonly archivedIndex: LogIndex | null;
  status(): Status;
  tick(): void;
  stop(): Promise<void>;
}

export interface ArchiverOfSet<Status extends object> {
  readonly archiver: Archiving<Status>;
  readonly isRequired: boolean;
}

export class ArchiverSet<Status extends object> {
  readonly #archivers: readonly ArchiverOfSet<Status>[];

  constructor(archivers: readonly ArchiverOfSet<Status>[]) {
    this.#archivers = archivers;
  }

  tick(): void {
    for (const { archiver } of this.#archivers) archiver.tick();
  }

  /**
   * Every required sink has all entries up to here: what compaction may count on. 0 while one of
   * them is not known yet; null when none is required.
   */
  get archivedIndex(): LogIndex | null {
    const required = this.#archivers.filter(({ isRequired }) => isRequired);
    if (required.length === 0) return null;
    const indexes = required.map(({ archiver }) => archiver.archivedIndex ?? 0);
    return logIndex(Math.min(...indexes));
  }

  /** In the order of the sinks. */
  statuses(): readonly (Status & { readonly isRequired: boolean })[] {
    return this.#archivers.map(({ archiver, isRequired }) => ({
      ...archiver.status(),
      isRequired,
    }));
  }

  async stop(): Promise<void> {
    await Promise.all(this.#archivers.map(({ archiver }) => archiver.stop()));
  }
}
