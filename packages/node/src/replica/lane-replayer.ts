/**
 * Gives one lane its state back while the others go on: the newest checkpoint, then what the log
 * after it means for this lane. The meta state of the checkpoint is stepped through the same
 * entries again, aside of the living one, so the commands come out as they did the first time.
 */
import type { Entry, GroupId, LogIndex } from '@holdfast/base';
import { HoldfastError, logIndex, must, toHoldfastError } from '@holdfast/base';
import type {
  LaneBatch,
  LaneCommand,
  LaneReplay,
  LaneReplayRun,
  LaneReplayStart,
  ShardHost,
} from '@holdfast/shard-worker';
import { hasConditions, splitPointOps } from '@holdfast/shard-worker';
import type { CheckpointRoot, FileSystem, Wal } from '@holdfast/storage';
import { MetaMachine } from '../state/meta-machine.ts';
import type { MetaStep } from '../state/meta-step.ts';
import type { Checkpointer } from './checkpointer.ts';
import { manifestReferences } from './checkpointer.ts';
import type { RotListener } from './log-store.ts';
import { rottenIndexOf } from './log-store.ts';
import { loadMeta } from './meta-file.ts';
import { shardCommand } from './shard-step.ts';
import type { Pause } from './slices.ts';
import type { VoteMemory } from './vote-memory.ts';

/** As much as the applier hands over at a time: short enough for the event loop. */
const BATCH_ENTRY_COUNT_MAX = 512;
const BATCH_SIZE_BYTES_MAX = 1024 * 1024;

export interface LaneReplayerOptions {
  readonly fileSystem: FileSystem;
  readonly dataDirectory: string;
  readonly wal: Wal;
  readonly group: GroupId;
  readonly host: Pick<ShardHost, 'laneCount' | 'laneOf'>;
  readonly checkpointer: Pick<Checkpointer, 'roots' | 'pin'>;
  readonly votes: Pick<VoteMemory, 'knowsAfter' | 'wasRefused'>;
  /** Of the state that the lanes are part of. */
  readonly appliedIndex: () => LogIndex;
  /** An entry could not be read: somebody mends it meanwhile. */
  readonly onRot: RotListener;
  readonly pause: Pause;
}

export class LaneReplayer implements LaneReplay {
  readonly #options: LaneReplayerOptions;

  constructor(options: LaneReplayerOptions) {
    this.#options = options;
  }

  async begin(lane: number, needIndex: LogIndex, attempt: number): Promise<LaneReplayStart> {
    const { appliedIndex, checkpointer, fileSystem, dataDirectory, pause } = this.#options;
    if (this.#log().base().index > appliedIndex()) {
      // A snapshot was installed. Loading it opens every lane; what this one was is not to be had.
      throw new HoldfastError('SHARD_UNAVAILABLE', 'an installed snapshot waits to be loaded');
    }
    const usable = this.#usableRoots(needIndex);
    // A checkpoint whose files are damaged gives way to the one before.
    const root = usable[(attempt - 1) % usable.length];
    if (root === undefined) {
      return { kind: 'impossible', reason: 'has no checkpoint with the log after it any more' };
    }
    const index = root === null ? logIndex(0) : logIndex(root.meta.index);
    const unpin = root === null ? () => {} : checkpointer.pin(root);
    try {
      const meta =
        root === null
          ? MetaMachine.empty()
          : await loadMeta(fileSystem, dataDirectory, root, pause);
      const start = {
        appliedIndex: index,
        definitions: meta.catalogue.stored(),
        manifests: root === null ? [] : manifestReferences(root),
      };
      return { kind: 'run', run: this.#run(lane, meta, start, unpin) };
    } catch (error) {
      unpin();
      throw error;
    }
  }

  /** Newest first; null is the beginning of all, before any checkpoint. */
  #usableRoots(needIndex: LogIndex): readonly (CheckpointRoot | null)[] {
    const { checkpointer, votes } = this.#options;
    const baseIndex = this.#log().base().index;
    const roots = checkpointer.roots.length === 0 ? [null] : checkpointer.roots;
    return roots.filter((root) => {
      const index = logIndex(root?.meta.index ?? 0);
      return index <= needIndex && baseIndex <= index && votes.knowsAfter(index);
    });
  }

  #run(
    lane: number,
    meta: MetaMachine,
    start: LaneReplayRun['start'],
    end: () => void,
  ): LaneReplayRun {
    return {
      ...{ start, end },
      get atIndex() {
        return meta.appliedIndex;
      },
      next: async (toIndex) => {
        await this.#options.pause();
        return this.#next(lane, meta, toIndex);
      },
    };
  }

  #next(lane: number, meta: MetaMachine, toIndex: LogIndex): LaneBatch {
    const fromIndex = logIndex(meta.appliedIndex + 1);
    const high = logIndex(Math.min(toIndex, meta.appliedIndex + BATCH_ENTRY_COUNT_MAX) + 1);
    const entries = this.#read(fromIndex, high);
    if (entries === 'compacted') {
      throw new HoldfastError('SHARD_UNAVAILABLE', `the log gives no entry ${fromIndex} any more`);
    }
    const commands = entries.flatMap((entry) => this.#commandsOf(lane, entry, meta.step(entry)));
    return { fromIndex, toIndex: must(entries.at(-1)).index, commands };
  }

  /** Rot fails this attempt of the lane; the next ones find it repaired. */
  #read(low: LogIndex, high: LogIndex): readonly Entry[] | 'compacted' {
    try {
      return this.#log().entries(low, high, BATCH_SIZE_BYTES_MAX);
    } catch (thrown) {
      const index = rottenIndexOf(thrown);
      if (index !== null) void this.#options.onRot(index, toHoldfastError(thrown));
      throw thrown;
    }
  }

  #commandsOf(lane: number, { index }: Entry, step: MetaStep): readonly LaneCommand[] {
    switch (step.kind) {
      case 'done':
      case 'verify':
        return [];
      case 'write':
        return this.#writeOf(lane, index, step);
      default:
        return [shardCommand(index, step)];
    }
  }

  #writeOf(
    lane: number,
    index: LogIndex,
    { at, definition, ops: allOps, timestampMs }: Extract<MetaStep, { readonly kind: 'write' }>,
  ): readonly LaneCommand[] {
    const { host, votes } = this.#options;
    const { uid, shardCount } = definition;
    const laneOf = (shard: number): number => host.laneOf(uid, shard);
    const parts = splitPointOps(allOps, shardCount, laneOf, host.laneCount);
    const ops = must(parts)[lane] ?? null;
    if (ops === null) return [];
    const isConditional = hasConditions(allOps);
    const isOneLane = parts.filter((part) => part !== null).length === 1;
    if (isConditional && !isOneLane && votes.wasRefused(index)) return [];
    const mode = isConditional && isOneLane ? 'ifAllHold' : 'always';
    const write = { kind: 'write', index, timestampMs, uid, mode, ops } as const;
    return [at.index === index ? write : { ...write, version: at.index }];
  }

  #log() {
    return this.#options.wal.groupLog(this.#options.group);
  }
}
