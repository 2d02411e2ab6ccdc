/**
 * Makes the whole state durable at one log index, then lets go of the log it replaces.
 *
 * Order, each step durable before the next: lane files and meta file -> CHECKPOINT root (one
 * rename moves all) -> log compaction -> removal of files that neither generation names. A crash
 * between two steps leaves files nobody names, which the next checkpoint removes.
 *
 * The log keeps what the generation before needs, and `retainedEntryCount` entries for slow peers.
 */
import type { GroupId, Logger, LogIndex, SnapshotMeta } from '@holdfast/base';
import { assert, HoldfastError, logIndex } from '@holdfast/base';
import type { ConfAtIndex } from '@holdfast/raft';
import type { ShardHost, ShardManifestReference } from '@holdfast/shard-worker';
import { removeUnreferenced } from '@holdfast/shard-worker';
import type { CheckpointRoot, FileSystem, LogBase, Wal } from '@holdfast/storage';
import {
  ChecksummedFileReader,
  joinPath,
  writeCheckpointRoot,
  writeChecksummedFile,
} from '@holdfast/storage';
import { MetaMachine } from '../state/meta-machine.ts';
import type { Applier } from './applier.ts';

export const META_DIRECTORY = 'meta';

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
  readonly retainedEntryCount: number;
  readonly root: CheckpointRoot | null;
  readonly logger: Logger;
}

export class Checkpointer {
  readonly #options: CheckpointerOptions;
  #root: CheckpointRoot | null;
  /** The generation before, still on disk: what it names is kept. */
  #previous: CheckpointRoot | null = null;
  #running: Promise<CheckpointRoot> | null = null;
  #pinCount = 0;

  constructor(options: CheckpointerOptions) {
    this.#options = options;
    this.#root = options.root;
  }

  /** The newest durable checkpoint. */
  get root(): CheckpointRoot | null {
    return this.#root;
  }

  /** The generation before it; null when this process has not replaced one. */
  get previous(): CheckpointRoot | null {
    return this.#previous;
  }

  /**
   * Makes a checkpoint at the applied index; joins one under way. Resolves with the newest root,
   * which is of a later index while an installed snapshot waits to be applied. Rejects: stop the
   * node.
   */
  run(): Promise<CheckpointRoot> {
    this.#running ??= this.#run().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  /** While pinned no file of a checkpoint is removed: a peer is reading them. */
  pin(): () => void {
    this.#pinCount += 1;
    let isReleased = false;
    return () => {
      if (isReleased) return;
      isReleased = true;
      this.#pinCount -= 1;
    };
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
    const { applier, host } = this.#options;
    const captured = await applier.barrier(async (index) => {
      // At most the root's: an installed snapshot is ahead of the state until it is applied.
      // Going back to the state would leave a root that lies before the start of the log.
      if (index <= (this.#root?.meta.index ?? 0)) return null;
      const meta = this.#metaAt(index);
      const metaBytes = applier.meta.toBytes();
      const manifests = await host.checkpoint(index, meta.id);
      return { meta, metaBytes, manifests };
    });
    if (captured === null) {
      assert(this.#root !== null, 'an empty log has nothing to checkpoint');
      return this.#root;
    }
    if (this.#root !== null && this.#root.meta.index >= captured.meta.index) return this.#root;
    const root = this.#writeRoot(captured.meta, captured.metaBytes, captured.manifests);
    this.#compact(root.meta.index);
    this.#previous = this.#root;
    this.#root = root;
    this.#removeUnreferenced();
    this.#options.logger.info(
      { index: root.meta.index, shards: root.shards.length, id: root.meta.id },
      'checkpoint is durable',
    );
    return root;
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

  #writeRoot(
    meta: SnapshotMeta,
    metaBytes: Uint8Array,
    manifests: readonly ShardManifestReference[],
  ): CheckpointRoot {
    const { fileSystem, dataDirectory } = this.#options;
    const path = `${META_DIRECTORY}/meta-${meta.index}-${meta.id}.meta`;
    fileSystem.makeDirectory(joinPath(dataDirectory, META_DIRECTORY));
    const facts = writeChecksummedFile(
      fileSystem,
      joinPath(dataDirectory, path),
      { kind: 'meta', algorithm: 'xxhash3' },
      [metaBytes],
    );
    const root: CheckpointRoot = {
      generation: (this.#root?.generation ?? 0) + 1,
      meta,
      metaFile: { path, checksum: facts.checksum, sizeBytes: facts.sizeBytes },
      shards: manifests.map((manifest) => ({
        collectionUid: String(manifest.uid),
        shard: manifest.shard,
        manifestPath: manifest.manifestPath,
        checksum: manifest.checksum,
      })),
    };
    writeCheckpointRoot(fileSystem, dataDirectory, root);
    return root;
  }

  #compact(checkpointIndex: LogIndex): void {
    const { wal, group, retainedEntryCount } = this.#options;
    const log = wal.groupLog(group);
    const generationBefore = this.#root?.meta.index ?? 0;
    const index = logIndex(
      Math.max(0, Math.min(generationBefore, checkpointIndex - retainedEntryCount)),
    );
    if (index <= log.base().index) return;
    const term = log.term(index);
    const sum = log.sum(index);
    assert(typeof term === 'number' && sum instanceof Uint8Array, 'the new base is in the log', {
      index,
    });
    const base: LogBase = { index, term, sum };
    wal.compact(group, base);
  }

  #removeUnreferenced(): void {
    const { fileSystem, dataDirectory } = this.#options;
    if (this.#pinCount > 0) return;
    const kept = [this.#root, this.#previous].filter((root) => root !== null);
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

/** Loads the state that a root names; verifies every byte of the meta file. */
export function loadMeta(
  fileSystem: FileSystem,
  dataDirectory: string,
  root: CheckpointRoot,
): MetaMachine {
  const path = joinPath(dataDirectory, root.metaFile.path);
  const reader = ChecksummedFileReader.open(fileSystem, path, 'meta');
  try {
    const meta = MetaMachine.fromBytes(reader.readAll());
    if (meta.appliedIndex !== root.meta.index) {
      throw new HoldfastError('CHECKPOINT_CORRUPT', `${path} is not of the checkpoint's index`, {
        details: { path, index: root.meta.index, found: meta.appliedIndex },
      });
    }
    return meta;
  } finally {
    reader.close();
  }
}

export function manifestReferences(root: CheckpointRoot): readonly ShardManifestReference[] {
  return root.shards.map((shard) => ({
    uid: Number(shard.collectionUid),
    shard: shard.shard,
    manifestPath: shard.manifestPath,
    checksum: shard.checksum,
  }));
}
