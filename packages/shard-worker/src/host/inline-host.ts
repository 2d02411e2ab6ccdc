/**
 * ShardHost with its engines in this thread: for simulation, unit tests and tools. The engine runs
 * at the moment of the call; only the delivery of the reply is deferred, to a microtask or to
 * whatever `schedule` decides, so a run with a seeded scheduler repeats exactly. Graphs are filled
 * only when told to: by `buildSlice`, `settle`, or a few rows after each task.
 */
import type { FileSystem } from '@holdfast/storage';
import { LaneEngine } from '../engine/lane-engine.ts';
import type { GraphFactory } from '../graph/graph.ts';
import { loadGraphFactory } from '../graph/graph-engines.ts';
import type { GraphCacheOptions } from '../graph-cache/graph-cache.ts';
import type { ShardReply, ShardTask } from '../tasks.ts';
import type { LanePort } from './lane-fan-out.ts';
import { LaneFanOut } from './lane-fan-out.ts';

export interface InlineHostOptions {
  readonly fs: FileSystem;
  readonly dataDirectory: string;
  readonly laneCount: number;
  /** Null: every search is exact. Default: what this machine can load. */
  readonly graphFactory?: GraphFactory | null;
  /** As LaneEngineOptions.graphCache. Default: none, the file system may be in memory. */
  readonly graphCache?: GraphCacheOptions | null;
  /** Delivers a reply; callbacks must keep their order per lane. Default: a microtask. */
  readonly schedule?: (deliver: () => void) => void;
  /** Rows put into graphs after each task; 0 (the default) leaves it to `buildSlice`. */
  readonly buildRowCountPerTask?: number;
  /**
   * True: a checkpoint is written in steps, each when `schedule` lets the one before go, so that
   * other tasks and crashes fall between them. False (the default): in one go.
   */
  readonly isCheckpointSliced?: boolean;
  /** As in LaneEngineOptions. */
  readonly compactionDeadRowCountMin?: number;
}

export class InlineHost extends LaneFanOut {
  readonly #engines: readonly LaneEngine[];

  constructor(options: InlineHostOptions) {
    const graphFactory =
      options.graphFactory === undefined ? loadGraphFactory() : options.graphFactory;
    const engines = Array.from(
      { length: options.laneCount },
      () =>
        new LaneEngine({
          fs: options.fs,
          graphFactory,
          ...(options.compactionDeadRowCountMin === undefined
            ? {}
            : { compactionDeadRowCountMin: options.compactionDeadRowCountMin }),
          graphCache: options.graphCache ?? null,
        }),
    );
    super(
      engines.map((engine) => inlinePort(engine, options)),
      options.dataDirectory,
    );
    this.#engines = engines;
  }

  /** Puts up to `rowCountMax` rows per lane into graphs; true when more wait. */
  buildSlice(rowCountMax: number): boolean {
    return this.#engines.map((engine) => engine.buildSlice(rowCountMax)).includes(true);
  }
}

function inlinePort(engine: LaneEngine, options: InlineHostOptions): LanePort {
  const schedule = options.schedule ?? queueMicrotask;
  const buildRowCount = options.buildRowCountPerTask ?? 0;
  const isSliced = options.isCheckpointSliced ?? false;
  const post = (task: ShardTask) =>
    new Promise<ShardReply>((resolve, reject) => {
      const answer = (body: () => ShardReply | null): void => {
        try {
          const reply = body();
          if (reply === null) schedule(() => answer(() => engine.stepCheckpoint()));
          else schedule(() => resolve(reply));
        } catch (error) {
          schedule(() => reject(error));
        }
      };
      answer(() => (isSliced ? engine.start(task) : engine.run(task)));
      if (buildRowCount > 0) engine.buildSlice(buildRowCount);
    });
  return { post, assertRoomForRead: () => {}, close: async () => {} };
}
