/**
 * The rows of a laid data directory, without a node: nothing is elected, nothing listens, nothing
 * is written but what opening a log writes. One lane in this thread replays the log over the
 * checkpoint and keeps the collections that are wanted, and no others, in memory.
 */
import type { Entry, GroupId, LogIndex } from '@holdfast/base';
import { assert, HoldfastError, logIndex, must } from '@holdfast/base';
import type {
  CollectionDefinition,
  LaneCommand,
  ShardReply,
  ShardTask,
  WalkedRows,
} from '@holdfast/shard-worker';
import { hasConditions, LaneEngine } from '@holdfast/shard-worker';
import type { CheckpointRoot, FileSystem, GroupLog, WalOptions } from '@holdfast/storage';
import { InlineWal, joinPath, readCheckpointRoot, WAL_DIRECTORY_NAME } from '@holdfast/storage';
import { manifestReferences } from '../../replica/checkpointer.ts';
import { loadMeta } from '../../replica/meta-file.ts';
import { shardCommand } from '../../replica/shard-step.ts';
import type { Pause } from '../../replica/slices.ts';
import { type CollectionState, collectionState } from '../../state/collection-state.ts';
import { MetaMachine } from '../../state/meta-machine.ts';
import type { MetaStep } from '../../state/meta-step.ts';

/** Entries replayed in one go, and between two pauses. */
const BATCH_ENTRY_COUNT_MAX = 512;
const BATCH_SIZE_BYTES_MAX = 4 * 1024 * 1024;
/** There is one engine, and it is opened once. */
const EPOCH = 1;

export interface OfflineOptions {
  readonly fileSystem: FileSystem;
  /** Laid by layDirectory; no node runs on it. */
  readonly directory: string;
  readonly group: GroupId;
  /** The state after this entry. */
  readonly index: LogIndex;
  /** Collections that are wanted, by the names they have then; null: all that are not hidden. */
  readonly names: readonly string[] | null;
  readonly pause: Pause;
  readonly wal?: Partial<WalOptions>;
}

/**
 * @throws HoldfastError COLLECTION_NOT_FOUND naming those there are, CHECKPOINT_CORRUPT,
 *   SEGMENT_CORRUPT, WAL_CORRUPT, FORMAT_UNKNOWN, FILE_IO
 */
export async function openOffline(options: OfflineOptions): Promise<OfflineState> {
  const { directory, fileSystem, group, index, wal: walOptions = {} } = options;
  const root = readCheckpointRoot(fileSystem, directory)?.root ?? null;
  const walDirectory = joinPath(directory, WAL_DIRECTORY_NAME);
  const wal = InlineWal.open({ fileSystem, directory: walDirectory, options: walOptions });
  try {
    const log = wal.groupLog(group);
    const meta = await loadAt(options, root);
    await replay(log, meta, index, options.pause, () => undefined);
    const definitions = wanted(meta, options);
    const uids = new Set(definitions.map(({ uid }) => uid));
    const engine = await loadRows(options, root, log, uids);
    return new OfflineState(engine, definitions);
  } finally {
    await wal.close();
  }
}

export class OfflineState {
  readonly #engine: LaneEngine;
  /** In the order they were asked for, as they are at the end of the log. */
  readonly definitions: readonly CollectionDefinition[];

  constructor(engine: LaneEngine, definitions: readonly CollectionDefinition[]) {
    this.#engine = engine;
    this.definitions = definitions;
  }

  /** Of all collections together. */
  get pointCount(): number {
    const reply = run(this.#engine, { kind: 'stats', epoch: EPOCH });
    assert(reply.kind === 'stats', 'stats are answered by stats');
    return reply.stats.liveRowCount;
  }

  /** All rows of a collection, a bounded stretch at a time. */
  *stretches({ shardCount, uid }: CollectionDefinition): Generator<WalkedRows, void, undefined> {
    for (let shard = 0; shard < shardCount; shard++) {
      let fromRow: number | null = 0;
      while (fromRow !== null) {
        const walked = this.#walk(uid, shard, fromRow);
        yield walked;
        fromRow = walked.nextRow;
      }
    }
  }

  /** Counts and digests, as a node that serves this state tells them. */
  states(): readonly CollectionState[] {
    const { appliedIndex: expectedIndex } = this.#engine;
    const reply = run(this.#engine, { kind: 'digest', epoch: EPOCH, expectedIndex });
    assert(reply.kind === 'digests', 'a lane that is asked for digests tells them');
    return this.definitions.map((definition) => {
      const shards = reply.digests.filter(({ uid }) => uid === definition.uid);
      return collectionState(definition, shards);
    });
  }

  #walk(uid: number, shard: number, fromRow: number): WalkedRows {
    const { appliedIndex: expectedIndex } = this.#engine;
    const walk = { kind: 'walk', uid, shard, fromRow, withPoints: true } as const;
    const reply = run(this.#engine, { kind: 'read', epoch: EPOCH, expectedIndex, reads: [walk] });
    assert(reply.kind === 'read', 'a read is answered by what was read');
    const result = must(reply.results[0], 'a read is answered');
    if (result.kind === 'error') throw HoldfastError.fromBody(result.error);
    assert(result.kind === 'walk', 'a walk is answered by rows');
    return result;
  }
}

function loadAt(
  { directory, fileSystem, pause }: OfflineOptions,
  root: CheckpointRoot | null,
): Promise<MetaMachine> {
  if (root === null) return Promise.resolve(MetaMachine.empty());
  return loadMeta(fileSystem, directory, root, pause);
}

function wanted(
  { catalogue }: MetaMachine,
  { index, names }: OfflineOptions,
): readonly CollectionDefinition[] {
  if (names === null) return catalogue.all();
  return names.map((name) => {
    const definition = catalogue.byName(name);
    if (definition !== undefined) return definition;
    const there = catalogue.all().map((each) => each.name);
    throw new HoldfastError(
      'COLLECTION_NOT_FOUND',
      `at index ${index} no collection was named '${name}'; there were ` +
        `${there.length === 0 ? 'none' : there.join(', ')}`,
      { details: { collection: name, index } },
    );
  });
}

async function loadRows(
  options: OfflineOptions,
  root: CheckpointRoot | null,
  log: GroupLog,
  uids: ReadonlySet<number>,
): Promise<LaneEngine> {
  const { directory, fileSystem, index, pause } = options;
  const meta = await loadAt(options, root);
  const engine = new LaneEngine({ fs: fileSystem, graphFactory: null });
  const isWanted = ({ uid }: { readonly uid: number }): boolean => uids.has(uid);
  run(engine, {
    ...{ kind: 'open', epoch: EPOCH, dataDirectory: directory, laneIndex: 0, laneCount: 1 },
    appliedIndex: meta.appliedIndex,
    definitions: meta.catalogue.stored().filter(isWanted),
    manifests: root === null ? [] : manifestReferences(root).filter(isWanted),
  });
  await replay(log, meta, index, pause, (entries, steps) => {
    const fromIndex = must(entries[0]).index;
    const toIndex = must(entries.at(-1)).index;
    const commands = entries.flatMap((entry, position) => {
      return commandsOf(entry.index, must(steps[position]), uids);
    });
    run(engine, { kind: 'apply', epoch: EPOCH, fromIndex, toIndex, commands });
  });
  return engine;
}

/** One lane has every shard, so it alone decides on the conditions of a batch. */
function commandsOf(
  index: LogIndex,
  step: MetaStep,
  uids: ReadonlySet<number>,
): readonly LaneCommand[] {
  // Nothing is written from here, so nothing has to be sealed.
  if (step.kind === 'done' || step.kind === 'verify' || step.kind === 'sealShards') return [];
  const uid = step.kind === 'dropShards' ? step.uid : step.definition.uid;
  if (!uids.has(uid)) return [];
  if (step.kind !== 'write') return [shardCommand(index, step)];
  const { at, ops, timestampMs } = step;
  const mode = hasConditions(ops) ? 'ifAllHold' : 'always';
  // The engine may keep what it is given, and the entry belongs to the log.
  const write = { kind: 'write', index, timestampMs, uid, mode, ops: ops.slice() } as const;
  return [at.index === index ? write : { ...write, version: at.index }];
}

async function replay(
  log: GroupLog,
  meta: MetaMachine,
  index: LogIndex,
  pause: Pause,
  take: (entries: readonly Entry[], steps: readonly MetaStep[]) => void,
): Promise<void> {
  while (meta.appliedIndex < index) {
    const low = logIndex(meta.appliedIndex + 1);
    const high = logIndex(Math.min(index, meta.appliedIndex + BATCH_ENTRY_COUNT_MAX) + 1);
    const entries = log.entries(low, high, BATCH_SIZE_BYTES_MAX);
    assert(entries !== 'compacted' && entries.length > 0, 'a laid log has every entry', { low });
    take(
      entries,
      entries.map((entry) => meta.step(entry)),
    );
    await pause();
  }
}

function run(engine: LaneEngine, task: ShardTask): ShardReply {
  const reply = engine.run(task);
  if (reply.kind === 'failed') throw HoldfastError.fromBody(reply.error);
  return reply;
}
