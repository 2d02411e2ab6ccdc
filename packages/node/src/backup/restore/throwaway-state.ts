/**
 * The state that a plan leads to, read without a node: laid as the data directory of one that is
 * never started, and removed whatever happens. The store is only read.
 */
import type { Clock } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import type { FileSystem, WalOptions } from '@holdfast/storage';
import type { Pause } from '../../replica/slices.ts';
import { backupSource } from './backup-source.ts';
import type { RestoreStep } from './lay-directory.ts';
import { layDirectory } from './lay-directory.ts';
import { type OfflineState, openOffline } from './offline-state.ts';
import type { RestoreStore } from './plan-from-store.ts';
import { archiveOfPlan, backupOfPlan } from './plan-from-store.ts';
import type { RestorePlan } from './restore-plan.ts';

export interface ThrowawayOptions {
  readonly store: RestoreStore;
  readonly plan: RestorePlan;
  /** Whose directory it would be: of the plan. */
  readonly nodeId: string;
  /** By the names they have then; null: all that are not hidden. Their rows are held in memory. */
  readonly names: readonly string[] | null;
  readonly fileSystem: FileSystem;
  /** Must not be there yet; is gone at the end. */
  readonly directory: string;
  readonly clock: Clock;
  readonly pause: Pause;
  readonly onStep?: (step: RestoreStep) => void;
  readonly signal?: AbortSignal;
  readonly wal?: Partial<WalOptions>;
}

/** @throws HoldfastError as backupOfPlan, layDirectory, openOffline and `body` */
export async function withThrowawayState<Answer>(
  options: ThrowawayOptions,
  body: (state: OfflineState) => Answer | Promise<Answer>,
): Promise<Answer> {
  const { clock, directory, fileSystem, names, nodeId, onStep, pause, plan, signal, store, wal } =
    options;
  if (fileSystem.exists(directory)) {
    const message = `${directory} is there already: a throwaway directory is made anew`;
    throw new HoldfastError('DATA_DIR_FOREIGN', message, { details: { directory } });
  }
  const files = { fileSystem, directory, ...(wal === undefined ? {} : { wal }) };
  try {
    const { manifest, reader } = await backupOfPlan(store, plan);
    await layDirectory({
      ...{ ...files, plan, nodeId, hasher: store.hasher, clock },
      source: backupSource(reader, manifest, fileSystem),
      archive: archiveOfPlan(store, plan),
      ...(onStep === undefined ? {} : { onStep }),
      ...(signal === undefined ? {} : { signal }),
    });
    const { group, parent } = plan;
    return await body(await openOffline({ ...files, group, names, pause, index: parent.index }));
  } finally {
    fileSystem.removeTree(directory);
  }
}
