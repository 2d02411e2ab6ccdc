/**
 * Snapshots that this node sends, and the loading of one that was installed here.
 *
 * Under write load new checkpoints come faster than a large one can be sent. So while a transfer is
 * under way, and for a while after one broke off, the node goes on offering the same checkpoint to
 * every peer (so that a broken transfer is gone on with, and several peers share one), keeps its
 * files, and keeps the log from its index on (so that the peer needs no other one afterwards).
 * Bounded: when the log kept for it grows over a limit the transfer is given up, with an event, and
 * the newest checkpoint is offered next.
 */
import type { Clock, Logger, LogIndex, NodeId, SnapshotMeta, Timers } from '@holdfast/base';
import { failpoint, HoldfastError, must, toHoldfastError } from '@holdfast/base';
import type { ShardHost, ShardHostOpenOptions } from '@holdfast/shard-worker';
import type { CheckpointRoot, FileSystem } from '@holdfast/storage';
import type { PeerTransport, SnapshotProgress } from '../service-api.ts';
import type { Applier } from './applier.ts';
import type { Checkpointer } from './checkpointer.ts';
import { manifestReferences } from './checkpointer.ts';
import type { Defer } from './group-host.ts';
import { loadMeta } from './meta-file.ts';
import type { Pause } from './slices.ts';
import type { SnapshotMessage } from './snapshot-header.ts';
import { outgoingSnapshot } from './snapshot-source.ts';
import type { TransferBudget } from './transfer-budget.ts';

/** A peer that restarts or reconnects is back within this; its transfer is then gone on with. */
export const RESUME_HOLD_MS = 60_000;
/** The log stays pinned until the peer has said what it has now, and is held by that. */
const CAUGHT_UP_HOLD_MS = 5_000;
/** A lane may lose its thread while it loads; more often than this the node is at fault. */
const OPEN_ATTEMPT_COUNT_MAX = 5;
const RETRY_DELAY_MS_MIN = 100;
const RETRY_DELAY_MS_MAX = 5_000;

export interface SnapshotExchangeParts {
  readonly fileSystem: FileSystem;
  readonly dataDirectory: string;
  readonly host: ShardHost;
  readonly applier: Applier;
  readonly checkpointer: Checkpointer;
  readonly transport: Pick<PeerTransport, 'sendSnapshot'>;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly timers: Timers;
  readonly defer: Defer;
  readonly pause: Pause;
  readonly budget: TransferBudget;
  readonly logger: Logger;
  /** Tells the core how a transfer ended. */
  readonly report: (peer: NodeId, snapshotId: string, isOk: boolean) => void;
}

export interface SnapshotCounters {
  /** Transfers to peers that began, and of those that came to an end either way. */
  readonly begun: number;
  readonly completed: number;
  readonly failed: number;
  /** Failed because the log kept for them grew too large. */
  readonly givenUp: number;
}

interface Offer {
  readonly root: CheckpointRoot;
  readonly unpin: () => void;
  /** While nothing is sent: when it is let go. */
  expiresAtMs: number;
}

interface Sending {
  readonly snapshotId: string;
  readonly index: number;
  heldSizeBytes: number;
  sizeBytes: number;
  endReason: string | null;
}

export class SnapshotExchange {
  readonly #parts: SnapshotExchangeParts;
  /** Peers that are being sent a snapshot: the core repeats its message until it hears an end. */
  readonly #sending = new Map<NodeId, Sending>();
  readonly #failuresInRow = new Map<NodeId, number>();
  readonly #counters = { begun: 0, completed: 0, failed: 0, givenUp: 0 };
  #offer: Offer | null = null;

  constructor(parts: SnapshotExchangeParts) {
    this.#parts = parts;
  }

  /** What the core names to peers: the checkpoint that is being sent, or else the newest. */
  offered(): SnapshotMeta | null {
    return (this.#offer?.root ?? this.#parts.checkpointer.root)?.meta ?? null;
  }

  /** The log must not be compacted past this; null while nothing is sent. */
  get pinnedIndex(): LogIndex | null {
    return this.#offer?.root.meta.index ?? null;
  }

  get counters(): SnapshotCounters {
    return this.#counters;
  }

  get outgoing(): readonly SnapshotProgress[] {
    return [...this.#sending].map(([peer, { snapshotId, index, heldSizeBytes, sizeBytes }]) => ({
      ...{ peer, snapshotId, index, heldSizeBytes, sizeBytes },
    }));
  }

  /** Streams the checkpoint that `message` is about; the message itself travels with it. */
  send(message: SnapshotMessage): void {
    const { to, meta } = message;
    if (this.#sending.has(to)) return;
    const offer = this.#offerOf(meta.id);
    if (offer === null) {
      // A newer checkpoint replaced the one the message is about: the core will name that one.
      this.#parts.defer(() => this.#parts.report(to, meta.id, false));
      return;
    }
    const sending: Sending = {
      ...{ snapshotId: meta.id, index: meta.index },
      ...{ heldSizeBytes: 0, sizeBytes: 0, endReason: null },
    };
    this.#sending.set(to, sending);
    this.#counters.begun += 1;
    this.#transfer(offer.root, message, sending).then(
      () => this.#onSent(to, meta.id),
      (error: unknown) => this.#onBroken(to, meta.id, error),
    );
  }

  /** Lets go of what nobody came back for. Called now and then. */
  onTick(nowMs: number): void {
    if (this.#offer === null || this.#sending.size > 0) return;
    if (nowMs >= this.#offer.expiresAtMs) this.#letGo();
  }

  /** Ends every transfer: this node is no leader any more, or stops. */
  cancel(reason: string): void {
    for (const sending of this.#sending.values()) sending.endReason ??= reason;
  }

  /** The log that is kept for the transfers has grown over its limit. */
  giveUp(keptSizeBytes: number): void {
    if (this.#offer === null) return;
    const { id, index } = this.#offer.root.meta;
    const peers = [...this.#sending.keys()];
    this.#parts.logger.error(
      { snapshot: id, index, peers, keptSizeBytes },
      'gave a snapshot transfer up: the log kept for it is over snapshotLogHoldSizeBytesMax; ' +
        'raise it or snapshotTransferBytesPerSecMax if peers cannot catch up',
    );
    this.#counters.givenUp += 1;
    this.cancel('the log that was kept for it grew too large');
    this.#letGo();
  }

  /**
   * Replaces the whole state by the installed checkpoint; resolves with its index.
   * Rejects: the replica must stop, its state is neither the old nor the new one.
   */
  restore(meta: SnapshotMeta): Promise<LogIndex> {
    const { fileSystem, dataDirectory, applier, checkpointer, pause } = this.#parts;
    return applier.barrier(async () => {
      const newest = must(checkpointer.root, 'a snapshot is installed before it is applied');
      // A newer one may be installed already; its message comes next and asks for it then. The
      // core must never hear of an index that it has not handed out.
      const root = checkpointer.roots.find((candidate) => candidate.meta.index === meta.index);
      if (root === undefined) throw notHere(meta, newest.meta.index);
      // The lanes must not be given another state in the middle of a checkpoint.
      await checkpointer.lanesIdle();
      const machine = await loadMeta(fileSystem, dataDirectory, root, pause);
      failpoint('snapshot.before-lanes');
      applier.startReplacing();
      await this.#openLanes({
        appliedIndex: machine.appliedIndex,
        definitions: machine.catalogue.stored(),
        manifests: manifestReferences(root),
      });
      failpoint('snapshot.after-lanes');
      applier.replaceState(machine);
      return machine.appliedIndex;
    });
  }

  /** A lane that is lost meanwhile costs another attempt, not the node: nothing is applied yet. */
  async #openLanes(options: ShardHostOpenOptions): Promise<void> {
    const { host, logger, timers } = this.#parts;
    for (let attempt = 1; ; attempt++) {
      try {
        await host.open(options);
        return;
      } catch (thrown) {
        const { code, message } = toHoldfastError(thrown);
        if (code !== 'SHARD_UNAVAILABLE' || attempt >= OPEN_ATTEMPT_COUNT_MAX) throw thrown;
        const delayMs = retryDelayMs(attempt);
        logger.error({ attempt, delayMs, code }, `${message}; the snapshot is loaded again`);
        await new Promise<void>((resolve) => timers.after(delayMs, resolve));
      }
    }
  }

  async #transfer(root: CheckpointRoot, message: SnapshotMessage, sending: Sending): Promise<void> {
    const { fileSystem, dataDirectory, budget, transport } = this.#parts;
    const snapshot = outgoingSnapshot(
      {
        ...{ fileSystem, dataDirectory, budget },
        endReason: () => sending.endReason,
        onProgress: (heldSizeBytes) => {
          sending.heldSizeBytes = heldSizeBytes;
        },
      },
      root,
      message,
    );
    sending.sizeBytes = snapshot.sizeBytes;
    failpoint('snapshot.send-begins');
    await transport.sendSnapshot(message.to, snapshot);
    failpoint('snapshot.send-ended');
  }

  #onSent(to: NodeId, snapshotId: string): void {
    this.#counters.completed += 1;
    this.#failuresInRow.delete(to);
    this.#sending.delete(to);
    this.#expireOfferAfter(CAUGHT_UP_HOLD_MS);
    this.#parts.report(to, snapshotId, true);
  }

  #onBroken(to: NodeId, snapshotId: string, error: unknown): void {
    const { timers, logger } = this.#parts;
    this.#counters.failed += 1;
    const failureCount = (this.#failuresInRow.get(to) ?? 0) + 1;
    this.#failuresInRow.set(to, failureCount);
    const delayMs = retryDelayMs(failureCount);
    const { heldSizeBytes, sizeBytes } = must(this.#sending.get(to), 'it was under way');
    logger.warn(
      { to, snapshot: snapshotId, heldSizeBytes, sizeBytes, delayMs, error: String(error) },
      'sending a snapshot broke off; it is gone on with when the peer is heard again',
    );
    this.#expireOfferAfter(RESUME_HOLD_MS);
    timers.after(delayMs, () => {
      this.#sending.delete(to);
      this.#parts.report(to, snapshotId, false);
    });
  }

  #offerOf(snapshotId: string): Offer | null {
    if (this.#offer !== null) return this.#offer.root.meta.id === snapshotId ? this.#offer : null;
    const { checkpointer } = this.#parts;
    const { root } = checkpointer;
    if (root?.meta.id !== snapshotId) return null;
    const unpin = checkpointer.pin(root);
    this.#offer = { root, unpin, expiresAtMs: 0 };
    return this.#offer;
  }

  /** Another one may still be waited for: the later end counts. */
  #expireOfferAfter(delayMs: number): void {
    if (this.#offer === null) return;
    const expiresAtMs = this.#parts.clock.monotonicMs() + delayMs;
    this.#offer.expiresAtMs = Math.max(this.#offer.expiresAtMs, expiresAtMs);
  }

  #letGo(): void {
    this.#offer?.unpin();
    this.#offer = null;
  }
}

const retryDelayMs = (failureCount: number): number =>
  Math.min(RETRY_DELAY_MS_MAX, RETRY_DELAY_MS_MIN * 2 ** (failureCount - 1));

function notHere(meta: SnapshotMeta, found: LogIndex): HoldfastError {
  return new HoldfastError(
    'CHECKPOINT_CORRUPT',
    `the snapshot at index ${meta.index} is not here, only one at ${found}; restart this node`,
    { details: { index: meta.index, found } },
  );
}
