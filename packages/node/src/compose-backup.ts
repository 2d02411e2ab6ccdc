/** Opens the stores that the settings name: the concrete side of `NodeBackup`. */
import { randomUUID } from 'node:crypto';
import type { Clock, Logger, Random, Timers } from '@holdfast/base';
import type { FileSystem } from '@holdfast/storage';
import { joinPath, makeKeyRing, readArchiveKeyFile, systemRandomBytes } from '@holdfast/storage';
import type { BackupPlace } from './assemble.ts';
import { BACKUP_DIRECTORY_NAME } from './backup/checkpoint-source.ts';
import type { RetentionPolicy } from './backup/retention.ts';
import { parseSchedule } from './backup/schedule.ts';
import { SealThread } from './backup/sealing/seal-thread.ts';
import { openSink } from './backup/sinks/open-sink.ts';
import type { BackupSink } from './backup/sinks/sink.ts';
import { RETRY_POLICY_DEFAULT } from './backup/sinks/sink-retry.ts';
import { ChildRestoreTester, type RestoreTester } from './backup/verification/restore-tester.ts';
import type { ClosingStack } from './closing-stack.ts';
import type { NodeConfig } from './config/options.ts';
import type { SiteLimits } from './standby/site-api.ts';

export interface BackupSeams {
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly logger: Logger;
}

/**
 * Nothing when no store is named. Asks no store anything: one that is away does not keep a node
 * from starting. `opened` closes them.
 * @throws HoldfastError CONFIG_INVALID, FILE_IO (a key file)
 */
export async function openBackupPlace(
  config: NodeConfig,
  seams: BackupSeams,
  opened: ClosingStack,
): Promise<{ readonly backup?: BackupPlace }> {
  const urls = config.backupSinks ?? [];
  if (urls.length === 0) return {};
  const keys = readBackupKeys(config, seams.fileSystem);
  const environment = { ...seams, retryPolicy: RETRY_POLICY_DEFAULT };
  const sinks: BackupSink[] = [];
  const sealing = new SealThread(seams);
  opened.push('sealing of backups', () => sealing.stop());
  for (const url of urls) {
    const sink = await openSink(url, process.env, environment);
    opened.push(`backup store ${sink.name}`, () => sink.close());
    sinks.push(sink);
  }
  const { archiveChunkSizeBytes, archiveIntervalMs } = config;
  const limits = { chunkSizeBytesMax: archiveChunkSizeBytes, chunkAgeMsMax: archiveIntervalMs };
  const stores = {
    ...{ sinks, keys, compression: config.backupCompression },
    bytesPerSecMax: config.backupBytesPerSecMax,
    concurrency: config.backupConcurrency,
    archive: config.archiveEnabled ? limits : null,
    schedules: {
      full: parseSchedule(config.backupFullSchedule),
      incremental: parseSchedule(config.backupIncrementalSchedule),
      verification: parseSchedule(config.backupVerifySchedule),
    },
    retention: retentionOf(config),
    ...(config.backupVerifyRestore ? { restoreTester: testerOf(config, seams, sinks) } : {}),
  };
  return {
    backup: {
      ...{ stores, mintBackupId: randomUUID, randomBytes: systemRandomBytes },
      ...{ sealing, site: siteOf(config) },
    },
  };
}

const siteOf = (config: NodeConfig): Partial<SiteLimits> => ({
  followIntervalMs: config.standbyLookIntervalMs,
  lagMsMax: config.standbyLagMaxMs,
  fenceLookIntervalMs: config.fenceLookIntervalMs,
  fenceAgeMaxMs: config.fenceAgeMaxMs,
  isSinkRequired: config.primaryRequiresSink,
});
function testerOf(
  config: NodeConfig,
  { clock, fileSystem }: BackupSeams,
  sinks: readonly BackupSink[],
): RestoreTester {
  const { backupKeyFile, backupOlderKeyFiles = [], backupVerifyDirectory, data, nodeId } = config;
  const urls = config.backupSinks ?? [];
  // What a crash leaves below the folder of backups goes at the next start.
  const scratchDirectory =
    backupVerifyDirectory === undefined
      ? joinPath(data, BACKUP_DIRECTORY_NAME, 'restore-test')
      : joinPath(backupVerifyDirectory, `holdfast-${nodeId}`);
  return new ChildRestoreTester({
    ...{ scratchDirectory, nodeId, clock },
    urls: new Map(sinks.map(({ name }, i) => [name, urls[i] ?? name])),
    keyFiles: backupKeyFile === undefined ? [] : [backupKeyFile, ...backupOlderKeyFiles],
    prepare: () => {
      fileSystem.removeTree(scratchDirectory);
      fileSystem.makeDirectory(scratchDirectory);
    },
  });
}

function retentionOf(config: NodeConfig): RetentionPolicy {
  return {
    keepHourly: config.backupKeepHourly,
    keepDaily: config.backupKeepDaily,
    keepWeekly: config.backupKeepWeekly,
    keepMonthly: config.backupKeepMonthly,
    keepLast: config.backupKeepLast,
    keepWithinMs: null,
    logRetentionMs: config.archiveEnabled ? config.walRetentionMs : null,
  };
}

/** @throws HoldfastError CONFIG_INVALID, FILE_IO */
export function readBackupKeys(config: NodeConfig, fileSystem: FileSystem) {
  const { backupKeyFile, backupOlderKeyFiles = [] } = config;
  const older = backupOlderKeyFiles.map((path) => readArchiveKeyFile(fileSystem, path));
  if (backupKeyFile === undefined) return makeKeyRing({ older });
  // What is not encrypted could have been put there by anybody.
  const current = readArchiveKeyFile(fileSystem, backupKeyFile);
  return makeKeyRing({ current, older, isPlainRefused: true });
}
