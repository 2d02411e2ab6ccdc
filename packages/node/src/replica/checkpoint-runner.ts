/** Makes checkpoints when they are due, and decides what a failed one means for the node. */
import type { Clock, Logger, LogIndex } from '@holdfast/base';
import type { CheckpointRoot, Wal } from '@holdfast/storage';
import { isFatalForNode } from './checkpoint-failure.ts';
import type { CheckpointScheduleOptions } from './checkpoint-schedule.ts';
import { CheckpointSchedule } from './checkpoint-schedule.ts';
import type { Checkpointer } from './checkpointer.ts';

export interface CheckpointRunnerOptions {
  readonly checkpointer: Checkpointer;
  readonly schedule: CheckpointScheduleOptions;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly wal: Pick<Wal, 'stats'>;
  readonly logger: Logger;
  readonly onSucceeded: () => void;
  /** The node must stop. */
  readonly onFatal: (error: unknown) => void;
}

export class CheckpointRunner {
  readonly #options: CheckpointRunnerOptions;
  readonly #schedule: CheckpointSchedule;

  constructor(options: CheckpointRunnerOptions) {
    this.#options = options;
    const { schedule, clock, wal } = options;
    this.#schedule = new CheckpointSchedule(
      schedule,
      clock.monotonicMs(),
      wal.stats().bytesWritten,
    );
  }

  /** Since the last good one; above 0 is an alarm. */
  get failuresInRow(): number {
    return this.#schedule.failuresInRow;
  }

  /** Makes one now. Rejects: the node stops, or it is tried again later. */
  async run(): Promise<CheckpointRoot> {
    const { checkpointer, clock, wal, onSucceeded } = this.#options;
    this.#schedule.started(clock.monotonicMs(), wal.stats().bytesWritten);
    try {
      const root = await checkpointer.run();
      this.#schedule.succeeded();
      onSucceeded();
      return root;
    } catch (error) {
      this.#onFailed(error);
      throw error;
    }
  }

  /** As `run`, for those who do not wait; nothing while the back-off after a failure lasts. */
  runInBackground(): void {
    if (this.#schedule.isHeldBack(this.#options.clock.monotonicMs())) return;
    // What a failure means is decided above, where it is seen first.
    this.run().catch(() => undefined);
  }

  onTick(nowMs: number, appliedIndex: LogIndex): void {
    const { bytesWritten } = this.#options.wal.stats();
    if (appliedIndex > 0 && this.#schedule.isDue(nowMs, bytesWritten)) this.runInBackground();
  }

  #onFailed(error: unknown): void {
    const { clock, logger, onFatal } = this.#options;
    if (isFatalForNode(error)) {
      onFatal(error);
      return;
    }
    const delayMs = this.#schedule.failed(clock.monotonicMs());
    const { failuresInRow } = this.#schedule;
    logger.error(
      { error: String(error), failuresInRow, delayMs },
      'a checkpoint failed; the one before stays and the log grows until one succeeds',
    );
  }
}
