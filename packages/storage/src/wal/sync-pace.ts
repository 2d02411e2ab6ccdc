/**
 * When a batch of the log is synced. `group` and `every_write` sync each batch before it counts as
 * durable; they differ in what a batch is: everything that has arrived, or one append. `batch` and
 * `none` count a batch as durable when the system has taken it: a power cut then takes what was not
 * synced yet: at most an interval, or all of the newest log file. Terms, votes and files that are
 * left are synced in every mode. A process that dies loses nothing in any of them.
 *
 * What was written and not synced is still confirmed by the batch behind it, so a hole that a
 * power cut tears is damage, which peers repair, and never the end of the log; only the newest
 * batches can go unnoticed.
 */
import type { WalOptions } from './types.ts';

export type WalSyncMode = 'group' | 'every_write' | 'batch' | 'none';

/** True when a power cut may take what was acknowledged. */
export const isUnsafeSyncMode = (mode: WalSyncMode): boolean => mode === 'batch' || mode === 'none';

/** What the mode means for the size of batches. */
export function pacedOptions(options: WalOptions): WalOptions {
  return options.syncMode === 'every_write' ? { ...options, batchSizeBytesMax: 1 } : options;
}

export class SyncPace {
  readonly #mode: WalSyncMode;
  readonly #intervalMs: number;
  #syncedAtMs = Number.NEGATIVE_INFINITY;
  #hasUnsynced = false;

  constructor({ syncIntervalMs, syncMode }: Pick<WalOptions, 'syncIntervalMs' | 'syncMode'>) {
    this.#mode = syncMode;
    this.#intervalMs = syncIntervalMs;
  }

  /** Bytes were written at `nowMs`; true when they must be synced at once. */
  written(nowMs: number): boolean {
    this.#hasUnsynced = true;
    if (this.#mode === 'none') return false;
    return this.#mode !== 'batch' || nowMs - this.#syncedAtMs >= this.#intervalMs;
  }

  synced(nowMs: number): void {
    this.#syncedAtMs = nowMs;
    this.#hasUnsynced = false;
  }

  /** A file that is left for the next one is synced in every mode: only the newest is at risk. */
  get hasUnsynced(): boolean {
    return this.#hasUnsynced;
  }

  /** A quiet log is written to once more at `idleAtMs`, and that must be a sync. */
  confirmAtMs(idleAtMs: number): number {
    if (this.#mode !== 'batch') return idleAtMs;
    return Math.max(idleAtMs, this.#syncedAtMs + this.#intervalMs);
  }
}
