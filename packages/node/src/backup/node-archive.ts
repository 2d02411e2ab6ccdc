/**
 * The archive of one node's log in all of its stores, which follows the leadership, and the backup
 * that a gap in it asks for: what lies behind a gap can be restored only from a backup after it.
 */
import type { HoldfastError, LogIndex, TimerHandle } from '@holdfast/base';
import type { LogGap } from '@holdfast/storage';
import type { KeptSinkStatus } from './archive/archive-keeper.ts';
import { ArchiveKeeper } from './archive/archive-keeper.ts';
import { behindPoint, committedPartOf } from './archive/committed-log.ts';
import type { ArchiverLimits } from './archive/log-archiver.ts';
import { SinkArchive } from './archive/sink-archive.ts';
import type { NodeBackupOptions } from './node-backup-options.ts';
import { OwnHistory } from './own-history.ts';
import type { BackupSink } from './sinks/sink.ts';

const GAP_RETRY_MS = 10_000;

export class NodeArchive {
  readonly #options: NodeBackupOptions;
  readonly #backUp: () => Promise<unknown>;
  readonly #keeper: ArchiveKeeper;
  #isLeading = false;
  /** Of the newest gap that a backup was begun for. */
  #gapIndex = 0;
  #gapTimer: TimerHandle | null = null;
  #isStopped = false;

  /** `backUp` makes a full backup; it is called until it resolves. */
  constructor(
    options: NodeBackupOptions,
    limits: Partial<ArchiverLimits>,
    backUp: () => Promise<unknown>,
  ) {
    this.#options = options;
    this.#backUp = backUp;
    this.#keeper = this.#makeKeeper(limits);
  }

  start(): void {
    this.#keeper.start();
  }

  setLeading(isLeading: boolean): void {
    this.#isLeading = isLeading;
    this.#keeper.setLeading(isLeading);
  }

  /** As ArchiveKeeper.archivedIndex. */
  get archivedIndex(): LogIndex | null {
    return this.#keeper.archivedIndex;
  }

  statuses(): readonly KeptSinkStatus[] {
    return this.#keeper.statuses();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#gapTimer?.cancel();
    await this.#keeper.stop();
  }

  #makeKeeper(limits: Partial<ArchiverLimits>): ArchiveKeeper {
    const { clock, hasher, identity, log, logger, random, replica, stores, timers } = this.#options;
    const { compression, keys, sinks } = stores;
    const own = new OwnHistory(this.#options);
    const kept = sinks.map((sink) => ({
      archive: new SinkArchive({
        ...{ sink, hasher, clock, random, limits, clusterId: identity.clusterId },
        sealing: { compression, keys, random: this.#options.randomBytes },
        log: behindPoint(
          committedPartOf(log, () => replica.commitIndex()),
          () => own.base(),
        ),
        origin: () => own.origin(),
        onGap: (gap) => this.#onGap(gap),
        onAlarm: (error) => this.#onAlarm(sink, error),
        onAlarmEnded: () => logger.info({ sink: sink.name }, 'the log is archived again'),
      }),
      isRequired: true,
    }));
    return new ArchiveKeeper(kept, timers, () => own.isPrimary);
  }

  #onAlarm(sink: BackupSink, error: HoldfastError): void {
    const { logger } = this.#options;
    const { code, details } = error;
    const what = `the log is not archived until this is mended: ${error.message}`;
    logger.error({ sink: sink.name, code, details }, what);
  }

  #onGap({ firstIndex, lastIndex, reason }: LogGap): void {
    if (lastIndex <= this.#gapIndex) return;
    this.#gapIndex = lastIndex;
    const { logger } = this.#options;
    logger.error({ firstIndex, lastIndex, reason }, 'the archive of the log has a gap');
    this.#backUpAfterGap();
  }

  /** Until it is there: of a gap nobody tells twice. */
  #backUpAfterGap(): void {
    const { logger, timers } = this.#options;
    if (this.#isStopped || !this.#isLeading) return;
    this.#backUp().catch((thrown: unknown) => {
      logger.error({ error: String(thrown) }, 'the backup after a gap of the archive failed');
      this.#gapTimer = timers.after(GAP_RETRY_MS, () => this.#backUpAfterGap());
    });
  }
}
