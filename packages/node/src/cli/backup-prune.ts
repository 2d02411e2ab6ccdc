/** `holdfast backup prune`: retention of a store, without a node. */
import { randomUUID } from 'node:crypto';
import { clusterId as toClusterId } from '@holdfast/base';
import { createEntryHasher } from '@holdfast/storage';
import type { Command } from 'commander';
import { ArchiveStore } from '../backup/archive/archive-store.ts';
import { entryTimestampMs } from '../backup/archive/entry-time.ts';
import type { PruneReport } from '../backup/prune.ts';
import { policyOfDays, pruneStore } from '../backup/prune-stores.ts';
import { RETENTION_DEFAULT } from '../backup/retention.ts';
import { SYSTEM_CLOCK, SYSTEM_TIMERS } from '../system-time.ts';
import { type CliIo, EXIT_FAILED, ExitWith, integerOption } from './io.ts';
import { addStoreFlags, onlyCluster, type StoreFlags, withStore } from './store-flags.ts';

interface PruneFlags extends StoreFlags {
  readonly cluster?: string;
  readonly retentionDays?: string;
  readonly dryRun?: boolean;
}

export const RETENTION_DAYS_MAX = 36_500;

export function addPrune(backup: Command, io: CliIo): void {
  addStoreFlags(
    backup
      .command('prune')
      .description('remove backups and archived log that retention lets go')
      .option('--cluster <ID>', 'default: the only one in the store')
      .option('--retention-days <N>', 'keep N days; default: 24 hours, 7 days, 4 weeks, 12 months')
      .option('--dry-run', 'remove nothing, say what would go'),
  ).action((flags: PruneFlags) => prune(flags, io));
}

async function prune(flags: PruneFlags, io: CliIo): Promise<void> {
  const { dryRun: isDryRun = false, retentionDays } = flags;
  const policy =
    retentionDays === undefined
      ? RETENTION_DEFAULT
      : policyOfDays(
          integerOption(retentionDays, '--retention-days', 1, RETENTION_DAYS_MAX),
          RETENTION_DEFAULT,
        );
  await withStore(flags, io, async (store) => {
    const { sealing, sink } = store;
    const clusterId = toClusterId(await onlyCluster(store, flags.cluster));
    const hasher = createEntryHasher();
    const report = await pruneStore({
      ...{ sink, clusterId, keys: sealing.keys, policy, isDryRun },
      ...{ clock: SYSTEM_CLOCK, timers: SYSTEM_TIMERS },
      holder: { id: randomUUID(), owner: 'command' },
      storeOf: (timeline) =>
        new ArchiveStore({
          ...{ sink, clusterId, timeline, sealing, hasher, timestampOf: entryTimestampMs },
        }),
    });
    show(report, isDryRun, io);
  });
}

function show(report: PruneReport, isDryRun: boolean, io: CliIo): void {
  for (const { backupId, reasons } of report.kept)
    io.out(`  kept ${backupId}: ${reasons.join(', ')}\n`);
  const gone = isDryRun ? 'would go' : 'removed';
  for (const backupId of report.removedBackups) io.out(`  ${gone} ${backupId}\n`);
  const { removedBackups, removedChunkCount, removedFileCount, removedLeftoverCount } = report;
  io.out(
    `${gone}: ${removedBackups.length} backups, ${removedFileCount} files, ` +
      `${removedChunkCount} chunks of the log\n`,
  );
  if (removedLeftoverCount > 0)
    io.out(`${gone}: ${removedLeftoverCount} leftovers of interrupted puts\n`);
  for (const { backupId, error } of report.blockedBy) io.err(`${backupId}: ${error.message}\n`);
  if (report.blockedBy.length === 0) return;
  io.err('as long as a backup cannot be read, nobody knows what it needs: nothing more goes\n');
  throw new ExitWith(EXIT_FAILED);
}
