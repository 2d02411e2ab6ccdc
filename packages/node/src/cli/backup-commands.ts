/**
 * `holdfast backup create|status|list|verify|prune`: backups are made by a node, into the stores of
 * its settings; listing, verifying and pruning need the store only.
 */
import type { BackupManifest } from '@holdfast/storage';
import type { Command } from 'commander';
import type { BackupUnderWay, ScheduledTaskStatus } from '../backup/backup-api.ts';
import type { BackupSummary, VerifyReport } from '../backup/backup-reader.ts';
import { BackupReader } from '../backup/backup-reader.ts';
import { findClusters } from '../backup/find-clusters.ts';
import { parseTime } from './arguments.ts';
import { askNode } from './ask-node.ts';
import { addPrune } from './backup-prune.ts';
import { type RestoreTestFlags, showResults, tryBackup } from './backup-restore-test.ts';
import { addVerifyLog } from './backup-verify-log.ts';
import { addClientFlags, type ClientFlags, nodeAddresses } from './client-flags.ts';
import { type CliIo, EXIT_FAILED, ExitWith, UsageError } from './io.ts';
import {
  addStoreFlags,
  type OpenStore,
  onlyCluster,
  type StoreFlags,
  withStore,
} from './store-flags.ts';

const CREATE_TIMEOUT_MS = '86400000';
const STATUS_TIMEOUT_MS = '10000';

interface CreateFlags extends ClientFlags {
  readonly full?: boolean;
  readonly incremental?: boolean;
  readonly base?: string;
  readonly verifyExisting?: boolean;
}

interface ListFlags extends StoreFlags {
  readonly cluster?: string;
  readonly before?: string;
  readonly json?: boolean;
}

interface VerifyFlags extends StoreFlags, RestoreTestFlags {
  readonly cluster?: string;
  readonly restore?: boolean;
  readonly results?: boolean;
}

export function registerBackup(program: Command, io: CliIo): void {
  const backup = program.command('backup').description('backups of the whole cluster');
  addClientFlags(
    backup
      .command('create')
      .description('make a backup now, in every store of the node, and wait for it')
      .option('--full', 'everything that is there (default)')
      .option('--incremental', 'measured from an earlier backup')
      .option('--base <ID>', 'which one; default: the newest')
      .option('--verify-existing', 'read every file back that a store has already'),
    CREATE_TIMEOUT_MS,
  ).action((flags: CreateFlags) => create(flags, io));
  addClientFlags(
    backup.command('status').description('the archive of the log, and backups of this node'),
    STATUS_TIMEOUT_MS,
  ).action((flags: ClientFlags) => status(flags, io));
  addStoreFlags(
    backup
      .command('list')
      .description('backups in a store, newest first')
      .option('--cluster <ID>', 'of this cluster; default: of all')
      .option('--before <TIME>', 'not after this time, such as 2026-01-31T08:00:00Z')
      .option('--json', 'one JSON document'),
  ).action((flags: ListFlags) => list(flags, io));
  addStoreFlags(
    backup
      .command('verify')
      .description('read every object of a backup; exit code 1 when one is bad')
      .option('--cluster <ID>', 'default: the only one in the store')
      .option('--backup-id <ID>', 'default: latest', 'latest')
      .option('--restore', 'restore it, and the archive behind it, into a throwaway node')
      .option('--scratch <DIR>', 'where that works; default: the place for temporary files')
      .option('--no-keep-result', 'of --restore: the store does not get the result')
      .option('--results', 'show what came of all tries that restored one')
      .option('--json', 'of --restore and --results: one JSON document'),
  ).action((flags: VerifyFlags) => verify(flags, io));
  addVerifyLog(backup, io);
  addPrune(backup, io);
}

interface OutcomeView {
  readonly kind: 'success' | 'failure';
  readonly sink: string;
  readonly error?: { readonly code: string; readonly message: string };
  readonly sentSizeBytes?: number;
  readonly sizeBytes?: number;
  readonly vectorCount?: number;
  readonly index?: number;
  readonly nothingNewSince?: string;
}

async function create(flags: CreateFlags, io: CliIo): Promise<void> {
  if (flags.full === true && flags.incremental === true) {
    throw new UsageError('give --full or --incremental, not both');
  }
  const address = firstAddress(flags, io);
  const body = {
    type: flags.incremental === true ? 'incremental' : 'full',
    ...(flags.base === undefined ? {} : { baseBackupId: flags.base }),
    ...(flags.verifyExisting === true ? { isVerifyingExisting: true } : {}),
  };
  const path = '/api/v1/admin/backup?mode=sync';
  // The leader makes backups by itself: one that is under way is waited for.
  const question = {
    ...{ address, path, method: 'POST', body, timeoutMs: CREATE_TIMEOUT_MS },
    waitsFor: 'OVERLOADED',
  } as const;
  const record = await askNode<{ backupId: string; outcomes: readonly OutcomeView[] }>(
    flags,
    io,
    question,
  );
  io.out(`backup ${record.backupId}\n`);
  for (const outcome of record.outcomes) io.out(`  ${describeOutcome(outcome)}\n`);
  if (record.outcomes.some(({ kind }) => kind === 'failure')) throw new ExitWith(EXIT_FAILED);
}

function describeOutcome(outcome: OutcomeView): string {
  const { error, sink } = outcome;
  if (outcome.kind === 'failure') return `${sink}: FAILED ${error?.code}: ${error?.message}`;
  if (outcome.nothingNewSince !== undefined) {
    return `${sink}: nothing is new since backup ${outcome.nothingNewSince}`;
  }
  const { index, sentSizeBytes, sizeBytes, vectorCount } = outcome;
  const sizes = `${sizeBytes} bytes, ${sentSizeBytes} sent`;
  return `${sink}: index ${index}, ${vectorCount} vectors, ${sizes}`;
}

interface StatusView {
  readonly archive: readonly {
    readonly sink: string;
    readonly state: string;
    readonly archivedIndex: number | null;
    readonly lagEntryCount: number;
    readonly lagMs: number;
  }[];
  readonly underWay: BackupUnderWay | null;
  readonly isPruning: boolean;
  readonly schedule: readonly ScheduledTaskStatus[];
  readonly newest: readonly {
    readonly backupId: string;
    readonly outcomes: readonly OutcomeView[];
  }[];
}

async function status(flags: ClientFlags, io: CliIo): Promise<void> {
  for (const address of nodeAddresses(flags, io)) {
    const path = '/api/v1/admin/backup';
    const question = { address, path, method: 'GET', timeoutMs: STATUS_TIMEOUT_MS };
    const { archive, isPruning, newest, schedule, underWay } = await askNode<StatusView>(
      flags,
      io,
      question,
    );
    io.out(`${address}\n`);
    for (const { archivedIndex, lagEntryCount, lagMs, sink, state } of archive) {
      const lag = `${lagEntryCount} entries, ${Math.round(lagMs)} ms behind`;
      io.out(`  archive ${sink}: ${state}, up to index ${archivedIndex ?? 'unknown'}, ${lag}\n`);
    }
    if (underWay !== null) io.out(`  under way: ${underWay.type} backup ${underWay.backupId}\n`);
    if (isPruning) io.out('  under way: the removal of old backups\n');
    for (const task of schedule) io.out(`  ${describeTask(task)}\n`);
    for (const { backupId, outcomes } of newest) {
      for (const outcome of outcomes) io.out(`  ${backupId} ${describeOutcome(outcome)}\n`);
    }
  }
}

function describeTask({
  failuresInARow,
  kind,
  lastError,
  nextMs,
  ...task
}: ScheduledTaskStatus): string {
  const next = nextMs === null ? 'by the leader' : new Date(nextMs).toISOString();
  const last = task.lastMs === null ? '' : `, last ${new Date(task.lastMs).toISOString()}`;
  const failed =
    failuresInARow === 0 ? '' : `, FAILED ${failuresInARow} times: ${lastError?.message}`;
  return `${kind} (${task.schedule}) to ${task.sink}: next ${next}${last}${failed}`;
}

async function list(flags: ListFlags, io: CliIo): Promise<void> {
  const beforeMs = flags.before === undefined ? null : parseTime(flags.before, '--before');
  await withStore(flags, io, async (store) => {
    const ids = flags.cluster === undefined ? await findClusters(store.sink) : [flags.cluster];
    const clusters = await Promise.all(
      ids.map(async (clusterId) => ({ clusterId, ...(await readerOf(store, clusterId).list()) })),
    );
    const shown = clusters.map(({ backups, clusterId, damaged }) => ({
      clusterId,
      backups: backups.filter(({ logTimeMs }) => beforeMs === null || logTimeMs <= beforeMs),
      damaged: damaged.map(({ backupId, error }) => ({ backupId, reason: error.message })),
    }));
    if (flags.json === true) {
      io.out(`${JSON.stringify(shown, null, 2)}\n`);
      return;
    }
    for (const { backups, clusterId, damaged } of shown) {
      io.out(`cluster ${clusterId}: ${backups.length} backups\n`);
      for (const backup of backups) io.out(`  ${describeBackup(backup)}\n`);
      for (const { backupId, reason } of damaged)
        io.out(`  ${backupId} CANNOT BE USED: ${reason}\n`);
    }
  });
}

function describeBackup(backup: BackupSummary): string {
  const { backupId, index, logTimeMs, sizeBytes, timeline, type, vectorCount } = backup;
  const time = new Date(logTimeMs).toISOString();
  return (
    `${backupId}  ${time}  ${type}  index ${index} of ${timeline}  ` +
    `${vectorCount} vectors  ${sizeBytes} bytes`
  );
}

async function verify(flags: VerifyFlags, io: CliIo): Promise<void> {
  await withStore(flags, io, async (store) => {
    const cluster = await onlyCluster(store, flags.cluster);
    if (flags.results === true) return showResults(store, cluster, flags, io);
    if (flags.restore === true) return tryBackup(store, cluster, flags, io);
    const reader = readerOf(store, cluster);
    const wished = flags.backupId ?? 'latest';
    const { backupId } = await reader.find(
      wished === 'latest' ? { kind: 'latest' } : { kind: 'id', backupId: wished },
    );
    const manifest = await reader.read(backupId);
    showReport(manifest, await reader.verify(manifest), io);
  });
}

function showReport(manifest: BackupManifest, report: VerifyReport, io: CliIo): void {
  const { bad, isGood, objectCount } = report;
  for (const { error, key, status } of bad)
    io.out(`  ${status}: ${key}: ${error?.message ?? ''}\n`);
  const { index } = manifest.root.meta;
  const verdict = isGood ? 'good' : `${bad.length} of them bad`;
  io.out(`backup ${manifest.backupId} of index ${index}: ${objectCount} objects, ${verdict}\n`);
  if (!isGood) throw new ExitWith(EXIT_FAILED);
}

const readerOf = ({ sealing, sink }: OpenStore, clusterId: string): BackupReader =>
  new BackupReader({ sink, clusterId, keys: sealing.keys });

function firstAddress(flags: ClientFlags, io: CliIo): string {
  const [address] = nodeAddresses(flags, io);
  if (address === undefined) throw new UsageError('--nodes: name a node');
  return address;
}
