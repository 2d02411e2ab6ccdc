/**
 * Selected collections out of a store, beside live data: the past state is laid as the data
 * directory of a node that is never started, its rows are read where they lie, and go into the
 * running cluster as hidden collections. The directory is a throwaway: it is removed whatever
 * happens, and the store is only read.
 */
import type { Clock, GroupId } from '@holdfast/base';
import type { FileSystem, WalOptions } from '@holdfast/storage';
import type { RestoreTarget } from '../archive/archive-target.ts';
import { BackupReader } from '../backup-reader.ts';
import type { BesideStep, HiddenTarget, LiveCluster } from './beside-live.ts';
import { checkNames, restoreBeside } from './beside-live.ts';
import type { RestoreStep } from './lay-directory.ts';
import type { FoundRestore, RestoreStore } from './plan-from-store.ts';
import { planFromStore } from './plan-from-store.ts';
import { withThrowawayState } from './throwaway-state.ts';

/** It is in no configuration but its own, and nothing listens there. */
const THROWAWAY = { nodeId: 'throwaway', address: '127.0.0.1:1', clientAddress: null };

export type CollectionsTarget =
  | RestoreTarget
  /** The state that the backup has by itself. */
  | { readonly kind: 'backup'; readonly backupId: string };

export interface CollectionsWish {
  readonly clusterId: string;
  /** Null: the newest. */
  readonly timeline: string | null;
  readonly target: CollectionsTarget;
  readonly group: GroupId;
  readonly createdMs: number;
  /** 32 hex digits, never the same twice. */
  readonly mintHexId: () => string;
}

/** Reads only. @throws HoldfastError as planFromStore */
export async function planCollections(
  store: RestoreStore,
  wish: CollectionsWish,
): Promise<FoundRestore> {
  const { target, ...rest } = wish;
  const fixed = { ...rest, members: [THROWAWAY] };
  if (target.kind !== 'backup') return planFromStore(store, { ...fixed, target, backupId: null });
  const { backupId } = target;
  const keys = store.sealing.keys;
  const reader = new BackupReader({ sink: store.sink, clusterId: wish.clusterId, keys });
  const { root } = await reader.read(backupId);
  return planFromStore(store, {
    ...{ ...fixed, backupId },
    target: { kind: 'index', index: root.meta.index },
  });
}

export interface CollectionsRestore {
  readonly store: RestoreStore;
  readonly found: FoundRestore;
  /** By the names they have in the past state. */
  readonly names: readonly string[];
  readonly prefix: string;
  readonly isPublished: boolean;
  readonly cluster: LiveCluster;
  readonly fileSystem: FileSystem;
  /** Must not be there yet; is gone at the end. */
  readonly directory: string;
  readonly clock: Clock;
  readonly pause: () => Promise<void>;
  readonly onStep?: (step: RestoreStep | BesideStep) => void;
  readonly signal?: AbortSignal;
  readonly wal?: Partial<WalOptions>;
}

/**
 * @throws HoldfastError COLLECTION_EXISTS and COLLECTION_NOT_FOUND before anything was done in the
 *   cluster; else as layDirectory, openOffline and restoreBeside
 */
export async function restoreCollections(
  restore: CollectionsRestore,
): Promise<readonly HiddenTarget[]> {
  const { cluster, directory, fileSystem, found, names, pause, prefix, store } = restore;
  // A name that is taken is told before anything is fetched.
  await checkNames(cluster, names, prefix);
  const { isPublished, onStep, signal, wal } = restore;
  const optional = {
    ...(onStep === undefined ? {} : { onStep }),
    ...(signal === undefined ? {} : { signal }),
  };
  return withThrowawayState(
    {
      ...{ store, plan: found.plan, nodeId: THROWAWAY.nodeId, names, fileSystem, directory },
      ...{ clock: restore.clock, pause, ...optional, ...(wal === undefined ? {} : { wal }) },
    },
    (source) => {
      onStep?.({ kind: 'opened', pointCount: source.pointCount });
      return restoreBeside({ ...{ source, cluster, prefix, isPublished }, ...optional });
    },
  );
}
