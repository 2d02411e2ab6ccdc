/**
 * Makes the whole state durable at one log index, then lets go of the log it replaces.
 *
 * Order, each step durable before the next: lane files and meta file -> CHECKPOINT root (one
 * rename moves all) -> log compaction -> removal of files that neither generation names. A crash
 * between two steps leaves files nobody names, which the next checkpoint removes.
 *
 * How much of the log is kept is the compaction policy's to say.
 */
import type { GroupId, Logger, LogIndex, SnapshotMeta } from '@holdfast/base';
import { assert } from '@holdfast/base';
import type { ConfAtIndex } from '@holdfast/raft';
import type { ShardHost, ShardManifestReference } from '@holdfast/shard-worker';
import { removeUnreferenced } from '@holdfast/shard-worker';
import type { CheckpointRoot, FileSystem, LogBase, Wal } from '@holdfast/storage';
import { joinPath, writeCheckpointRoot } from '@holdfast/storage';
import type { Applier } from './applier.ts';
import { isFatalForNode } from './checkpoint-failure.ts';
import type { CompactionHolder, CompactionLimits, CompactionView } from './compaction-policy.ts';
import { decideCompaction } from './compaction-policy.ts';
import { META_DIRECTORY, writeMeta } from './meta-file.ts';
import type { Pause } from './slices.ts';

type Captured = Pick<CheckpointRoot, 'meta' | 'metaFile' | 'shards'>;

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
  readonly root: CheckpointRoot | null;
  readonly pause: Pause;
  readonly logger: Logger;
}

export class Checkpointer {
  readonly #options: CheckpointerOptions;
  #root: CheckpointRoot | null;
  /** The generation before, still on disk: what it names is kept. */
  #previous: CheckpointRoot | null = null;
  #running: Promise<CheckpointRoot> | null = null;
  #heldBy: CompactionHolder = 'checkpoint';
  readonly #pinned = new Set<{ readonly root: CheckpointRoot }>();

  constructor(options: CheckpointerOptions) {
    this.#options = options;
    this.#root = options.root;
  }

  /** The newest durable checkpoint. */
  get root(): CheckpointRoot | null {
    return this.#root;
  }

  /** What kept the log from being cut further after the newest checkpoint. */
  get heldBy(): CompactionHolder {
    return this.#heldBy;
  }

  /** The generation before it; null when this process has not replaced one. */
  get previous(): CheckpointRoot | null {
    return this.#previous;
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

  /** Until the returned call no file that `root` names is removed: a peer is reading them. */
  pin(root: CheckpointRoot): () => void {
    const pin = { root };
    this.#pinned.add(pin);
    return () => void this.#pinned.delete(pin);
  }

  /** A snapshot installed another root. A checkpoint under way of an earlier index gives way. */
  adopt(root: CheckpointRoot): void {
    this.#previous = this.#root;
    this.#root = root;
  }

  /** Resolves when no checkpoint is under way, whatever its outcome. */
  async idle(): Promise<void> {
    while (this.#running !== null) await this.#running.catch(() => undefined);
  }

  async #run(): Promise<CheckpointRoot> {
    try {
      return await this.#make();
    } catch (error) {
      if (!isFatalForNode(error)) this.#removeLeftovers();
      throw error;
    }
  }

  async #make(): Promise<CheckpointRoot> {
    const captured = await this.#options.applier.barrier((index) => this.#capture(index));
    if (captured === null) {
      assert(this.#root !== null, 'an empty log has nothing to checkpoint');
      return this.#root;
    }
    const before = this.#root;
    if (before !== null && before.meta.index >= captured.meta.index) return before;
    const root: CheckpointRoot = { generation: (before?.generation ?? 0) + 1, ...captured };
    writeCheckpointRoot(this.#options.fileSystem, this.#options.dataDirectory, root);
    this.#previous = before;
    this.#root = root;
    this.#options.logger.info(
      { index: root.meta.index, shards: root.shards.length, id: root.meta.id },
      'checkpoint is durable',
    );
    this.#compact(root.meta.index, before?.meta.index ?? 0);
    this.#removeUnreferenced();
    return root;
  }

  /** Inside the barrier: meta state and lanes are written at the same index, at the same time. */
  async #capture(index: LogIndex): Promise<Captured | null> {
    // At most the root's: an installed snapshot is ahead of the state until it is applied.
    // Going back to the state would leave a root that lies before the start of the log.
    if (index <= (this.#root?.meta.index ?? 0)) return null;
    const { fileSystem, dataDirectory, host, applier, pause } = this.#options;
    const meta = this.#metaAt(index);
    const path = `${META_DIRECTORY}/meta-${meta.index}-${meta.id}.meta`;
    fileSystem.makeDirectory(joinPath(dataDirectory, META_DIRECTORY));
    const [facts, manifests] = await both(
      writeMeta(fileSystem, joinPath(dataDirectory, path), applier.meta, pause),
      host.checkpoint(index, meta.id),
    );
    return {
      meta,
      metaFile: { path, checksum: facts.checksum, sizeBytes: facts.sizeBytes },
      shards: manifests.map((manifest) => ({
        collectionUid: String(manifest.uid),
        shard: manifest.shard,
        manifestPath: manifest.manifestPath,
        checksum: manifest.checksum,
      })),
    };
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

  #compact(newestIndex: LogIndex, previousIndex: number): void {
    const { wal, group, compaction } = this.#options;
    const log = wal.groupLog(group);
    const baseIndex = log.base().index;
    const decision = decideCompaction(
      {
        baseIndex,
        newestIndex,
        previousIndex,
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
    const kept = [this.#root, this.#previous, ...pinned].filter((root) => root !== null);
    removeUnreferenced(fileSystem, dataDirectory, kept.flatMap(manifestReferences));
    const metaDirectory = joinPath(dataDirectory, META_DIRECTORY);
    const keptMetaFiles = new Set(kept.map((root) => root.metaFile.path));
    for (const name of fileSystem.list(metaDirectory)) {
      if (!keptMetaFiles.has(`${META_DIRECTORY}/${name}`)) {
        fileSystem.remove(joinPath(metaDirectory, name));
      }
    }
  }
}

/** Waits for both, whatever becomes of the other: neither may go on after the barrier. */
async function both<Left, Right>(
  left: Promise<Left>,
  right: Promise<Right>,
): Promise<readonly [Left, Right]> {
  await Promise.allSettled([left, right]);
  return [await left, await right];
}

export function manifestReferences(root: CheckpointRoot): readonly ShardManifestReference[] {
  return root.shards.map((shard) => ({
    uid: Number(shard.collectionUid),
    shard: shard.shard,
    manifestPath: shard.manifestPath,
    checksum: shard.checksum,
  }));
}
