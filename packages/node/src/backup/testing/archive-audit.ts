/**
 * What a store holds of one cluster, looked at harder than a restore would: every object of the
 * archive must begin exactly where the one before ends (readers would take an overlap whose content
 * agrees), the chain of the whole must hold, and every backup that can be seen must be complete.
 * Unencrypted stores only. Writes nothing.
 */
import { clusterId as clusterIdOf, HoldfastError, SeededRandom } from '@holdfast/base';
import { createEntryHasher, NO_KEYS, systemRandomBytes, toHex } from '@holdfast/storage';
import { SYSTEM_CLOCK, SYSTEM_TIMERS } from '../../system-time.ts';
import { ArchiveReader } from '../archive/archive-reader.ts';
import type { LogObject } from '../archive/archive-store.ts';
import { ArchiveStore, endOf, linkOf } from '../archive/archive-store.ts';
import { entryTimestampMs } from '../archive/entry-time.ts';
import { findTimeline } from '../archive/find-timeline.ts';
import { BackupReader } from '../backup-reader.ts';
import { openSink } from '../sinks/open-sink.ts';
import type { BackupSink } from '../sinks/sink.ts';
import { RETRY_POLICY_DEFAULT } from '../sinks/sink-retry.ts';

export interface AuditedBackup {
  readonly backupId: string;
  readonly type: string;
  readonly index: number;
}

export interface ArchiveAudit {
  readonly chunkCount: number;
  readonly entryCount: number;
  readonly gapCount: number;
  /** The last index that is archived. */
  readonly lastIndex: number;
  /** Chain sum of every archived entry, in hex. */
  readonly sums: ReadonlyMap<number, string>;
  /** Complete, as reading them whole has shown. */
  readonly backups: readonly AuditedBackup[];
  /** In words; empty when all is well. */
  readonly wrong: readonly string[];
}

/** @throws HoldfastError SINK_*, CONFIG_INVALID */
export async function auditArchive(storeUrl: string, clusterId: string): Promise<ArchiveAudit> {
  const sink = await openSink(storeUrl, process.env, {
    ...{ clock: SYSTEM_CLOCK, timers: SYSTEM_TIMERS, retryPolicy: RETRY_POLICY_DEFAULT },
    random: new SeededRandom(1),
  });
  try {
    const log = await auditLog(sink, clusterId);
    const { backups, wrong } = await auditBackups(sink, clusterId);
    return { ...log, backups, wrong: [...log.wrong, ...wrong] };
  } finally {
    await sink.close();
  }
}

async function auditLog(
  sink: BackupSink,
  clusterId: string,
): Promise<Omit<ArchiveAudit, 'backups'>> {
  const storeOf = (timeline: string): ArchiveStore =>
    new ArchiveStore({
      ...{ sink, timeline, clusterId: clusterIdOf(clusterId), hasher: createEntryHasher() },
      sealing: { compression: 'none', keys: NO_KEYS, random: systemRandomBytes },
      timestampOf: entryTimestampMs,
    });
  const { parent, timeline } = await findTimeline(sink, clusterIdOf(clusterId), storeOf);
  const store = storeOf(timeline);
  const sums = new Map<number, string>();
  const wrong: string[] = [];
  let [chunkCount, gapCount] = [0, 0];
  let lastIndex: number = parent?.index ?? 0;
  for await (const firstIndex of store.logIndexesAfter(lastIndex)) {
    const object = await readOrDamage(store, firstIndex);
    if (object instanceof HoldfastError) {
      // Where it ends nobody knows, so what follows cannot be judged.
      wrong.push(object.message);
      break;
    }
    if (linkOf(object).firstIndex !== lastIndex + 1) {
      wrong.push(`${store.logKey(firstIndex)} begins behind ${lastIndex}: a hole or an overlap`);
    }
    lastIndex = endOf(object).index;
    if (object.kind === 'gap') gapCount += 1;
    else {
      chunkCount += 1;
      for (const { index, sum } of object.entries) sums.set(index, toHex(sum));
    }
  }
  const { entryCount, error } = await new ArchiveReader(store).verify();
  if (error !== null) wrong.push(`the archive: ${error.message}`);
  if (entryCount !== sums.size) wrong.push(`${entryCount} entries are read, ${sums.size} stored`);
  return { chunkCount, entryCount, gapCount, lastIndex, sums, wrong };
}

async function readOrDamage(
  store: ArchiveStore,
  firstIndex: number,
): Promise<LogObject | HoldfastError> {
  try {
    const object = await store.readLogObject(firstIndex);
    if (object !== null) return object;
  } catch (thrown) {
    if (!(thrown instanceof HoldfastError) || thrown.code !== 'BACKUP_CORRUPT') throw thrown;
    return thrown;
  }
  const message = `${store.logKey(firstIndex)} is listed and not there`;
  return new HoldfastError('BACKUP_CORRUPT', message);
}

async function auditBackups(
  sink: BackupSink,
  clusterId: string,
): Promise<Pick<ArchiveAudit, 'backups' | 'wrong'>> {
  const reader = new BackupReader({ sink, clusterId, keys: NO_KEYS });
  const { backups, damaged } = await reader.list();
  const wrong = damaged.map(({ backupId, error }) => `backup ${backupId}: ${error.message}`);
  for (const { backupId } of backups) {
    const { bad } = await reader.verify(await reader.read(backupId));
    for (const { key, status } of bad) wrong.push(`backup ${backupId}: ${key} is ${status}`);
  }
  const audited = backups.map(({ backupId, index, type }) => ({ backupId, index, type }));
  return { backups: audited, wrong };
}
