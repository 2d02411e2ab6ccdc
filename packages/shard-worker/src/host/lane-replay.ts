/**
 * Where a lane whose thread was lost gets its state back from: the newest checkpoint and the log
 * after it. The node provides it; a host only asks.
 */
import type { LogIndex } from '@holdfast/base';
import type { LaneCommand } from '../tasks.ts';
import type { ShardHostOpenOptions } from './shard-host.ts';

/** What entries fromIndex..toIndex mean for one lane. */
export interface LaneBatch {
  readonly fromIndex: LogIndex;
  readonly toIndex: LogIndex;
  readonly commands: readonly LaneCommand[];
}

export interface LaneReplayRun {
  /** State of the checkpoint, of all lanes. */
  readonly start: ShardHostOpenOptions;
  /** Everything up to here was handed out: the checkpoint's index at first. */
  readonly atIndex: LogIndex;
  /**
   * The next batch after the one before, at most up to `toIndex`.
   * @throws HoldfastError when the log cannot give it
   */
  next(toIndex: LogIndex): Promise<LaneBatch>;
  /** The files of the checkpoint are needed no more. */
  end(): void;
}

export type LaneReplayStart =
  | { readonly kind: 'run'; readonly run: LaneReplayRun }
  /** What a lane needs is not here: only a start of the whole node helps. */
  | { readonly kind: 'impossible'; readonly reason: string };

export interface LaneReplay {
  /**
   * Rejects: try again later. `needIndex`: the index that has to be reached. `attempt` counts from
   * 1: files that failed once may fail again, so it need not be the same checkpoint every time.
   */
  begin(lane: number, needIndex: LogIndex, attempt: number): Promise<LaneReplayStart>;
}
