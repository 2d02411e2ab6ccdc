/**
 * Snapshots of one replica, both ways: sends the newest checkpoint to a peer that needs entries the
 * log no longer has, and loads an installed checkpoint into meta state and lanes.
 */
import type { HoldfastError, Logger, LogIndex, NodeId, SnapshotMeta } from '@holdfast/base';
import { HoldfastError as HoldfastFailure, must } from '@holdfast/base';
import type { RaftMessage } from '@holdfast/raft';
import type { ShardHost } from '@holdfast/shard-worker';
import type { FileSystem } from '@holdfast/storage';
import type { PeerTransport } from '../service-api.ts';
import type { Applier } from './applier.ts';
import type { Checkpointer } from './checkpointer.ts';
import { loadMeta, manifestReferences } from './checkpointer.ts';
import type { Defer } from './driver.ts';
import { outgoingSnapshot } from './snapshot-installer.ts';

export interface SnapshotExchangeParts {
  readonly fileSystem: FileSystem;
  readonly dataDirectory: string;
  readonly host: ShardHost;
  readonly applier: Applier;
  readonly checkpointer: Checkpointer;
  readonly transport: Pick<PeerTransport, 'sendSnapshot'>;
  readonly defer: Defer;
  readonly logger: Logger;
  /** Tells the core how a transfer ended. */
  readonly report: (peer: NodeId, snapshotId: string, isOk: boolean) => void;
}

export class SnapshotExchange {
  readonly #parts: SnapshotExchangeParts;
  /** Peers that are being sent a snapshot: the core repeats its message until it hears an end. */
  readonly #sending = new Set<NodeId>();

  constructor(parts: SnapshotExchangeParts) {
    this.#parts = parts;
  }

  /** Streams the checkpoint that `message` is about; the message itself travels with it. */
  send(message: Extract<RaftMessage, { kind: 'snapshot' }>): void {
    const { fileSystem, dataDirectory, checkpointer, transport, defer, logger } = this.#parts;
    const { to, meta } = message;
    if (this.#sending.has(to)) return;
    const snapshot = outgoingSnapshot(fileSystem, dataDirectory, checkpointer, message);
    if (snapshot === null) {
      // A newer checkpoint replaced the one the message is about: the core will name that one.
      defer(() => this.#parts.report(to, meta.id, false));
      return;
    }
    this.#sending.add(to);
    transport.sendSnapshot(to, snapshot).then(
      () => this.#ended(to, meta.id, true),
      (error: unknown) => {
        logger.warn({ to, snapshot: meta.id, error: String(error) }, 'sending a snapshot failed');
        this.#ended(to, meta.id, false);
      },
    );
  }

  /**
   * Replaces the whole state by the installed checkpoint; resolves with its index.
   * Rejects: the replica must stop, its state is neither the old nor the new one.
   */
  restore(meta: SnapshotMeta): Promise<LogIndex> {
    const { fileSystem, dataDirectory, host, applier, checkpointer } = this.#parts;
    return applier.barrier(async () => {
      const newest = must(checkpointer.root, 'a snapshot is installed before it is applied');
      // A newer one may be installed already; its message comes next and asks for it then. The
      // core must never hear of an index that it has not handed out.
      const root = newest.meta.index > meta.index ? checkpointer.previous : newest;
      if (root?.meta.index !== meta.index) throw notHere(meta, newest.meta.index);
      const machine = loadMeta(fileSystem, dataDirectory, root);
      applier.startReplacing();
      await host.open({
        appliedIndex: machine.appliedIndex,
        definitions: machine.catalogue.all(),
        manifests: manifestReferences(root),
      });
      applier.replaceState(machine);
      return machine.appliedIndex;
    });
  }

  #ended(peer: NodeId, snapshotId: string, isOk: boolean): void {
    this.#sending.delete(peer);
    this.#parts.report(peer, snapshotId, isOk);
  }
}

function notHere(meta: SnapshotMeta, found: LogIndex): HoldfastError {
  return new HoldfastFailure(
    'CHECKPOINT_CORRUPT',
    `the snapshot at index ${meta.index} is not here, only one at ${found}; restart this node`,
    { details: { index: meta.index, found } },
  );
}
