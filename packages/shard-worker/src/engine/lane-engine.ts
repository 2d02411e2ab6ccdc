/**
 * One lane: the shards that live on it, behind one synchronous `run`. No clock, no chance, no
 * thread: a worker, a simulation and a unit test run the same object. Only `open` and `checkpoint`
 * touch the disk, through the FileSystem given.
 *
 * A failure inside `apply` leaves rows half written, so the engine refuses everything after it:
 * the node must stop and replay, never go on from a state that no log describes.
 *
 * Over 400 lines because every task of a lane ends here.
 */
import type { LogIndex } from '@holdfast/base';
import { assert, failpoint, HoldfastError, must, unreachable } from '@holdfast/base';
import type { ChecksumAlgorithm, FileSystem } from '@holdfast/storage';
import type { GraphFactory } from '../graph/graph.ts';
import type { GraphCacheOptions } from '../graph-cache/graph-cache.ts';
import { LaneGraphs } from '../graph-cache/lane-graphs.ts';
import type { CollectionDefinition } from '../model.ts';
import { assertUniqueShards } from '../segment/references.ts';
import type { LaneCommand, ShardReply, ShardTask, WriteOutcome } from '../tasks.ts';
import { applyWrite, findConflicts } from './apply.ts';
import { LaneCheckpoints } from './lane-checkpoint.ts';
import type { LaneCollection } from './lane-collection.ts';
import { ownShards, redefine, shardOf, withChecksum } from './lane-collection.ts';
import type { WantedShard } from './lane-loader.ts';
import { loadShards, missingManifest } from './lane-loader.ts';
import { describeLane } from './lane-stats.ts';
import type { SearchLayers } from './layers.ts';
import { runRead } from './read.ts';
import { COMPACTION_DEAD_ROW_COUNT_MIN, isCompactionDue } from './row-compaction.ts';
import { Shard } from './shard.ts';

export interface LaneEngineOptions {
  readonly fs: FileSystem;
  /** Null: no graph, every search is exact. */
  readonly graphFactory: GraphFactory | null;
  /** Dead rows worth letting go; tests have few. Default: COMPACTION_DEAD_ROW_COUNT_MIN. */
  readonly compactionDeadRowCountMin?: number;
  /** Graphs are saved and taken back at open: only on a real disk, native code opens the files. */
  readonly graphCache?: GraphCacheOptions | null;
  /** Deadlines of searches; without it there are none. */
  readonly layers?: SearchLayers;
}

/** Copying a row to the next generation costs about a sixtieth of putting it into a graph. */
const COMPACTED_ROWS_PER_BUILT_ROW = 64;

type Task<Kind extends ShardTask['kind']> = Extract<ShardTask, { readonly kind: Kind }>;

export class LaneEngine {
  readonly #options: LaneEngineOptions;
  readonly #collections = new Map<number, LaneCollection>();
  #state: 'new' | 'open' | 'failed' | 'closed' = 'new';
  #epoch = 0;
  #laneIndex = 0;
  #laneCount = 1;
  #dataDirectory = '';
  #appliedIndex = 0 as LogIndex;
  readonly #checkpoints = new LaneCheckpoints();
  /** Shards whose dead rows are let go, one after the other. */
  #toCompact: Shard[] = [];
  #graphs: LaneGraphs;

  constructor(options: LaneEngineOptions) {
    this.#options = options;
    this.#graphs = new LaneGraphs(options, '');
  }

  get appliedIndex(): LogIndex {
    return this.#appliedIndex;
  }

  /** True while a checkpoint is being written: `stepCheckpoint` goes on with it. */
  get isCheckpointing(): boolean {
    return this.#checkpoints.isBusy;
  }

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  /**
   * True when rows wait to enter a graph or a payload index, dead rows to leave memory, or a graph
   * to be saved.
   */
  get hasBuildWork(): boolean {
    if (this.#state !== 'open') return false;
    if (this.#canCompact || this.#graphs.hasWork) return true;
    for (const { queue, indexes } of this.#shards())
      if (queue.hasWork || indexes.hasWork) return true;
    return false;
  }

  /** Rows that wait to enter a graph. */
  get buildBacklog(): number {
    let rowCount = 0;
    for (const { queue } of this.#shards()) if (queue.hasWork) rowCount += queue.backlog;
    return rowCount;
  }

  /**
   * As `run`, but a checkpoint is only begun: everything it holds is captured before this returns,
   * and its reply comes from `stepCheckpoint`. Null: that is what happened.
   */
  start(task: ShardTask): ShardReply | null {
    if (task.kind !== 'checkpoint') return this.run(task);
    const refusal = this.#refusal(task.epoch);
    if (refusal !== null) return this.#reply(task.epoch, { kind: 'failed', error: refusal });
    this.#beginCheckpoint(task);
    return null;
  }

  /** Writes about a quarter of a megabyte; the reply when all is written or it cannot be. */
  stepCheckpoint(): ShardReply | null {
    try {
      const step = this.#checkpoints.step();
      if (step === null) return null;
      this.#graphs.checkpointed(this.#shards(), this.#appliedIndex);
      return { epoch: this.#epoch, kind: 'checkpointed', ...step };
    } catch (error) {
      return this.#failed(this.#epoch, error);
    }
  }

  /**
   * Executes one task and answers it. A damaged or unreadable disk, and a task of another epoch,
   * answer `failed`; a broken invariant throws.
   */
  run(task: ShardTask): ShardReply {
    if (task.kind !== 'open') {
      const refusal = this.#refusal(task.epoch);
      if (refusal !== null) return this.#reply(task.epoch, { kind: 'failed', error: refusal });
    }
    switch (task.kind) {
      case 'open':
        return this.#open(task);
      case 'apply':
        return this.#apply(task);
      case 'vote':
        return this.#vote(task);
      case 'read':
        return this.#read(task);
      case 'checkpoint':
        this.#beginCheckpoint(task);
        for (;;) {
          const reply = this.stepCheckpoint();
          if (reply !== null) return reply;
        }
      case 'checkpointDurable':
        this.#onCheckpointDurable(task.checkpointId);
        return this.#reply(task.epoch, { kind: 'noted' });
      case 'digest':
        return this.#digests(task);
      case 'stats':
        return this.#reply(task.epoch, {
          kind: 'stats',
          stats: describeLane(
            this.#appliedIndex,
            [...this.#shards()],
            this.#graphs,
            this.#options.layers ?? null,
          ),
        });
      case 'settle':
        while (this.buildSlice(Number.MAX_SAFE_INTEGER));
        return this.#reply(task.epoch, { kind: 'settled' });
      case 'close':
        this.#clear();
        this.#state = 'closed';
        return this.#reply(task.epoch, { kind: 'closed' });
      default:
        return unreachable(task);
    }
  }

  /** Looks after the recall of one graph for about a millisecond; true when all were looked at. */
  probeSlice(): boolean {
    return this.#state !== 'open' || this.#graphs.probe([...this.#shards()]);
  }

  /**
   * Puts up to `rowCountMax` rows into payload indexes and graphs; true when more wait. Indexes go
   * first: a row costs them a hundredth of what it costs a graph.
   */
  buildSlice(rowCountMax: number): boolean {
    if (this.#state !== 'open') return false;
    this.#graphs.step();
    let budget = rowCountMax;
    if (this.#canCompact) {
      this.#compactSlice(budget * COMPACTED_ROWS_PER_BUILT_ROW);
      return this.hasBuildWork;
    }
    for (const shard of this.#shards()) {
      if (budget <= 0) break;
      budget -= shard.indexes.buildSlice(budget);
    }
    for (const shard of this.#shards()) {
      if (budget <= 0) break;
      budget -= shard.queue.buildSlice(budget);
    }
    return this.hasBuildWork;
  }

  #open(task: Task<'open'>): ShardReply {
    this.#clear();
    this.#state = 'failed';
    this.#epoch = task.epoch;
    this.#laneIndex = task.laneIndex;
    this.#laneCount = task.laneCount;
    this.#dataDirectory = task.dataDirectory;
    this.#appliedIndex = task.appliedIndex;
    this.#graphs = new LaneGraphs(this.#options, task.dataDirectory);
    failpoint('lane.before-open');
    try {
      this.#load(task);
    } catch (error) {
      this.#collections.clear();
      return this.#failed(task.epoch, error);
    }
    this.#state = 'open';
    failpoint('lane.after-open');
    return this.#reply(task.epoch, { kind: 'opened' });
  }

  #clear(): void {
    this.#graphs.close();
    this.#collections.clear();
    this.#toCompact = [];
    this.#checkpoints.abandon();
  }

  #load(task: Task<'open'>): void {
    assertUniqueShards(task.manifests);
    const wanted = task.definitions.flatMap((definition) =>
      this.#ownShards(definition).map((shard): WantedShard => {
        const reference = task.manifests.find(
          (candidate) => candidate.uid === definition.uid && candidate.shard === shard,
        );
        if (reference === undefined) throw missingManifest(definition, shard);
        return { definition, shard, reference };
      }),
    );
    const { fs, graphFactory: factory } = this.#options;
    const { appliedIndex, dataDirectory, progress = null } = task;
    const place = { fs, dataDirectory };
    const loaded = loadShards({ place, appliedIndex, factory, progress }, wanted);
    for (const definition of task.definitions)
      this.#collections.set(definition.uid, { definition, shards: new Map() });
    this.#graphs.restore(loaded);
    for (const shard of loaded)
      must(this.#collections.get(shard.definition.uid)).shards.set(shard.shard, shard);
  }

  #apply(task: Task<'apply'>): ShardReply {
    assert(task.fromIndex === this.#appliedIndex + 1, 'entries apply in log order', {
      fromIndex: task.fromIndex,
      appliedIndex: this.#appliedIndex,
    });
    assert(task.toIndex >= task.fromIndex, 'an apply covers at least one entry');
    failpoint('lane.before-apply');
    const outcomes: WriteOutcome[] = [];
    this.#state = 'failed';
    let previousIndex = this.#appliedIndex;
    for (const command of task.commands) {
      assert(command.index > previousIndex && command.index <= task.toIndex, 'command order', {
        index: command.index,
      });
      previousIndex = command.index;
      const outcome = this.#applyCommand(command);
      if (outcome !== null) outcomes.push(outcome);
    }
    this.#appliedIndex = task.toIndex;
    this.#state = 'open';
    failpoint('lane.after-apply');
    return this.#reply(task.epoch, { kind: 'applied', outcomes });
  }

  #applyCommand(command: LaneCommand): WriteOutcome | null {
    switch (command.kind) {
      case 'createCollection': {
        const { definition } = command;
        assert(!this.#collections.has(definition.uid), 'a collection is created once');
        const shards = new Map<number, Shard>();
        for (const shard of this.#ownShards(definition))
          shards.set(shard, new Shard(definition, shard, this.#options.graphFactory));
        this.#collections.set(definition.uid, { definition, shards });
        return null;
      }
      case 'redefineCollection': {
        const { definition } = command;
        const known = must(this.#collections.get(definition.uid), 'redefines no collection');
        this.#collections.set(definition.uid, redefine(known, definition));
        return null;
      }
      case 'dropCollection':
        this.#graphs.forget(this.#collections.get(command.uid)?.shards.values() ?? []);
        assert(this.#collections.delete(command.uid), 'a dropped collection must exist', {
          uid: command.uid,
        });
        this.#toCompact = this.#toCompact.filter(
          ({ definition }) => definition.uid !== command.uid,
        );
        return null;
      case 'changeChecksum':
        this.#changeChecksum(command.uid, command.algorithm);
        return null;
      case 'seal':
        for (const { shards } of this.#collections.values())
          for (const shard of shards.values()) shard.sealGrowing();
        return null;
      case 'write': {
        const collection = must(this.#collections.get(command.uid), 'write to no collection');
        const { shardCount } = collection.definition;
        return applyWrite({ ...command, shardCount }, (shard) => shardOf(collection, shard));
      }
      default:
        return unreachable(command);
    }
  }

  #changeChecksum(uid: number, algorithm: ChecksumAlgorithm): void {
    const known = must(this.#collections.get(uid), 'change of no collection');
    this.#collections.set(uid, withChecksum(known, algorithm));
  }

  #vote(task: Task<'vote'>): ShardReply {
    this.#assertAt(task.expectedIndex);
    const collection = must(this.#collections.get(task.uid), 'vote on no collection');
    const conflicts = findConflicts(task.ops, collection.definition.shardCount, (shard) =>
      shardOf(collection, shard),
    );
    return this.#reply(task.epoch, { kind: 'voted', conflicts });
  }

  #read(task: Task<'read'>): ShardReply {
    this.#assertAt(task.expectedIndex);
    const layers = this.#options.layers ?? null;
    const results = task.reads.map((read) => runRead(read, this.#collections, layers));
    return this.#reply(task.epoch, { kind: 'read', results });
  }

  #beginCheckpoint(task: Task<'checkpoint'>): void {
    this.#assertAt(task.expectedIndex);
    const place = { fs: this.#options.fs, dataDirectory: this.#dataDirectory };
    this.#checkpoints.begin(place, this.#shards(), this.#appliedIndex, task.checkpointId);
  }

  #onCheckpointDurable(checkpointId: string): void {
    if (!this.#checkpoints.becameDurable(checkpointId)) return;
    const deadRowCountMin =
      this.#options.compactionDeadRowCountMin ?? COMPACTION_DEAD_ROW_COUNT_MIN;
    for (const shard of this.#shards()) {
      if (this.#toCompact.includes(shard) || !isCompactionDue(shard, deadRowCountMin)) continue;
      this.#toCompact.push(shard);
    }
  }

  /** Not while a checkpoint is written: it holds the old generation, that would be one more. */
  get #canCompact(): boolean {
    return this.#toCompact.length > 0 && !this.isCheckpointing;
  }

  #compactSlice(rowCountMax: number): void {
    const shard = must(this.#toCompact[0], 'a shard waits for compaction');
    if (!shard.compact(rowCountMax)) this.#toCompact.shift();
  }

  #digests(task: Task<'digest'>): ShardReply {
    this.#assertAt(task.expectedIndex);
    const digests = [...this.#shards()].map((shard) => ({
      uid: shard.definition.uid,
      shard: shard.shard,
      digest: shard.digest.toHex(),
      liveRowCount: shard.rows.liveCount,
    }));
    return this.#reply(task.epoch, { kind: 'digests', digests });
  }

  *#shards(): Generator<Shard, void, undefined> {
    for (const collection of this.#collections.values()) yield* collection.shards.values();
  }

  #ownShards(definition: CollectionDefinition): number[] {
    return ownShards(definition, this.#laneIndex, this.#laneCount);
  }

  #assertAt(expectedIndex: LogIndex): void {
    assert(expectedIndex === this.#appliedIndex, 'a read must see exactly the expected index', {
      expectedIndex,
      appliedIndex: this.#appliedIndex,
    });
  }

  #refusal(epoch: number) {
    if (this.#state === 'open' && epoch === this.#epoch) return null;
    return new HoldfastError(
      'SHARD_UNAVAILABLE',
      `The lane's engine is ${this.#state} and not of epoch ${epoch}: its thread was replaced or ` +
        'failed. Open it again from the last checkpoint.',
      { details: { state: this.#state, epoch, engineEpoch: this.#epoch } },
    ).toBody();
  }

  /** Disk trouble is an answer; anything else is a bug and goes on up. */
  #failed(epoch: number, error: unknown): ShardReply {
    if (!(error instanceof HoldfastError)) throw error;
    return this.#reply(epoch, { kind: 'failed', error: error.toBody() });
  }

  #reply<Body extends ReplyBody>(epoch: number, body: Body) {
    return { epoch, appliedIndex: this.#appliedIndex, ...body };
  }
}

/** ShardReply without what every reply has. */
type ReplyBody = ShardReply extends infer Reply
  ? Reply extends ShardReply
    ? Omit<Reply, 'epoch' | 'appliedIndex'>
    : never
  : never;
