/**
 * Tells how far the loading of a checkpoint is: in the log while it lasts, and, once it lasts long
 * enough to be noticed, to whoever asks the node, which then opens its ports and sends clients to
 * other nodes.
 */
import type { Clock, Logger, TimerHandle, Timers } from '@holdfast/base';
import type { LoadProgress, ShardHost } from '@holdfast/shard-worker';
import type { CheckpointRoot, GroupLog, NodeIdentity } from '@holdfast/storage';
import type { Recovery } from './heal-log.ts';
import { startConf } from './heal-log.ts';

/** Between two log lines of one loading. */
const TELL_INTERVAL_MS = 2_000;

/** A node that takes longer shows itself as starting. */
const SHOWN_AFTER_MS = 1_000;

export interface LoadWatchOptions {
  readonly identity: NodeIdentity;
  readonly log: Pick<GroupLog, 'hardState' | 'lastIndex'>;
  readonly onRecovery?: (recovery: Recovery) => void;
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
    const { clock, logger, timers } = this.#options;
    const startMs = clock.monotonicMs();
    const stopTelling = this.#tellOften();
    const showing = timers.after(SHOWN_AFTER_MS, () => this.#show(root));
    try {
      await loading;
    } finally {
      stopTelling();
      showing.cancel();
    }
    const elapsedMs = Math.round(clock.monotonicMs() - startMs);
    const { rowCount } = this.progress();
    logger.info({ index: root.meta.index, rowCount, elapsedMs }, 'checkpoint is loaded');
  }

  #show(root: CheckpointRoot): void {
    const { identity, log, onRecovery } = this.#options;
    const { conf, confIndex } = startConf(identity, root);
    onRecovery?.({
      view: () => ({
        ...{ role: 'repairing', membership: 'voter', confIndex, members: conf.members },
        recovery: this.#sentence(root),
        term: log.hardState()?.term ?? 0,
        lastIndex: log.lastIndex(),
        failure: null,
      }),
      // Loading cannot be cut short; whoever stops the node waits for it.
      stop: () => undefined,
    });
  }

  #sentence({ meta }: CheckpointRoot): string {
    const { loadedRowCount, rowCount } = this.progress();
    return `loading the checkpoint at index ${meta.index}: ${loadedRowCount} of ${rowCount} rows`;
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
