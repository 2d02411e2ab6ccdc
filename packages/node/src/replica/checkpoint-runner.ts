/** Makes checkpoints when they are due, and decides what a failed one means for the node. */
import type { Clock, Logger, LogIndex } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import { checkpointFiles } from '@holdfast/shard-worker';
import type { CheckpointRoot, FileSystem, Wal } from '@holdfast/storage';
import { classifyWriteError, joinPath } from '@holdfast/storage';
import type { CheckpointTrouble } from '../heal/self-causes.ts';
import { isFatalForNode } from './checkpoint-failure.ts';
import type { CheckpointScheduleOptions, CheckpointWrites } from './checkpoint-schedule.ts';
import { CheckpointSchedule } from './checkpoint-schedule.ts';
import type { Checkpointer } from './checkpointer.ts';
import { manifestReferences } from './checkpointer.ts';

export interface CheckpointRunnerOptions {
  readonly checkpointer: Checkpointer;
  readonly schedule: CheckpointScheduleOptions;
  readonly fileSystem: FileSystem;
  readonly dataDirectory: string;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly wal: Pick<Wal, 'stats'>;
  readonly logger: Logger;
  readonly onSucceeded: () => void;
  /** The node must stop. */
  readonly onFatal: (error: unknown) => void;
}

export interface CheckpointCost {
  readonly durationMs: number;
  /** Of all its files, those that an earlier checkpoint wrote included. */
  readonly sizeBytes: number;
}

export class CheckpointRunner {
  readonly #options: CheckpointRunnerOptions;
  readonly #schedule: CheckpointSchedule;
  readonly #listeners: ((trouble: CheckpointTrouble) => void)[] = [];
  #newest: CheckpointCost | null = null;

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

  /** How the disk takes what checkpoints write. */
  get writes(): CheckpointWrites {
    return this.#schedule.writes;
  }

  /** Of the newest that succeeded; null before it. */
  get newest(): CheckpointCost | null {
    return this.#newest;
  }

  /** Told after every failure, and when one succeeds again. */
  onOutcome(listener: (trouble: CheckpointTrouble) => void): void {
    this.#listeners.push(listener);
  }

  /** Makes one now. Rejects: the node stops, or it is tried again later. */
  async run(): Promise<CheckpointRoot> {
    const { checkpointer, clock, wal, onSucceeded } = this.#options;
    const startMs = clock.monotonicMs();
    this.#schedule.started(startMs, wal.stats().bytesWritten);
    try {
      const root = await checkpointer.run();
      const sizeBytes = this.#sizeBytesOf(root);
      this.#newest = { durationMs: clock.monotonicMs() - startMs, sizeBytes };
      const { failuresInRow } = this.#schedule;
      this.#schedule.succeeded();
      if (failuresInRow > 0) this.#tell({ failuresInRow: 0, reason: '' });
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
    this.#schedule.noteRoom(nowMs, () => this.#freeSizeBytes());
    if (appliedIndex > 0 && this.#schedule.isDue(nowMs, bytesWritten)) this.runInBackground();
  }

  #onFailed(error: unknown): void {
    const { clock, logger, onFatal } = this.#options;
    if (isFatalForNode(error)) {
      onFatal(error);
      return;
    }
    const refusal = classifyWriteError(error);
    const freeSizeBytes = this.#freeSizeBytes();
    const delayMs = this.#schedule.failed(clock.monotonicMs(), { refusal, freeSizeBytes });
    const { failuresInRow } = this.#schedule;
    const reason = String(error);
    logger.error(
      { error: reason, failuresInRow, delayMs, ...this.writes },
      'a checkpoint failed; the one before stays and the log grows until one succeeds',
    );
    this.#tell({ failuresInRow, reason });
  }

  /** 0 when the disk does not even say that. */
  #freeSizeBytes(): number {
    const { dataDirectory, fileSystem } = this.#options;
    return orZero(() => fileSystem.freeBytes(dataDirectory));
  }

  /** For people: 0 when a file of it is damaged already, which the scrubber tells. */
  #sizeBytesOf(root: CheckpointRoot): number {
    const { dataDirectory, fileSystem } = this.#options;
    return orZero(() =>
      checkpointFiles(fileSystem, dataDirectory, manifestReferences(root))
        .map(({ path }) => fileSystem.sizeBytes(joinPath(dataDirectory, path)))
        .reduce((sum, sizeBytes) => sum + sizeBytes, root.metaFile.sizeBytes),
    );
  }

  #tell(trouble: CheckpointTrouble): void {
    for (const listener of this.#listeners) listener(trouble);
  }
}

function orZero(ask: () => number): number {
  try {
    return ask();
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    return 0;
  }
}
