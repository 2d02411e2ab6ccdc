/** What the schedules of a node do when they are due: the work of the scheduler, wired. */
import { HoldfastError, toHoldfastError } from '@holdfast/base';
import type { BackupType } from '@holdfast/storage';
import type { SinkOutcome } from './backup-fan-out.ts';
import type { BackupListing, BackupReader } from './backup-reader.ts';
import { BackupScheduler, type NewestBackups, type ScheduledWork } from './backup-scheduler.ts';
import { backupReaderIn, type NodeBackupOptions } from './node-backup-options.ts';
import type { BackupSink } from './sinks/sink.ts';
import type { RestoreTests } from './verification/restore-tests.ts';
import { verifyNewest } from './verification/verify-newest.ts';

/** What the node does for its schedules, one at a time. */
export interface NodeWork {
  backUp(
    type: BackupType,
    sinks: readonly string[],
    signal: AbortSignal,
  ): Promise<readonly SinkOutcome[]>;
  /** @throws HoldfastError OVERLOADED while something else is under way */
  prune(sinks: readonly string[], signal: AbortSignal): Promise<unknown>;
}

export function makeScheduler(
  options: NodeBackupOptions,
  tests: RestoreTests,
  node: NodeWork,
): BackupScheduler {
  const { clock, logger, stores, timers } = options;
  return new BackupScheduler({
    ...{ schedules: stores.schedules, clock, logger, timers },
    sinks: stores.sinks.map(({ name }) => name),
    work: scheduledWork(options, tests, node),
  });
}

function scheduledWork(
  options: NodeBackupOptions,
  tests: RestoreTests,
  node: NodeWork,
): ScheduledWork {
  const { restoreTester: tester = null, sinks } = options.stores;
  const readerOf = (name: string, signal: AbortSignal): BackupReader =>
    backupReaderIn(options, sinkNamed(sinks, name), signal);
  return {
    async newest(name, signal) {
      const listing = await readerOf(name, signal).list();
      const sink = sinkNamed(sinks, name);
      const verifiedMs = tester === null ? null : await tests.lookInto(sink, signal);
      return { ...newestOf(listing), verifiedMs };
    },
    backUp: (type, names, signal) => node.backUp(type, names, signal),
    verifyNewest: (name, signal) =>
      verifyNewest({
        ...{ reader: readerOf(name, signal), tester, signal },
        place: tests.placeIn(sinkNamed(sinks, name)),
        onResult: (result) => tests.note(name, result),
      }),
    async prune(names, signal) {
      if (names.length === 0) return;
      try {
        await node.prune(names, signal);
      } catch (thrown) {
        // What stays too long is no reason to fail a backup.
        const { code, message } = toHoldfastError(thrown);
        options.logger.warn({ sinks: names, code }, `old backups stay for now: ${message}`);
      }
    },
  };
}

/** @throws HoldfastError REQUEST_INVALID */
export function sinkNamed(sinks: readonly BackupSink[], name: string): BackupSink {
  const sink = sinks.find((one) => one.name === name);
  if (sink !== undefined) return sink;
  const own = sinks.map((one) => one.name).join(', ');
  const message = `${name} is no store of this node: ${own}`;
  throw new HoldfastError('REQUEST_INVALID', message);
}

function newestOf({ backups }: BackupListing): Omit<NewestBackups, 'verifiedMs'> {
  const full = backups.find(({ type }) => type === 'full');
  return { fullMs: full?.createdMs ?? null, anyMs: backups[0]?.createdMs ?? null };
}
