/** Tells how far the loading of a checkpoint is: in the log while it lasts, to whoever asks. */
import type { Clock, Logger, TimerHandle, Timers } from '@holdfast/base';
import type { LoadProgress, ShardHost } from '@holdfast/shard-worker';
import type { CheckpointRoot } from '@holdfast/storage';

/** Between two log lines of one loading. */
const TELL_INTERVAL_MS = 2_000;

export interface LoadWatchOptions {
  readonly host: Pick<ShardHost, 'loadProgress'>;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly timers: Timers;
  readonly logger: Logger;
}

export class LoadWatch {
  readonly #options: LoadWatchOptions;

  constructor(options: LoadWatchOptions) {
    this.#options = options;
  }

  progress(): LoadProgress {
    return this.#options.host.loadProgress();
  }

  /** Settles as `loading` does. */
  async during(root: CheckpointRoot, loading: Promise<void>): Promise<void> {
    const { clock, logger } = this.#options;
    const startMs = clock.monotonicMs();
    const stop = this.#tellOften();
    try {
      await loading;
    } finally {
      stop();
    }
    const elapsedMs = Math.round(clock.monotonicMs() - startMs);
    const { rowCount } = this.progress();
    logger.info({ index: root.meta.index, rowCount, elapsedMs }, 'checkpoint is loaded');
  }

  #tellOften(): () => void {
    const { logger, timers } = this.#options;
    let timer: TimerHandle | null = null;
    const next = (): void => {
      timer = timers.after(TELL_INTERVAL_MS, () => {
        const { loadedRowCount, rowCount } = this.progress();
        logger.info({ loadedRowCount, rowCount }, 'loading the checkpoint');
        next();
      });
    };
    next();
    return () => timer?.cancel();
  }
}
