/**
 * Backups and the archive of one node: the seam between what a replica is and what stores take.
 * The archive follows the leadership; a backup is made from this node's own checkpoint, whoever
 * leads, one at a time. Backups and retention never run at once here, whoever asks for them.
 */
import type { LogIndex } from '@holdfast/base';
import { HoldfastError, toHoldfastError } from '@holdfast/base';
import { TransferBudget } from '../replica/transfer-budget.ts';
import { backUpNode } from './back-up-node.ts';
import type {
  BackupRecord,
  BackupService,
  BackupUnderWay,
  BackupWishes,
  NodeBackupStatus,
  PruneOutcome,
  PruneWishes,
  SinkBackups,
} from './backup-api.ts';
import { BackupJournal } from './backup-journal.ts';
import type { VerifyReport } from './backup-reader.ts';
import type { BackupScheduler } from './backup-scheduler.ts';
import { tarOfBackup } from './backup-tar.ts';
import { removePins } from './checkpoint-source.ts';
import { NodeArchive } from './node-archive.ts';
import { archiveStoreIn, backupReaderIn, type NodeBackupOptions } from './node-backup-options.ts';
import { OwnHistory } from './own-history.ts';
import type { BackupProgress } from './progress.ts';
import { policyOfDays, pruneStores } from './prune-stores.ts';
import { makeScheduler, sinkNamed } from './scheduled-work.ts';
import type { BackupSink } from './sinks/sink.ts';
import { RestoreTests } from './verification/restore-tests.ts';
import type { RestoreTestStatus } from './verification/verify-newest.ts';

export class NodeBackup implements BackupService {
  readonly #options: NodeBackupOptions;
  readonly #own: OwnHistory;
  readonly #archive: NodeArchive | null;
  readonly #budget: TransferBudget | null;
  readonly #journal: BackupJournal;
  readonly #scheduler: BackupScheduler;
  #abort = new AbortController();
  #underWay: { record: Omit<BackupUnderWay, 'progress'>; done: Promise<unknown> } | null = null;
  #pruning: Promise<unknown> | null = null;
  readonly #progress = new Map<string, BackupProgress>();
  readonly #restoreTests: RestoreTests;
  #isLeading = false;
  #isStopped = false;

  constructor(options: NodeBackupOptions) {
    this.#options = options;
    this.#own = new OwnHistory(options);
    this.#restoreTests = new RestoreTests(options);
    const { clock, logger, stores, timers } = options;
    const { archive, bytesPerSecMax, sinks } = stores;
    const backUp = () => this.create({ type: 'full' });
    this.#archive = archive === null ? null : new NodeArchive(options, archive, backUp);
    this.#budget = bytesPerSecMax === 0 ? null : new TransferBudget(clock, timers, bytesPerSecMax);
    this.#scheduler = makeScheduler(options, this.#restoreTests, {
      backUp: async (type, names, signal) =>
        (await this.#create({ type, sinks: names }, signal)).outcomes,
      prune: (names, signal) => {
        return this.#prune({ sinks: names }, AbortSignal.any([this.#abort.signal, signal]));
      },
    });
    const names = sinks.map(({ name }) => name);
    this.#journal = new BackupJournal(clock, logger, names);
  }

  /** After the replica exists. */
  start(): void {
    const { dataDirectory, fileSystem } = this.#options;
    removePins(fileSystem, dataDirectory);
    this.#archive?.start();
  }

  /** Told whenever the role of this node changes. */
  setLeading(isLeading: boolean): void {
    this.#isLeading = isLeading;
    this.#archive?.setLeading(isLeading);
    if (!this.#isStopped) this.#scheduler.setLeading(isLeading);
  }

  get isLeading(): boolean {
    return this.#isLeading;
  }

  /** As ArchiveKeeper.archivedIndex; null also without an archive. */
  get archivedIndex(): LogIndex | null {
    // The log of a standby is archived nowhere.
    if (this.#own.isStandby) return null;
    return this.#archive?.archivedIndex ?? null;
  }

  /** Breaks off what is under way; resolves when it has ended. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#abort.abort();
    await Promise.all([
      ...[this.#archive?.stop(), this.#scheduler.stop()],
      ...[this.#underWay?.done.catch(() => undefined), this.#pruning?.catch(() => undefined)],
    ]);
  }

  status(): NodeBackupStatus {
    const underWay = this.#underWay;
    return {
      archive: this.#archive?.statuses() ?? [],
      underWay:
        underWay === null
          ? null
          : { ...underWay.record, progress: Object.fromEntries(this.#progress) },
      ...this.#journal.status(),
      isPruning: this.#pruning !== null,
      schedule: this.#scheduler.statuses(),
      newestMs: this.#newestMs(),
      restoreTests: this.#restoreTests.statuses(),
    };
  }

  #newestMs(): Readonly<Record<string, number | null>> {
    const newest: Record<string, number | null> = {};
    if (!this.#isLeading) return newest;
    for (const { name } of this.#options.stores.sinks) {
      const found = this.#scheduler.newestMs(name);
      const newestMs = Math.max(found ?? 0, this.#journal.newestEndMs(name));
      if (newestMs > 0 || found === null) newest[name] = newestMs === 0 ? null : newestMs;
    }
    return newest;
  }

  async list(): Promise<readonly SinkBackups[]> {
    const readers = this.#options.stores.sinks.map(async (sink) => ({
      sink: sink.name,
      ...(await backupReaderIn(this.#options, sink).list()),
    }));
    return Promise.all(readers);
  }

  async verify(backupId: string): Promise<readonly (VerifyReport & { readonly sink: string })[]> {
    const reports = this.#options.stores.sinks.map(async (sink) => {
      const reader = backupReaderIn(this.#options, sink);
      return { sink: sink.name, ...(await reader.verify(await reader.read(backupId))) };
    });
    return Promise.all(reports);
  }

  restoreTests(): Promise<readonly RestoreTestStatus[]> {
    return this.#restoreTests.list();
  }

  async download(backupId: string): Promise<AsyncIterable<Uint8Array>> {
    let failure: unknown = null;
    for (const sink of this.#options.stores.sinks) {
      try {
        const reader = backupReaderIn(this.#options, sink);
        return tarOfBackup(sink, await reader.read(backupId));
      } catch (error) {
        failure ??= error;
      }
    }
    throw failure;
  }

  abort(): void {
    if (this.#underWay === null) return;
    this.#abort.abort();
    this.#abort = new AbortController();
  }

  /**
   * @throws HoldfastError OVERLOADED (one is under way), BACKUP_ABORTED, CHECKPOINT_CORRUPT,
   *   FILE_IO, ...: then there is none in any sink
   */
  create(wishes: BackupWishes): Promise<BackupRecord> {
    return this.#create(wishes, null);
  }

  async #create(wishes: BackupWishes, until: AbortSignal | null): Promise<BackupRecord> {
    this.#refuseWhileBusy();
    const sinks = this.#sinksOf(wishes.sinks);
    const startedMs = this.#options.clock.wallMs();
    const record = { backupId: this.#options.mintBackupId(), type: wishes.type, startedMs };
    this.#progress.clear();
    const signal =
      until === null ? this.#abort.signal : AbortSignal.any([this.#abort.signal, until]);
    const done = this.#run(record, wishes, sinks, signal);
    this.#underWay = { record, done };
    try {
      return await done;
    } catch (thrown) {
      const names = sinks.map(({ name }) => name);
      this.#journal.noteFailure(wishes.type, names, toHoldfastError(thrown));
      throw thrown;
    } finally {
      this.#underWay = null;
    }
  }

  async #run(
    about: Omit<BackupUnderWay, 'progress'>,
    wishes: BackupWishes,
    sinks: readonly BackupSink[],
    signal: AbortSignal,
  ): Promise<BackupRecord> {
    const { clock, logger } = this.#options;
    logger.info({ backup: about }, 'a backup begins');
    const outcomes = await backUpNode(this.#options, {
      ...{ about, wishes, sinks, signal, budget: this.#budget },
      onProgress: (sink, progress) => void this.#progress.set(sink, progress),
    });
    const record = { ...about, endedMs: clock.wallMs(), outcomes };
    for (const { sink, type } of this.#journal.noteEnd(record)) {
      this.#scheduler.noteBackup(type, sink, about.startedMs);
    }
    return record;
  }

  #refuseWhileBusy(): void {
    this.#own.check();
    const { record } = this.#underWay ?? {};
    if (record !== undefined) {
      const message = `backup ${record.backupId} is under way on this node: wait for its end`;
      throw new HoldfastError('OVERLOADED', message, { details: { ...record } });
    }
    if (this.#pruning === null) return;
    const message = 'old backups are removed on this node right now: wait for the end of that';
    throw new HoldfastError('OVERLOADED', message);
  }

  /** In the order of the setting. */
  #sinksOf(names: readonly string[] | undefined): readonly BackupSink[] {
    const { sinks } = this.#options.stores;
    if (names === undefined) return sinks;
    const named = new Set(names.map((name) => sinkNamed(sinks, name)));
    return sinks.filter((sink) => named.has(sink));
  }

  prune(wishes: PruneWishes): Promise<readonly PruneOutcome[]> {
    return this.#prune(wishes, this.#abort.signal);
  }

  async #prune(wishes: PruneWishes, signal: AbortSignal): Promise<readonly PruneOutcome[]> {
    this.#refuseWhileBusy();
    const { clock, identity, stores, timers } = this.#options;
    const { isDryRun = false, retentionDays } = wishes;
    const policy =
      retentionDays === undefined
        ? stores.retention
        : policyOfDays(retentionDays, stores.retention);
    const { clusterId, nodeId } = identity;
    const holder = { id: this.#options.mintBackupId(), owner: nodeId };
    const pruning = pruneStores(this.#sinksOf(wishes.sinks), (sink) => ({
      ...{ sink, clusterId, keys: stores.keys, clock, timers, holder, policy, isDryRun, signal },
      storeOf: (timeline: string) => archiveStoreIn(this.#options, sink, timeline, signal),
    }));
    this.#pruning = pruning;
    try {
      const outcomes = await pruning;
      if (!isDryRun) for (const outcome of outcomes) this.#journal.notePrune(outcome);
      return outcomes;
    } finally {
      this.#pruning = null;
    }
  }
}
