/** Snapshots of one replica, both ways: what is sent, what is received, and what both hold. */
import type { LogIndex, NodeId, SnapshotMeta } from '@holdfast/base';
import type { SnapshotProgress } from '../service-api.ts';
import type { Applier } from './applier.ts';
import type { Checkpointer, CompactionParts } from './checkpointer.ts';
import type { Driver } from './driver.ts';
import type { ReplicaOptions, ReplicaParts } from './replica-parts.ts';
import { pauseBy } from './slices.ts';
import type { SnapshotCounters } from './snapshot-exchange.ts';
import { SnapshotExchange } from './snapshot-exchange.ts';
import type { SnapshotMessage } from './snapshot-header.ts';
import { SnapshotInstaller } from './snapshot-installer.ts';
import { TransferBudget } from './transfer-budget.ts';

export interface SnapshotStatus {
  readonly outgoing: readonly SnapshotProgress[];
  readonly incoming: SnapshotProgress | null;
  readonly counters: SnapshotCounters;
  /** The log is kept from here on for a transfer; null while none needs it. */
  readonly pinnedIndex: LogIndex | null;
}

export interface SnapshotsParts {
  readonly options: ReplicaOptions;
  readonly parts: ReplicaParts;
  readonly applier: Applier;
  readonly checkpointer: Checkpointer;
  /** Asked when something happens, never while this is built. */
  readonly driver: () => Driver;
}

export class Snapshots {
  readonly installer: SnapshotInstaller;
  readonly exchange: SnapshotExchange;
  readonly #parts: SnapshotsParts;

  constructor(snapshotParts: SnapshotsParts) {
    this.#parts = snapshotParts;
    const { options, parts, applier, checkpointer, driver } = snapshotParts;
    const { dataDirectory, limits } = options;
    const pause = pauseBy(parts.defer);
    this.installer = new SnapshotInstaller({
      fileSystem: parts.fileSystem,
      dataDirectory,
      checkpointer,
      refusal: (message) => this.#refusalOf(message),
      deliver: (message) => driver().receive([message]),
      onFailure: (error) => driver().fail(error),
      pause,
      logger: parts.logger,
    });
    const rate = limits.snapshotTransferBytesPerSecMax;
    this.exchange = new SnapshotExchange({
      ...parts,
      dataDirectory,
      applier,
      checkpointer,
      pause,
      budget: new TransferBudget(parts.clock, parts.timers, rate),
      report: (peer: NodeId, snapshotId, isOk) =>
        driver().withCore((core) => core.reportSnapshot(peer, snapshotId, isOk)),
    });
  }

  /** The checkpoint that peers are offered; the core's LogReader asks for it. */
  offered(): SnapshotMeta | null {
    return this.exchange.offered();
  }

  status(): SnapshotStatus {
    const { counters, outgoing, pinnedIndex } = this.exchange;
    return { counters, outgoing, incoming: this.installer.progress, pinnedIndex };
  }

  /** Why the core would refuse this message: then its files must not be installed either. */
  #refusalOf(message: SnapshotMessage): string | null {
    const { options, parts } = this.#parts;
    const { group, incarnation, nodeId } = options;
    const { term } = parts.core.status();
    if (message.group !== group) return `it is of group ${message.group}`;
    const isOwn = message.to === nodeId && message.toIncarnation === incarnation;
    if (!isOwn) return `it is for ${message.to} ${message.toIncarnation}`;
    if (message.term < term) return `it is of term ${message.term}, this node knows term ${term}`;
    return null;
  }
}

/** What the compaction of the log looks at; `snapshots` is asked when a checkpoint is made. */
export function compactionParts(
  { retainedEntryCount, limits }: ReplicaOptions,
  { archivedIndex, core }: ReplicaParts,
  snapshots: () => Snapshots,
): CompactionParts {
  return {
    limits: {
      retainedEntryCount,
      retainedSizeBytesMax: limits.logRetentionSizeBytesMax,
      followerHoldSizeBytesMax: limits.followerLogHoldSizeBytesMax,
      transferHoldSizeBytesMax: limits.snapshotLogHoldSizeBytesMax,
      archiveHoldSizeBytesMax: limits.archiveHoldSizeBytesMax,
    },
    view: () => ({
      followers: core.status().peers.map(({ matchIndex, state, isRecentlyActive }) => ({
        // Nothing matched and no snapshot under way: it has not answered this leader yet.
        matchIndex: matchIndex === 0 && state !== 'snapshot' ? null : matchIndex,
        isReachable: isRecentlyActive,
      })),
      transferIndex: snapshots().exchange.pinnedIndex,
      archivedIndex: archivedIndex(),
    }),
    giveTransferUp: (keptSizeBytes) => snapshots().exchange.giveUp(keptSizeBytes),
  };
}
