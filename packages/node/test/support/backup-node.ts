/** NodeBackup over real checkpoints and stores in memory, on a clock that the test moves. */
import type { Logger } from '@holdfast/base';
import { clusterId, incarnation, nodeId, SeededRandom } from '@holdfast/base';
import type { NodeIdentity } from '@holdfast/storage';
import { createEntryHasher } from '@holdfast/storage';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import type { BackupSchedules } from '../../src/backup/backup-scheduler.ts';
import { NodeBackup } from '../../src/backup/node-backup.ts';
import type { BackupStores } from '../../src/backup/node-backup-options.ts';
import { RETENTION_DEFAULT } from '../../src/backup/retention.ts';
import { parseSchedule } from '../../src/backup/schedule.ts';
import { MemorySink } from '../../src/backup/testing/memory-sink.ts';
import {
  CheckpointMaker,
  CLUSTER,
  countingRandom,
  DATA,
  KEYS,
  nextBackupId,
  pause,
} from './backup.ts';
import { until } from './until.ts';

/** The defaults of the settings. */
export const SCHEDULES: BackupSchedules = {
  full: parseSchedule('0 2 * * *'),
  incremental: parseSchedule('0 * * * *'),
  verification: parseSchedule('0 4 * * 0'),
};

export interface Site {
  readonly maker: CheckpointMaker;
  readonly sinks: readonly MemorySink[];
  /** What was logged as an error. */
  readonly errors: string[];
  node(name: string, changes?: Partial<BackupStores>): NodeBackup;
}

export async function openSite(sinkNames: readonly string[] = ['memory']): Promise<Site> {
  const fileSystem = new MemoryFileSystem();
  fileSystem.makeDirectory(DATA);
  const maker = await CheckpointMaker.open(fileSystem);
  await maker.write(20);
  const wallMs = () => maker.clock.wallMs();
  const sinks = sinkNames.map((name) => new MemorySink({ name, wallMs }));
  const errors: string[] = [];
  const node = (name: string, changes: Partial<BackupStores> = {}): NodeBackup => {
    const identity = { clusterId: clusterId(CLUSTER), nodeId: nodeId(name), formatVersion: 1 };
    const backup = new NodeBackup({
      stores: {
        ...{ sinks, keys: KEYS, compression: 'none', bytesPerSecMax: 0, concurrency: 2 },
        ...{ archive: null, schedules: SCHEDULES, retention: RETENTION_DEFAULT },
        ...changes,
      },
      // Of the rest nothing is asked.
      identity: { ...identity, incarnation: incarnation(CLUSTER) } as NodeIdentity,
      ...{ dataDirectory: DATA, fileSystem, hasher: createEntryHasher(), pause },
      // Without an archive nobody reads the log.
      log: null as never,
      replica: {
        checkpoint: () => maker.checkpoint(),
        pin: () => () => undefined,
        commitIndex: () => maker.appliedIndex as never,
      },
      ...{ clock: maker.clock, timers: maker.clock, random: new SeededRandom(1) },
      ...{ logger: loggerInto(errors), mintBackupId: nextBackupId, randomBytes: countingRandom() },
    });
    backup.start();
    return backup;
  };
  return { maker, sinks, errors, node };
}

/** Lets time go by while one node of the site leads: what falls due is done before it goes on. */
export async function pass({ maker: { clock } }: Site, durationMs: number): Promise<void> {
  const endMs = clock.monotonicMs() + durationMs;
  while (clock.fireNext(endMs)) await until(() => clock.nextDueMs() !== undefined);
}

/** `full` or `incremental`, oldest first. */
export async function typesIn(backup: NodeBackup, sink = 'memory'): Promise<readonly string[]> {
  const stores = await backup.list();
  const backups = stores.find((store) => store.sink === sink)?.backups ?? [];
  return backups.map(({ type }) => type).reverse();
}

function loggerInto(errors: string[]): Logger {
  const logger: Logger = {
    ...{ debug: () => undefined, info: () => undefined, warn: () => undefined },
    error: (_fields, message) => void errors.push(message),
    child: () => logger,
  };
  return logger;
}
