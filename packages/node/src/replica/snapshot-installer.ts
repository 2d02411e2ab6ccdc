/**
 * Receives a checkpoint from the leader and makes it this node's own: stage, fsync, verify, move
 * into place, CHECKPOINT root. Only then is the leader's raft message stepped into the core, so
 * the core never believes in a state whose bytes are not durable here (raft.md 2.4).
 *
 * An interrupted transfer leaves the old state untouched: files in staging, or files that no root
 * names. What is in staging is gone on with (snapshot-staging.ts). Sealed segments are equal on
 * every replica, so moving one over its twin changes nothing; growing files and manifests carry the
 * checkpoint id in their names.
 */
import type { Logger, NodeId } from '@holdfast/base';
import { assert, failpoint, HoldfastError } from '@holdfast/base';
import type { RaftMessage } from '@holdfast/raft';
import type { CheckpointRoot, FileSystem } from '@holdfast/storage';
import { writeCheckpointRoot } from '@holdfast/storage';
import type {
  IncomingSnapshot,
  SnapshotProgress,
  SnapshotReceiver,
  SnapshotSink,
} from '../service-api.ts';
import type { Checkpointer } from './checkpointer.ts';
import type { Pause } from './slices.ts';
import type { SnapshotHeader, SnapshotMessage } from './snapshot-header.ts';
import { decodeSnapshotHeader, protocolError } from './snapshot-header.ts';
import { SnapshotStaging, stagingPath } from './snapshot-staging.ts';

export interface SnapshotInstallerOptions {
  readonly fileSystem: FileSystem;
  readonly dataDirectory: string;
  readonly checkpointer: Checkpointer;
  /** Why the core would not take this message now, or null: nothing is installed against it. */
  readonly refusal: (message: SnapshotMessage) => string | null;
  /** Steps the raft message once its bytes are durable. */
  readonly deliver: (message: RaftMessage) => void;
  /** The root on disk may be either generation: the node must stop. */
  readonly onFailure: (error: unknown) => void;
  readonly pause: Pause;
  readonly logger: Logger;
}

interface Transfer {
  readonly header: SnapshotHeader;
  readonly from: NodeId;
  readonly staging: SnapshotStaging;
  readonly unpin: () => void;
}

export class SnapshotInstaller implements SnapshotReceiver {
  readonly #options: SnapshotInstallerOptions;
  #isBusy = false;
  #transfer: Transfer | null = null;
  /** Something was staged since the last sweep. */
  #isStagingInUse = true;

  constructor(options: SnapshotInstallerOptions) {
    this.#options = options;
  }

  get progress(): SnapshotProgress | null {
    if (this.#transfer === null) return null;
    const { header, from, staging } = this.#transfer;
    const { id, index } = header.message.meta;
    const { heldSizeBytes, sizeBytes } = staging;
    return { peer: from, snapshotId: id, index, heldSizeBytes, sizeBytes };
  }

  async begin(snapshot: IncomingSnapshot): Promise<SnapshotSink> {
    if (this.#isBusy) {
      throw new HoldfastError('OVERLOADED', 'another snapshot is being received; retry later', {
        details: { retryAfterMs: 1_000 },
      });
    }
    const header = decodeSnapshotHeader(snapshot.meta, snapshot.from);
    if (header.message.group !== snapshot.group) throw protocolError('is of another group');
    this.#refuseStale(header.message);
    this.#isBusy = true;
    this.#isStagingInUse = true;
    failpoint('snapshot.receive-begins');
    const unpin = this.#pinPresent();
    try {
      const { fileSystem, dataDirectory, pause } = this.#options;
      const { files, from } = snapshot;
      const staging = await SnapshotStaging.open({ fileSystem, dataDirectory, files, pause });
      const transfer = { header, from, staging, unpin };
      this.#transfer = transfer;
      return this.#sink(transfer);
    } catch (error) {
      unpin();
      this.#isBusy = false;
      throw error;
    }
  }

  /**
   * Removes what no transfer touched since the last call: the peer that was sending it has caught
   * this node up in another way. Called after each of this node's own checkpoints.
   */
  sweep(): void {
    if (this.#isBusy) return;
    const { fileSystem, dataDirectory } = this.#options;
    if (!this.#isStagingInUse) fileSystem.removeTree(stagingPath(dataDirectory));
    this.#isStagingInUse = false;
  }

  #sink(transfer: Transfer): SnapshotSink {
    const { staging } = transfer;
    // The staging folder is this transfer's own until it has ended, once, in either way.
    let isEnded = false;
    return {
      heldSizesBytes: staging.heldSizesBytes,
      write: (fileIndex, offset, bytes) => staging.write(fileIndex, offset, bytes),
      finish: async () => {
        assert(!isEnded, 'a transfer ends once');
        isEnded = true;
        try {
          await staging.seal();
          failpoint('snapshot.receive-sealed');
          await this.#install(transfer);
          this.#options.deliver(transfer.header.message);
        } finally {
          this.#end(transfer);
        }
      },
      abort: (reason) => {
        if (isEnded) return;
        isEnded = true;
        // What is here is kept for the next attempt.
        this.#options.logger.warn({ ...this.progress, reason }, 'snapshot was interrupted');
        this.#end(transfer);
      },
    };
  }

  async #install({ header, staging }: Transfer): Promise<void> {
    const { fileSystem, dataDirectory, checkpointer, logger } = this.#options;
    const { message } = header;
    await checkpointer.idle();
    this.#refuseStale(message);
    const present = checkpointer.root;
    if (present !== null && present.meta.index >= message.meta.index) return;
    failpoint('snapshot.before-install');
    staging.install();
    const root: CheckpointRoot = {
      generation: checkpointer.nextGeneration,
      meta: message.meta,
      metaFile: header.metaFile,
      shards: header.shards,
    };
    try {
      failpoint('snapshot.before-root');
      writeCheckpointRoot(fileSystem, dataDirectory, root, checkpointer.generationCount);
      failpoint('snapshot.after-root');
    } catch (error) {
      this.#options.onFailure(error);
      throw error;
    }
    checkpointer.adopt(root);
    fileSystem.removeTree(stagingPath(dataDirectory));
    logger.info({ index: root.meta.index, sizeBytes: staging.sizeBytes }, 'snapshot is installed');
  }

  #refuseStale(message: SnapshotMessage): void {
    const reason = this.#options.refusal(message);
    if (reason !== null) throw protocolError(`is not for this node now: ${reason}`);
  }

  /** Files of this node's own checkpoints may be part of the snapshot: they must stay. */
  #pinPresent(): () => void {
    const { checkpointer } = this.#options;
    return checkpointer.root === null ? () => undefined : checkpointer.pin(checkpointer.root);
  }

  #end(transfer: Transfer): void {
    transfer.staging.close();
    transfer.unpin();
    this.#transfer = null;
    this.#isBusy = false;
  }
}
