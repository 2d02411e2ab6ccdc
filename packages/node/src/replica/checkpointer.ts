/**
 * Makes the whole state durable at one log index, then lets go of the log it replaces.
 *
 * Order, each step durable before the next: lane files and meta file -> CHECKPOINT root (one
 * rename moves all) -> log compaction -> removal of files that no kept generation names. A crash
 * between two steps leaves files nobody names, which the next checkpoint removes.
 *
 * How much of the log is kept is the compaction policy's to say.
 */
import type { GroupId, Logger, LogIndex, SnapshotMeta } from '@holdfast/base';
import { assert, failpoint, HoldfastError, must } from '@holdfast/base';
import type { ConfAtIndex } from '@holdfast/raft';
import type { ShardHost, ShardManifestReference } from '@holdfast/shard-worker';
import { removeUnreferenced } from '@holdfast/shard-worker';
import type { CheckpointRoot, CheckpointShard, FileSystem, LogBase, Wal } from '@holdfast/storage';
import { joinPath, writeCheckpointRoot } from '@holdfast/storage';
import type { Applier } from './applier.ts';
import { isFatalForNode } from './checkpoint-failure.ts';
import type { CompactionHolder, CompactionLimits, CompactionView } from './compaction-policy.ts';
import { decideCompaction } from './compaction-policy.ts';
import { META_DIRECTORY, writeMeta } from './meta-file.ts';
import type { Pause } from './slices.ts';

interface Captured extends Pick<CheckpointRoot, 'meta' | 'metaFile'> {
  /** Of all lanes, once their files are durable. */
  readonly manifests: Promise<readonly ShardManifestReference[]>;
}

export interface CompactionParts {
  readonly limits: CompactionLimits;
  readonly view: () => Pick<CompactionView, 'followers' | 'transferIndex' | 'archivedIndex'>;
  /** The log kept for the running transfer is over its limit; it no longer holds the log. */
  readonly giveTransferUp: (keptSizeBytes: number) => void;
}

export interface CheckpointerOptions {
  readonly fileSystem: FileSystem;
  readonly dataDirectory: string;
  readonly host: ShardHost;
  readonly applier: Applier;
  readonly wal: Wal;
  readonly group: GroupId;
  /** The configuration in force at an index: a checkpoint never carries a newer one. */
  readonly confAt: (index: LogIndex) => ConfAtIndex;
  /** Names checkpoints: unique per node. */
  readonly nextId: (index: LogIndex) => string;
  readonly compaction: CompactionParts;
  /** Generations whose files are all there, newest first: the state is of the first. */
  readonly roots: readonly CheckpointRoot[];
  /** Of the newest root file there is, also of one that could not be used. */
  readonly newestGeneration: number;
  /** How many generations are kept. */
  readonly generationCount: number;
  readonly pause: Pause;
  readonly logger: Logger;
}

export class Checkpointer {
  readonly #options: CheckpointerOptions;
  /** Newest first; what they name is kept. */
  #roots: readonly CheckpointRoot[];
  #newestGeneration: number;
  /** Settles when no lane writes files any more. */
  #lanesWriting: Promise<unknown> = Promise.resolve();
  #running: Promise<CheckpointRoot> | null = null;
  #heldBy: CompactionHolder = 'checkpoint';
  /** The next one is made also when nothing was applied since the last. */
  #isRenewal = false;
  /** Entries up to here are damaged and not to be had: see CompactionView. */
  #givenUpIndex = 0;
  readonly #pinned = new Set<{ readonly root: CheckpointRoot }>();

  constructor(options: CheckpointerOptions) {
    this.#options = options;
    this.#roots = options.roots.slice(0, options.generationCount);
    this.#newestGeneration = options.newestGeneration;
  }

  /** The newest durable checkpoint. */
  get root(): CheckpointRoot | null {
    return this.#roots[0] ?? null;
  }

  /** What kept the log from being cut further after the newest checkpoint. */
  get heldBy(): CompactionHolder {
    return this.#heldBy;
  }

  /** All kept generations, newest first. */
  get roots(): readonly CheckpointRoot[] {
    return this.#roots;
  }

  get group(): GroupId {
    return this.#options.group;
  }

  get generationCount(): number {
    return this.#options.generationCount;
  }

  /** The generation number that a root written now must have. */
  get nextGeneration(): number {
    return this.#newestGeneration + 1;
  }

  /**
   * Makes a checkpoint at the applied index; joins one under way. Resolves with the newest root,
   * which is of a later index while an installed snapshot waits to be applied. Rejects: see
   * checkpoint-failure.ts for what that means; the checkpoint before is still whole.
   */
  run(): Promise<CheckpointRoot> {
    this.#running ??= this.#run().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  /**
   * As `run`, also when nothing was applied since the newest one: files of it have rot, and memory
   * has what they held. Sealed segments are not written again. `givenUpIndex`: nobody can give the
   * damaged entries of the log up to there, so that it is kept for no one from now on.
   */
  async renew(givenUpIndex = 0): Promise<CheckpointRoot> {
    await this.idle();
    this.#isRenewal = true;
    this.#givenUpIndex = Math.max(this.#givenUpIndex, givenUpIndex);
    return this.run();
  }

  /** Until the returned call no file that `root` names is removed: a peer is reading them. */
  pin(root: CheckpointRoot): () => void {
    const pin = { root };
    this.#pinned.add(pin);
    return () => void this.#pinned.delete(pin);
  }

  /** A snapshot installed another root. A checkpoint under way of an earlier index gives way. */
  adopt(root: CheckpointRoot): void {
    this.#roots = [root, ...this.#roots].slice(0, this.#options.generationCount);
    this.#newestGeneration = root.generation;
  }

  /** Resolves when no lane writes files of a checkpoint. Inside a barrier none begins anew. */
  async lanesIdle(): Promise<void> {
    await this.#lanesWriting;
  }

  /** Resolves when no checkpoint is under way, whatever its outcome. */
  async idle(): Promise<void> {
    while (this.#running !== null) await this.#running.catch(() => undefined);
  }

  async #run(): Promise<CheckpointRoot> {
    const isRenewal = this.#isRenewal;
    this.#isRenewal = false;
    try {
      return await this.#make(isRenewal);
    } catch (error) {
      if (!isFatalForNode(error)) this.#removeLeftovers();
      throw error;
    }
  }

  async #make(isRenewal: boolean): Promise<CheckpointRoot> {
    const { applier, dataDirectory, fileSystem, generationCount, host, logger } = this.#options;
    failpoint('checkpoint.before-capture');
    const captured = await applier.barrier((index) => this.#capture(index, isRenewal));
    if (captured === null) {
      assert(this.root !== null, 'an empty log has nothing to checkpoint');
      return this.root;
    }
    const { meta, metaFile } = captured;
    const shards = (await captured.manifests).map(shardOf);
    failpoint('checkpoint.lanes-written');
    const before = this.root;
    if (before !== null && !isNewer(before, meta.index, isRenewal)) return before;
    const root: CheckpointRoot = { generation: this.nextGeneration, meta, metaFile, shards };
    failpoint('checkpoint.before-root');
    writeCheckpointRoot(fileSystem, dataDirectory, root, generationCount);
    failpoint('checkpoint.after-root');
    this.adopt(root);
    logger.info({ index: meta.index, shards: shards.length, id: meta.id }, 'checkpoint is durable');
    // Only lets go of memory: a lane that cannot hear it has other troubles, told where it is used.
    host.checkpointDurable(meta.id).catch(() => undefined);
    const oldest = this.#roots.length > 1 ? must(this.#roots.at(-1)).meta.index : 0;
    failpoint('checkpoint.before-compaction');
    this.#compact(meta.index, oldest);
    failpoint('checkpoint.before-removal');
    this.#removeUnreferenced();
    failpoint('checkpoint.after-removal');
    return root;
  }

  /**
   * Inside the barrier: meta state and lanes are captured at the same index. The meta state is
   * written before the barrier ends; the lanes write theirs while entries go on being applied.
   */
  async #capture(index: LogIndex, isRenewal: boolean): Promise<Captured | null> {
    // At most the root's: an installed snapshot is ahead of the state until it is applied.
    // Going back to the state would leave a root that lies before the start of the log.
    if (index === 0 || !isNewer(this.root, index, isRenewal)) return null;
    const { fileSystem, dataDirectory, host, applier, pause } = this.#options;
    const meta = this.#metaAt(index);
    const path = `${META_DIRECTORY}/meta-${meta.index}-${meta.id}.meta`;
    fileSystem.makeDirectory(joinPath(dataDirectory, META_DIRECTORY));
    const manifests = host.checkpoint(index, meta.id);
    // Awaited by `#make`, or not at all when the meta file fails first.
    this.#lanesWriting = manifests.catch(() => undefined);
    try {
      const facts = await writeMeta(fileSystem, joinPath(dataDirectory, path), applier.meta, pause);
      failpoint('checkpoint.meta-written');
      const metaFile = { path, checksum: facts.checksum, sizeBytes: facts.sizeBytes };
      return { meta, metaFile, manifests };
    } catch (error) {
      // Files must not be removed while a lane still writes some.
      await this.#lanesWriting;
      throw error;
    }
  }

  #metaAt(index: LogIndex): SnapshotMeta {
    const { wal, group, confAt, nextId } = this.#options;
    const log = wal.groupLog(group);
    const term = log.term(index);
    const sum = log.sum(index);
    assert(
      typeof term === 'number' && sum instanceof Uint8Array,
      'applied entries are in the log',
      {
        index,
      },
    );
    const { conf, confIndex } = confAt(index);
    return { index, term, sum, conf, confIndex, id: nextId(index) };
  }

  #compact(newestIndex: LogIndex, oldestIndex: number): void {
    const { wal, group, compaction } = this.#options;
    const log = wal.groupLog(group);
    const baseIndex = log.base().index;
    const decision = decideCompaction(
      {
        baseIndex,
        newestIndex,
        previousIndex: oldestIndex,
        givenUpIndex: this.#givenUpIndex,
        firstIndexWithin: (sizeBytesMax) => log.firstIndexWithin(sizeBytesMax),
        ...compaction.view(),
      },
      compaction.limits,
    );
    this.#heldBy = decision.heldBy;
    if (decision.isTransferGivenUp) compaction.giveTransferUp(log.sizeBytes);
    const { index } = decision;
    if (index <= baseIndex) return;
    const term = log.term(index);
    const sum = log.sum(index);
    assert(typeof term === 'number' && sum instanceof Uint8Array, 'the new base is in the log', {
      index,
    });
    const base: LogBase = { index, term, sum };
    wal.compact(group, base);
  }

  /** Of a checkpoint that failed: on a full disk every attempt would take more of it. */
  #removeLeftovers(): void {
    try {
      this.#removeUnreferenced();
    } catch (error) {
      this.#options.logger.warn({ error: String(error) }, 'a failed checkpoint left files behind');
    }
  }

  #removeUnreferenced(): void {
    const { fileSystem, dataDirectory } = this.#options;
    const pinned = [...this.#pinned].map(({ root }) => root);
    const kept = [...this.#roots, ...pinned];
    try {
      removeUnreferenced(fileSystem, dataDirectory, kept.flatMap(manifestReferences));
    } catch (error) {
      // A manifest has rot, so it is not known what it names: nothing is removed until it is gone.
      const isRot = error instanceof HoldfastError && error.code === 'CHECKPOINT_CORRUPT';
      if (!isRot) throw error;
      this.#options.logger.error({ details: error.details }, error.message);
      return;
    }
    const metaDirectory = joinPath(dataDirectory, META_DIRECTORY);
    const keptMetaFiles = new Set(kept.map((root) => root.metaFile.path));
    for (const name of fileSystem.list(metaDirectory)) {
      if (!keptMetaFiles.has(`${META_DIRECTORY}/${name}`)) {
        fileSystem.remove(joinPath(metaDirectory, name));
      }
    }
  }
}

/** A checkpoint at `index` may follow `before`. */
function isNewer(before: CheckpointRoot | null, index: LogIndex, isRenewal: boolean): boolean {
  const last = before?.meta.index ?? 0;
  return index > last || (isRenewal && index === last);
}

function shardOf(manifest: ShardManifestReference): CheckpointShard {
  const { uid, shard, manifestPath, checksum } = manifest;
  return { collectionUid: String(uid), shard, manifestPath, checksum };
}

export function manifestReferences(root: CheckpointRoot): readonly ShardManifestReference[] {
  return root.shards.map((shard) => ({
    uid: Number(shard.collectionUid),
    shard: shard.shard,
    manifestPath: shard.manifestPath,
    checksum: shard.checksum,
  }));
}
