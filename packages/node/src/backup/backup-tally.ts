/** Counts backups by type and store, for metrics: a bounded set, since both are. */
import type { BackupType } from '@holdfast/storage';
import type { BackupTally } from './backup-api.ts';

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

export interface GoodBackup {
  readonly endedMs: number;
  readonly durationMs: number;
  /** Null: there was nothing new to back up. */
  readonly sizeBytes: number | null;
}

export class BackupTallies {
  readonly #tallies = new Map<string, Mutable<BackupTally>>();

  /** Every combination from the start, so that a counter never begins with a jump. */
  constructor(sinks: readonly string[]) {
    for (const type of ['full', 'incremental'] as const) {
      for (const sink of sinks) {
        this.#tallies.set(`${type} ${sink}`, {
          ...{ type, sink, succeededCount: 0, failedCount: 0 },
          ...{ newestEndMs: null, newestDurationMs: null, newestSizeBytes: null },
        });
      }
    }
  }

  noteSuccess(type: BackupType, sink: string, good: GoodBackup): void {
    const tally = this.#tallies.get(`${type} ${sink}`);
    if (tally === undefined) return;
    tally.succeededCount += 1;
    tally.newestEndMs = good.endedMs;
    tally.newestDurationMs = good.durationMs;
    tally.newestSizeBytes = good.sizeBytes ?? tally.newestSizeBytes;
  }

  noteFailure(type: BackupType, sink: string): void {
    const tally = this.#tallies.get(`${type} ${sink}`);
    if (tally !== undefined) tally.failedCount += 1;
  }

  all(): readonly BackupTally[] {
    return [...this.#tallies.values()].map((tally) => ({ ...tally }));
  }
}
