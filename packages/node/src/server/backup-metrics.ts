/**
 * Metrics of backups and of the archive, read from their status per scrape. What only the leader
 * knows only the leader says, so that an alarm about it is one alarm.
 */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { KeptSinkStatus } from '../backup/archive/archive-keeper.ts';
import type {
  BackupTally,
  NodeBackupStatus,
  ScheduledTaskStatus,
  SinkRetentionStatus,
} from '../backup/backup-api.ts';
import type { RestoreTestStatus } from '../backup/verification/verify-newest.ts';
import type { NodeService } from '../service-api.ts';

interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  /** Null: not known, so nothing is said. */
  readonly value: number | null;
}

interface Metric {
  readonly kind: 'gauge' | 'counter';
  readonly name: string;
  readonly help: string;
  readonly labelNames: readonly string[];
  readonly read: (status: NodeBackupStatus) => readonly Sample[];
}

const METRICS: readonly Metric[] = [
  tally('counter', 'backup_success_total', 'Backups made.', (one) => one.succeededCount),
  tally('counter', 'backup_failure_total', 'Backups that failed.', (one) => one.failedCount),
  tally(
    'gauge',
    'backup_duration_seconds',
    'How long the newest backup took.',
    ({ newestDurationMs }) => seconds(newestDurationMs),
  ),
  tally(
    'gauge',
    'backup_size_bytes',
    'Of all files of the newest backup.',
    ({ newestSizeBytes }) => newestSizeBytes,
  ),
  {
    ...{ kind: 'gauge', name: 'last_backup_timestamp', labelNames: ['sink'] },
    help: 'Newest good run, also without anything new, in seconds; 0: never. By the leader alone.',
    read: ({ newestMs }) =>
      Object.entries(newestMs).map(([sink, timeMs]) => {
        return { labels: { sink }, value: (timeMs ?? 0) / 1_000 };
      }),
  },
  restoreTest(
    'restore_test_last_timestamp',
    'When a backup was last restored to try it, in seconds.',
    ({ durationMs, startedMs }) => (startedMs + durationMs) / 1_000,
  ),
  restoreTest('restore_test_failed', '1 when that failed.', ({ failure }) =>
    failure === null ? 0 : 1,
  ),
  restoreTest(
    'restore_test_duration_seconds',
    'How long that took: the time that a restore takes.',
    ({ durationMs }) => durationMs / 1_000,
  ),
  task(
    'gauge',
    'backup_failures_in_row',
    'Scheduled runs that failed since the last good one.',
    (one) => one.failuresInARow,
  ),
  task(
    'counter',
    'backup_schedule_failures_total',
    'Scheduled runs that failed.',
    (one) => one.failedCount,
  ),
  retention(
    'backup_prune_last_timestamp',
    'When old backups were last removed, in seconds.',
    ({ endedMs }) => endedMs / 1_000,
  ),
  retention('backup_prune_failed', '1 when that failed.', (one) => (one.error === null ? 0 : 1)),
  archive('gauge', 'archive_lag_seconds', 'Age of the oldest entry not archived.', (one) =>
    seconds(one.lagMs),
  ),
  archive('gauge', 'archive_lag_entries', 'Entries not archived.', (one) => one.lagEntryCount),
  archive(
    'gauge',
    'archived_index',
    'The archive has the log up to here.',
    (one) => one.archivedIndex,
  ),
  archive(
    'gauge',
    'archive_stopped',
    '1 when nothing is archived any more until a restart; an alarm.',
    ({ state }) => (state === 'alarmed' ? 1 : 0),
  ),
  archive('counter', 'archive_chunks_total', 'Put by this leader.', (one) => one.chunkCount),
  archive('counter', 'archive_failures_total', 'Failed attempts.', (one) => one.failureCount),
  archive('counter', 'archive_gaps_total', 'Gaps: log lost to it.', (one) => one.gapCount),
];

export function registerBackupMetrics(registry: Registry, service: NodeService): void {
  for (const { help, kind, labelNames, name, read } of METRICS) {
    const about = {
      ...{ name: `holdfast_${name}`, help, labelNames: [...labelNames], registers: [registry] },
    };
    const known = () => {
      const status = service.backup?.status();
      return status === undefined ? [] : read(status);
    };
    if (kind === 'gauge') {
      new Gauge({
        ...about,
        collect() {
          this.reset();
          for (const { labels, value } of known()) if (value !== null) this.set(labels, value);
        },
      });
    } else {
      new Counter({
        ...about,
        collect() {
          this.reset();
          for (const { labels, value } of known()) if (value !== null) this.inc(labels, value);
        },
      });
    }
  }
}

function tally(
  kind: Metric['kind'],
  name: string,
  help: string,
  read: (one: BackupTally) => number | null,
): Metric {
  const labelNames = ['type', 'sink'];
  const samples = ({ tallies }: NodeBackupStatus) =>
    tallies.map((one) => ({ labels: { type: one.type, sink: one.sink }, value: read(one) }));
  return { kind, name, help, labelNames, read: samples };
}

/** `type`: what is scheduled, verifications too. */
function task(
  kind: Metric['kind'],
  name: string,
  help: string,
  read: (one: ScheduledTaskStatus) => number,
): Metric {
  const labelNames = ['type', 'sink'];
  const samples = ({ schedule }: NodeBackupStatus) =>
    schedule.map((one) => ({ labels: { type: one.kind, sink: one.sink }, value: read(one) }));
  return { kind, name, help, labelNames, read: samples };
}

function restoreTest(name: string, help: string, read: (one: RestoreTestStatus) => number): Metric {
  const samples = (status: NodeBackupStatus) =>
    status.restoreTests.map((one) => ({ labels: { sink: one.sink }, value: read(one) }));
  return { kind: 'gauge', name, help, labelNames: ['sink'], read: samples };
}

function retention(name: string, help: string, read: (one: SinkRetentionStatus) => number): Metric {
  const samples = (status: NodeBackupStatus) =>
    status.retention.map((one) => ({ labels: { sink: one.sink }, value: read(one) }));
  return { kind: 'gauge', name, help, labelNames: ['sink'], read: samples };
}

function archive(
  kind: Metric['kind'],
  name: string,
  help: string,
  read: (one: KeptSinkStatus) => number | null,
): Metric {
  const samples = (status: NodeBackupStatus) =>
    status.archive.map((one) => ({ labels: { sink: one.sink }, value: read(one) }));
  return { kind, name, help, labelNames: ['sink'], read: samples };
}

function seconds(durationMs: number | null): number | null {
  return durationMs === null ? null : durationMs / 1_000;
}
