/**
 * Applies committed, durable entries: meta state on this thread, rows on the lanes.
 *
 * The meta machine sees an entry first and says what the lanes must do; the lanes get one batch at
 * a time, in log order. `applied` moves only when every lane has answered. Reads are posted in one
 * turn to all their lanes, between two applies, so they see one log index everywhere.
 *
 * A conditional batch that spans lanes is a barrier: everything before it is applied, the lanes
 * vote on its conditions, and it is written on all of them or on none.
 *
 * A lane whose thread was lost lets its apply wait until it is back. One that fails for good stops
 * the node: a replica that skipped an entry must not go on.
 * Over 400 lines because the order of entries, reads and barriers is decided in one place.
 */
import type { Entry, HoldfastError, LogIndex, Term } from '@holdfast/base';
import {
  assert,
  failpoint,
  HoldfastError as HoldfastFailure,
  logIndex,
  must,
  toHoldfastError,
} from '@holdfast/base';
import type {
  CollectionDefinition,
  Conflict,
  HostApplyBatch,
  LaneCommand,
  LaneRead,
  LaneReadResult,
  ShardDigest,
  ShardHost,
  WriteOutcome,
} from '@holdfast/shard-worker';
import { hasConditions, splitPointOps } from '@holdfast/shard-worker';
import type { ResultSlot } from '../state/apply-result.ts';
import type { MetaMachine } from '../state/meta-machine.ts';
import { type EntryPlace, type MetaStep, refused, succeeded } from '../state/meta-step.ts';
import { voteInBatchOrder } from './lane-vote.ts';
import { shardCommand } from './shard-step.ts';
import { VoteMemory } from './vote-memory.ts';

/** Entries handed to the lanes in one batch: long enough to amortise, short enough for reads. */
const BATCH_ENTRY_COUNT_MAX = 512;
const BATCH_SIZE_BYTES_MAX = 4 * 1024 * 1024;

export interface AppliedEntry {
  readonly index: LogIndex;
  readonly term: Term;
  readonly slot: ResultSlot;
}

export interface ApplierOptions {
  readonly host: ShardHost;
  readonly meta: MetaMachine;
  /** Called in log order once every lane has applied them. */
  readonly onApplied: (entries: readonly AppliedEntry[], appliedIndex: LogIndex) => void;
  readonly onFailure: (error: HoldfastError) => void;
  /** What the shards came to after a `verify` entry. */
  readonly onDigests: (index: LogIndex, digests: readonly ShardDigest[]) => void;
}

type WriteStep = Pick<Extract<MetaStep, { kind: 'write' }>, 'at' | 'definition' | 'timestampMs'>;

interface PendingWrite {
  readonly entry: AppliedEntry;
  /** As its result names it. */
  readonly at: EntryPlace;
  /** Lanes that hold a part of it, and the position of that part among the lane's writes. */
  readonly parts: readonly { readonly lane: number; readonly position: number }[];
}

interface BatchBuilder {
  readonly fromIndex: LogIndex;
  readonly perLane: LaneCommand[][];
  readonly writeCounts: number[];
  readonly writes: PendingWrite[];
  readonly entries: AppliedEntry[];
}

interface Barrier {
  run(): Promise<void>;
  reject(error: HoldfastError): void;
}

export class Applier {
  /** What lanes refused together since the last checkpoint. */
  readonly votes: VoteMemory;
  readonly #host: ShardHost;
  readonly #onApplied: ApplierOptions['onApplied'];
  readonly #onFailure: ApplierOptions['onFailure'];
  readonly #onDigests: ApplierOptions['onDigests'];
  #meta: MetaMachine;
  #queue: Entry[] = [];
  #queueHead = 0;
  #barriers: Barrier[] = [];
  #postedIndex: LogIndex;
  #appliedIndex: LogIndex;
  #isRunning = false;
  #failure: HoldfastError | null = null;
  #isReplacing = false;

  constructor(options: ApplierOptions) {
    this.#host = options.host;
    this.#meta = options.meta;
    this.votes = new VoteMemory(options.meta.appliedIndex);
    this.#onApplied = options.onApplied;
    this.#onFailure = options.onFailure;
    this.#onDigests = options.onDigests;
    this.#postedIndex = options.meta.appliedIndex;
    this.#appliedIndex = options.meta.appliedIndex;
  }

  get meta(): MetaMachine {
    return this.#meta;
  }

  /** Every lane has applied this and everything before. */
  get appliedIndex(): LogIndex {
    return this.#appliedIndex;
  }

  /** What a read that is posted now sees. */
  get postedIndex(): LogIndex {
    return this.#postedIndex;
  }

  get queuedEntryCount(): number {
    return this.#queue.length - this.#queueHead;
  }

  /** Takes the next committed and durable entries, gapless. Bounded by raft's applying limit. */
  enqueue(entries: readonly Entry[]): void {
    for (const entry of entries) this.#queue.push(entry);
    this.#start();
  }

  /**
   * Runs `task` when nothing is in flight: meta state and lanes stand at the same index, every
   * result slot is filled, and no entry is applied until the task has settled. Rejects with what
   * stopped applying, if anything has.
   */
  barrier<Value>(task: (appliedIndex: LogIndex) => Promise<Value>): Promise<Value> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    return new Promise<Value>((resolve, reject) => {
      this.#barriers.push({
        run: () => task(this.#appliedIndex).then(resolve, reject),
        reject,
      });
      this.#start();
    });
  }

  /**
   * Posts reads to their lanes in this turn; they see everything posted so far and nothing else.
   * Outer index is the lane.
   */
  read(readsPerLane: readonly (readonly LaneRead[])[]): {
    readonly index: LogIndex;
    readonly results: Promise<readonly (readonly LaneReadResult[])[]>;
  } {
    const index = this.#postedIndex;
    if (this.#isReplacing) return { index, results: Promise.reject(beingReplaced()) };
    return { index, results: this.#host.read(index, readsPerLane) };
  }

  /**
   * The lanes are about to be given another state: until `replaceState` they hold neither the old
   * nor the new one, and reads are refused. Only inside a barrier.
   */
  startReplacing(): void {
    this.#isReplacing = true;
  }

  /**
   * After a snapshot install: state at `meta.appliedIndex`. Only inside a barrier. Entries that
   * still wait and are covered by the snapshot are not applied again.
   */
  replaceState(meta: MetaMachine): void {
    this.#queue = this.#queue
      .slice(this.#queueHead)
      .filter((entry) => entry.index > meta.appliedIndex);
    this.#queueHead = 0;
    this.#meta = meta;
    this.votes.forgetThrough(meta.appliedIndex);
    this.#postedIndex = meta.appliedIndex;
    this.#appliedIndex = meta.appliedIndex;
    this.#isReplacing = false;
  }

  /** Before a stop: whoever waits for its turn is refused, because a lane may be long away. */
  refuseBarriers(error: HoldfastError): void {
    const barriers = this.#barriers;
    this.#barriers = [];
    for (const barrier of barriers) barrier.reject(error);
  }

  #start(): void {
    if (this.#isRunning || this.#failure !== null) return;
    this.#isRunning = true;
    this.#run().catch((thrown: unknown) => this.#fail(toHoldfastError(thrown)));
  }

  #fail(error: HoldfastError): void {
    this.#failure = error;
    this.refuseBarriers(error);
    this.#onFailure(error);
  }

  async #run(): Promise<void> {
    for (;;) {
      const barrier = this.#barriers.shift();
      if (barrier !== undefined) {
        await barrier.run();
      } else if (this.#queueHead < this.#queue.length) {
        await this.#applyBatch(this.#takeBatch());
      } else {
        // In the same breath as the look at the queues: what comes later starts a new run.
        this.#isRunning = false;
        return;
      }
    }
  }

  #takeBatch(): readonly Entry[] {
    const batch: Entry[] = [];
    let sizeBytes = 0;
    while (this.#queueHead < this.#queue.length && batch.length < BATCH_ENTRY_COUNT_MAX) {
      const entry = must(this.#queue[this.#queueHead]);
      sizeBytes += entry.data.byteLength;
      if (batch.length > 0 && sizeBytes > BATCH_SIZE_BYTES_MAX) break;
      batch.push(entry);
      this.#queueHead += 1;
    }
    this.#forgetTaken();
    return batch;
  }

  /** Under load the queue may never run empty: what was taken must go all the same. */
  #forgetTaken(): void {
    if (this.#queueHead * 2 < this.#queue.length) return;
    this.#queue = this.#queue.slice(this.#queueHead);
    this.#queueHead = 0;
  }

  async #applyBatch(entries: readonly Entry[]): Promise<void> {
    let builder = this.#newBuilder();
    for (const entry of entries) {
      const step = this.#meta.step(entry);
      const applied: AppliedEntry = { index: entry.index, term: entry.term, slot: step.slot };
      if (step.kind === 'write' && hasConditions(step.ops)) {
        const parts = this.#split(step.definition, step.ops);
        const laneCount = parts.reduce((count, part) => count + (part === null ? 0 : 1), 0);
        if (laneCount > 1) {
          await this.#flush(builder, logIndex(entry.index - 1));
          builder = this.#newBuilder();
          failpoint('apply.before-vote');
          const conflicts = await voteInBatchOrder(this.#host, this.#postedIndex, step, parts);
          this.#addVoted(builder, applied, step, parts, conflicts);
        } else {
          this.#addWrite(builder, applied, step, parts, 'ifAllHold');
        }
        continue;
      }
      switch (step.kind) {
        case 'done':
          break;
        case 'verify':
          builder.entries.push(applied);
          await this.#verify(builder, entry.index);
          builder = this.#newBuilder();
          continue;
        case 'write': {
          const parts = this.#split(step.definition, step.ops);
          this.#addWrite(builder, applied, step, parts, 'always');
          continue;
        }
        default:
          addToEveryLane(builder, shardCommand(entry.index, step));
      }
      builder.entries.push(applied);
    }
    await this.#flush(builder, this.#meta.appliedIndex);
  }

  /**
   * Nothing is posted between the entry and the question, so every replica answers about it. One
   * that loses a lane just then says nothing this time.
   */
  async #verify(builder: BatchBuilder, index: LogIndex): Promise<void> {
    await this.#flush(builder, index);
    const digests = await this.#host.digests(index).catch((thrown: unknown) => {
      if (toHoldfastError(thrown).code !== 'SHARD_UNAVAILABLE') throw thrown;
      return null;
    });
    if (digests !== null) this.#onDigests(index, digests);
  }

  #newBuilder(): BatchBuilder {
    const { laneCount } = this.#host;
    return {
      fromIndex: logIndex(this.#postedIndex + 1),
      perLane: Array.from({ length: laneCount }, () => []),
      writeCounts: new Array<number>(laneCount).fill(0),
      writes: [],
      entries: [],
    };
  }

  #split(definition: CollectionDefinition, ops: Uint8Array): readonly (Uint8Array | null)[] {
    const { uid, shardCount } = definition;
    const laneOfShard = (shard: number): number => this.#host.laneOf(uid, shard);
    return splitPointOps(ops, shardCount, laneOfShard, this.#host.laneCount);
  }

  #addWrite(
    builder: BatchBuilder,
    entry: AppliedEntry,
    { at, definition, timestampMs }: WriteStep,
    opsPerLane: readonly (Uint8Array | null)[],
    mode: 'always' | 'ifAllHold',
  ): void {
    const { index } = entry;
    const { uid } = definition;
    const parts: { lane: number; position: number }[] = [];
    opsPerLane.forEach((ops, lane) => {
      if (ops === null) return;
      const write = { kind: 'write', index, timestampMs, uid, mode, ops } as const;
      must(builder.perLane[lane]).push(
        at.index === index ? write : { ...write, version: at.index },
      );
      const position = must(builder.writeCounts[lane]);
      builder.writeCounts[lane] = position + 1;
      parts.push({ lane, position });
    });
    builder.writes.push({ entry, at, parts });
    builder.entries.push(entry);
  }

  #addVoted(
    builder: BatchBuilder,
    entry: AppliedEntry,
    step: WriteStep,
    opsPerLane: readonly (Uint8Array | null)[],
    conflicts: readonly Conflict[],
  ): void {
    if (conflicts.length === 0) {
      this.#addWrite(builder, entry, step, opsPerLane, 'always');
      return;
    }
    this.votes.noteRefused(entry.index);
    entry.slot.result = refused(step.at, 'VERSION_CONFLICT', conflicts);
    builder.entries.push(entry);
  }

  async #flush(builder: BatchBuilder, toIndex: LogIndex): Promise<void> {
    if (toIndex < builder.fromIndex) return;
    const batch: HostApplyBatch = {
      fromIndex: builder.fromIndex,
      toIndex,
      perLane: builder.perLane,
    };
    failpoint('apply.before-batch');
    this.#postedIndex = toIndex;
    const outcomesPerLane = await this.#host.apply(batch);
    failpoint('apply.after-batch');
    for (const write of builder.writes) fillSlot(write, outcomesPerLane);
    this.#appliedIndex = toIndex;
    this.#onApplied(builder.entries, toIndex);
  }
}

function beingReplaced(): HoldfastError {
  return new HoldfastFailure(
    'SHARD_UNAVAILABLE',
    'this node is loading a snapshot and cannot read just now; ask another node',
  );
}

function addToEveryLane(builder: BatchBuilder, command: LaneCommand): void {
  for (const commands of builder.perLane) commands.push(command);
}

function fillSlot(
  write: PendingWrite,
  outcomesPerLane: readonly (readonly WriteOutcome[])[],
): void {
  let deletedCount = 0;
  let skippedCount = 0;
  for (const { lane, position } of write.parts) {
    const outcome = must(outcomesPerLane[lane]?.[position], 'a lane answered every write');
    assert(outcome.index === write.entry.index, 'outcomes come in log order', {
      outcomeIndex: outcome.index,
      entryIndex: write.entry.index,
    });
    if (outcome.kind === 'conflict') {
      assert(write.parts.length === 1, 'only a single-lane write decides alone');
      write.entry.slot.result = refused(write.at, 'VERSION_CONFLICT', outcome.conflicts);
      return;
    }
    deletedCount += outcome.deletedCount;
    skippedCount += outcome.skippedCount;
  }
  const skipped = skippedCount === 0 ? {} : { skippedCount };
  write.entry.slot.result = succeeded(write.at, { kind: 'written', deletedCount, ...skipped });
}
