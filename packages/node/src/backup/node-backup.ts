/**
 * Backups and the archive of one node: the seam between what a replica is and what stores take.
 * The archive follows the leadership; a backup is made from this node's own checkpoint, whoever
 * leads, one at a time. Backups and retention never run at once here, whoever asks for them.
 * Over 400 lines because what must never run at once stands in one place.
 */
import type {
  Clock,
  EntryHasher,
  ErrorBody,
  Logger,
  LogIndex,
  Random,
  TimerHandle,
  Timers,
} from '@holdfast/base';
import { HoldfastError, toHoldfastError } from '@holdfast/base';
import type {
  CheckpointRoot,
  Compression,
  FileSystem,
  GroupLog,
  KeyRing,
  LogGap,
  NodeIdentity,
  RandomBytes,
} from '@holdfast/storage';
import { PRODUCT_VERSION } from '../product-version.ts';
import type { Pause } from '../replica/slices.ts';
import { TransferBudget } from '../replica/transfer-budget.ts';
import { ArchiveKeeper } from './archive/archive-keeper.ts';
import { ArchiveStore } from './archive/archive-store.ts';
import { committedPartOf } from './archive/committed-log.ts';
import { entryTimestampMs } from './archive/entry-time.ts';
import { findTimeline } from './archive/find-timeline.ts';
import type { ArchiverLimits } from './archive/log-archiver.ts';
import { SinkArchive } from './archive/sink-archive.ts';
import { archivedLogIn } from './archived-log.ts';
import type {
  BackupRecord,
  BackupService,
  BackupUnderWay,
  BackupWishes,
  NodeBackupStatus,
  PruneOutcome,
  PruneWishes,
  SinkBackups,
  SinkRetentionStatus,
} from './backup-api.ts';
import { describeCheckpoint } from './backup-facts.ts';
import type { SinkOutcome } from './backup-fan-out.ts';
import { backUpToAll } from './backup-fan-out.ts';
import type { BackupListing, VerifyReport } from './backup-reader.ts';
import { BackupReader } from './backup-reader.ts';
import { BackupScheduler, type BackupSchedules, type NewestBackups } from './backup-scheduler.ts';
import { BackupTallies } from './backup-tally.ts';
import { tarOfBackup } from './backup-tar.ts';
import type { PinnedCheckpoint } from './checkpoint-source.ts';
import { pinCheckpoint, removePins } from './checkpoint-source.ts';
import { examineFile, FileFactsCache } from './file-facts.ts';
import { makeBackup } from './make-backup.ts';
import type { BackupProgress } from './progress.ts';
import { policyOfDays, pruneStores } from './prune-stores.ts';
import type { RetentionPolicy } from './retention.ts';
import type { BackupSink } from './sinks/sink.ts';
import type { RestoreTestPlace } from './verification/restore-test-store.ts';
import { listRestoreTests } from './verification/restore-test-store.ts';
import type { RestoreTester } from './verification/restore-tester.ts';
import type { RestoreTestStatus } from './verification/verify-newest.ts';
import { lastGoodTestMs, verifyNewest } from './verification/verify-newest.ts';

/** Opened by the composer, and closed by it. */
export interface BackupStores {
  /** In the order of the setting. */
  readonly sinks: readonly BackupSink[];
  readonly keys: KeyRing;
  readonly compression: Compression;
  /** Of all sinks together; 0: as fast as they take it. */
  readonly bytesPerSecMax: number;
  /** Files at a time, per sink. */
  readonly concurrency: number;
  /** Null: the log is not archived. */
  readonly archive: Partial<ArchiverLimits> | null;
  /** What runs by itself while this node leads. */
  readonly schedules: BackupSchedules;
  readonly retention: RetentionPolicy;
  /** Left out: verification only reads a backup back. */
  readonly restoreTester?: RestoreTester;
}

/** What it needs of the replica. */
export interface BackedUpReplica {
  /** Makes one now. */
  checkpoint(): Promise<CheckpointRoot>;
  /** The files of `root` stay until the returned function is called. */
  pin(root: CheckpointRoot): () => void;
  commitIndex(): LogIndex;
}

export interface NodeBackupOptions {
  readonly stores: BackupStores;
  readonly identity: NodeIdentity;
  readonly dataDirectory: string;
  readonly fileSystem: FileSystem;
  readonly log: GroupLog;
  readonly replica: BackedUpReplica;
  readonly hasher: EntryHasher;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly pause: Pause;
  readonly logger: Logger;
  /** Never the same twice, on any node. */
  readonly mintBackupId: () => string;
  /** Good enough for encryption. */
  readonly randomBytes: RandomBytes;
}

const RECORD_COUNT_MAX = 20;
const GAP_RETRY_MS = 10_000;

export class NodeBackup implements BackupService {
  readonly #options: NodeBackupOptions;
  readonly #keeper: ArchiveKeeper | null;
  readonly #budget: TransferBudget | null;
  readonly #records: BackupRecord[] = [];
  #abort = new AbortController();
  #underWay: { record: Omit<BackupUnderWay, 'progress'>; done: Promise<unknown> } | null = null;
  #pruning: Promise<unknown> | null = null;
  readonly #progress = new Map<string, BackupProgress>();
  readonly #scheduler: BackupScheduler;
  readonly #tallies: BackupTallies;
  readonly #retention = new Map<string, SinkRetentionStatus>();
  readonly #restoreTests = new Map<string, RestoreTestStatus>();
  #succeededCount = 0;
  #failedCount = 0;
  #lastError: ErrorBody | null = null;
  #isLeading = false;
  /** Of the newest gap that a backup was begun for. */
  #gapIndex = 0;
  #gapTimer: TimerHandle | null = null;
  #isStopped = false;

  constructor(options: NodeBackupOptions) {
    this.#options = options;
    const { clock, stores, timers } = options;
    this.#keeper = stores.archive === null ? null : this.#makeKeeper(stores.archive);
    this.#budget =
      stores.bytesPerSecMax === 0 ? null : new TransferBudget(clock, timers, stores.bytesPerSecMax);
    this.#scheduler = this.#makeScheduler();
    this.#tallies = new BackupTallies(stores.sinks.map(({ name }) => name));
  }

  /** After the replica exists. */
  start(): void {
    const { dataDirectory, fileSystem } = this.#options;
    removePins(fileSystem, dataDirectory);
    this.#keeper?.start();
  }

  /** Told whenever the role of this node changes. */
  setLeading(isLeading: boolean): void {
    this.#isLeading = isLeading;
    this.#keeper?.setLeading(isLeading);
    if (!this.#isStopped) this.#scheduler.setLeading(isLeading);
  }

  get isLeading(): boolean {
    return this.#isLeading;
  }

  /** As ArchiveKeeper.archivedIndex; null also without an archive. */
  get archivedIndex(): LogIndex | null {
    return this.#keeper?.archivedIndex ?? null;
  }

  /** Breaks off what is under way; resolves when it has ended. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#gapTimer?.cancel();
    this.#abort.abort();
    await Promise.all([
      ...[this.#keeper?.stop(), this.#scheduler.stop()],
      ...[this.#underWay?.done.catch(() => undefined), this.#pruning?.catch(() => undefined)],
    ]);
  }

  status(): NodeBackupStatus {
    const underWay = this.#underWay;
    return {
      archive: this.#keeper?.statuses() ?? [],
      underWay:
        underWay === null
          ? null
          : { ...underWay.record, progress: Object.fromEntries(this.#progress) },
      newest: this.#records,
      succeededCount: this.#succeededCount,
      failedCount: this.#failedCount,
      lastError: this.#lastError,
      isPruning: this.#pruning !== null,
      schedule: this.#scheduler.statuses(),
      retention: [...this.#retention.values()],
      tallies: this.#tallies.all(),
      newestMs: this.#newestMs(),
      restoreTests: [...this.#restoreTests.values()],
    };
  }

  #newestMs(): Readonly<Record<string, number | null>> {
    const newest: Record<string, number | null> = {};
    if (!this.#isLeading) return newest;
    const tallies = this.#tallies.all();
    for (const { name } of this.#options.stores.sinks) {
      const found = this.#scheduler.newestMs(name);
      const own = tallies.filter(({ sink }) => sink === name).map((one) => one.newestEndMs ?? 0);
      const newestMs = Math.max(0, found ?? 0, ...own);
      if (newestMs > 0 || found === null) newest[name] = newestMs === 0 ? null : newestMs;
    }
    return newest;
  }

  async list(): Promise<readonly SinkBackups[]> {
    const { stores } = this.#options;
    const readers = stores.sinks.map(async (sink) => ({
      sink: sink.name,
      ...(await this.#readerOf(sink).list()),
    }));
    return Promise.all(readers);
  }

  async verify(backupId: string): Promise<readonly (VerifyReport & { readonly sink: string })[]> {
    const { stores } = this.#options;
    const reports = stores.sinks.map(async (sink) => {
      const reader = this.#readerOf(sink);
      return { sink: sink.name, ...(await reader.verify(await reader.read(backupId))) };
    });
    return Promise.all(reports);
  }

  async restoreTests(): Promise<readonly RestoreTestStatus[]> {
    const lists = this.#options.stores.sinks.map(async (sink) => {
      const results = await listRestoreTests(this.#testsIn(sink));
      return results.map((result) => ({ sink: sink.name, ...result }));
    });
    return (await Promise.all(lists)).flat();
  }

  async download(backupId: string): Promise<AsyncIterable<Uint8Array>> {
    let failure: unknown = null;
    for (const sink of this.#options.stores.sinks) {
      try {
        return tarOfBackup(sink, await this.#readerOf(sink).read(backupId));
      } catch (error) {
        failure ??= error;
      }
    }
    throw failure;
  }

  #testsIn(sink: BackupSink): RestoreTestPlace {
    const { identity, randomBytes, stores } = this.#options;
    const { compression, keys } = stores;
    const { clusterId } = identity;
    return { sink, clusterId, sealing: { compression, keys, random: randomBytes } };
  }

  #readerOf(sink: BackupSink, signal?: AbortSignal): BackupReader {
    const { identity, stores } = this.#options;
    const { clusterId } = identity;
    const abort = signal === undefined ? {} : { signal };
    return new BackupReader({ sink, clusterId, keys: stores.keys, ...abort });
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
      for (const { name } of sinks) this.#tallies.noteFailure(wishes.type, name);
      this.#note(toHoldfastError(thrown));
      throw thrown;
    } finally {
      this.#underWay = null;
    }
  }

  #refuseWhileBusy(): void {
    const { record } = this.#underWay ?? {};
    if (record !== undefined) {
      const message = `backup ${record.backupId} is under way on this node: wait for its end`;
      throw new HoldfastError('OVERLOADED', message, { details: { ...record } });
    }
    if (this.#pruning === null) return;
    const message = 'old backups are removed on this node right now: wait for the end of that';
    throw new HoldfastError('OVERLOADED', message);
  }

  #sinksOf(names: readonly string[] | undefined): readonly BackupSink[] {
    const { sinks } = this.#options.stores;
    if (names === undefined) return sinks;
    const unknown = names.find((name) => !sinks.some((sink) => sink.name === name));
    if (unknown === undefined) return sinks.filter(({ name }) => names.includes(name));
    const own = sinks.map(({ name }) => name).join(', ');
    const message = `${unknown} is no store of this node: ${own}`;
    throw new HoldfastError('REQUEST_INVALID', message);
  }

  prune(wishes: PruneWishes): Promise<readonly PruneOutcome[]> {
    return this.#prune(wishes, this.#abort.signal);
  }

  async #prune(wishes: PruneWishes, signal: AbortSignal): Promise<readonly PruneOutcome[]> {
    this.#refuseWhileBusy();
    const { clock, identity, stores } = this.#options;
    const { isDryRun = false, retentionDays } = wishes;
    const policy =
      retentionDays === undefined
        ? stores.retention
        : policyOfDays(retentionDays, stores.retention);
    const { clusterId } = identity;
    const pruning = pruneStores(this.#sinksOf(wishes.sinks), (sink) => ({
      ...{ sink, clusterId, keys: stores.keys, clock, policy, isDryRun, signal },
      storeOf: (timeline: string) => this.#storeOf(sink, timeline, signal),
    }));
    this.#pruning = pruning;
    try {
      const outcomes = await pruning;
      if (!isDryRun) for (const outcome of outcomes) this.#notePrune(outcome);
      return outcomes;
    } finally {
      this.#pruning = null;
    }
  }

  #notePrune(outcome: PruneOutcome): void {
    const { clock, logger } = this.#options;
    const { sink } = outcome;
    const report = outcome.kind === 'success' ? outcome.report : null;
    const error =
      outcome.kind === 'failure' ? outcome.error : (report?.blockedBy[0]?.error ?? null);
    const removed = {
      removedBackupCount: report?.removedBackups.length ?? 0,
      removedFileCount: report?.removedFileCount ?? 0,
      removedChunkCount: report?.removedChunkCount ?? 0,
    };
    const endedMs = clock.wallMs();
    this.#retention.set(sink, { sink, endedMs, ...removed, error: error?.toBody() ?? null });
    if (error === null) logger.info({ sink, ...removed }, 'old backups were removed');
    else logger.error({ sink, code: error.code }, `old backups stay: ${error.message}`);
  }

  async #run(
    about: Omit<BackupUnderWay, 'progress'>,
    wishes: BackupWishes,
    sinks: readonly BackupSink[],
    signal: AbortSignal,
  ): Promise<BackupRecord> {
    const { clock, logger, replica } = this.#options;
    logger.info({ backup: about }, 'a backup begins');
    const root = await replica.checkpoint();
    const letGo = replica.pin(root);
    let pinned: PinnedCheckpoint;
    try {
      pinned = await pinCheckpoint(this.#options, about.backupId, root);
    } finally {
      letGo();
    }
    try {
      const outcomes = await this.#toAll(about, wishes, pinned, sinks, signal);
      const record = { ...about, endedMs: clock.wallMs(), outcomes };
      this.#remember(record);
      return record;
    } finally {
      pinned.release();
    }
  }

  async #toAll(
    { backupId, type }: Omit<BackupUnderWay, 'progress'>,
    { baseBackupId = null, isVerifyingExisting = false }: BackupWishes,
    checkpoint: PinnedCheckpoint,
    sinks: readonly BackupSink[],
    signal: AbortSignal,
  ): Promise<readonly SinkOutcome[]> {
    const { clock, fileSystem, identity, pause, stores } = this.#options;
    const facts = await describeCheckpoint(fileSystem, checkpoint, pause);
    const cache = new FileFactsCache((file) => examineFile(fileSystem, file, pause));
    const { compression, concurrency, keys } = stores;
    const common = { fileSystem, clock, pause, concurrency, isVerifyingExisting, signal };
    const seal = { compression, keys, random: this.#options.randomBytes };
    return backUpToAll(sinks, async (sink) => {
      const storeOf = (timeline: string): ArchiveStore => this.#storeOf(sink, timeline, signal);
      const { timeline } = await findTimeline(sink, identity.clusterId, storeOf, { signal });
      const description = {
        ...{ clusterId: identity.clusterId, timeline, nodeId: identity.nodeId },
        ...{ productVersion: PRODUCT_VERSION, dataFormatVersion: identity.formatVersion },
        ...facts,
      };
      const parts = {
        ...{ ...common, sink, seal, budget: this.#budget },
        onProgress: (progress: BackupProgress) => void this.#progress.set(sink.name, progress),
      };
      const archive = stores.archive === null ? null : archivedLogIn(storeOf);
      const order = { backupId, type, checkpoint, facts: cache, description, baseBackupId };
      return makeBackup(parts, { ...order, archive });
    });
  }

  #remember(record: BackupRecord): void {
    const { logger } = this.#options;
    this.#records.unshift(record);
    this.#records.splice(RECORD_COUNT_MAX);
    for (const outcome of record.outcomes) {
      const { backupId } = record;
      if (outcome.kind === 'success') {
        this.#noteSuccess(record, outcome);
        const { sentSizeBytes, sink } = outcome;
        logger.info(
          { backupId, sink, sentSizeBytes, kind: outcome.outcome.kind },
          'a backup ended',
        );
      } else {
        const { error, sink } = outcome;
        logger.error({ backupId, sink, code: error.code }, `a backup failed: ${error.message}`);
        this.#tallies.noteFailure(record.type, sink);
        this.#note(error);
      }
    }
  }

  #noteSuccess(
    { endedMs, startedMs, type }: BackupRecord,
    { outcome, sink }: Extract<SinkOutcome, { kind: 'success' }>,
  ): void {
    this.#succeededCount += 1;
    // Where there was no base a full one was made.
    const made = outcome.kind === 'written' ? outcome.manifest.type : type;
    const sizeBytes = outcome.kind === 'written' ? outcome.manifest.sizeBytes : null;
    this.#tallies.noteSuccess(type, sink, { endedMs, durationMs: endedMs - startedMs, sizeBytes });
    this.#scheduler.noteBackup(made, sink, startedMs);
  }

  #note(error: HoldfastError): void {
    this.#failedCount += 1;
    this.#lastError = error.toBody();
  }

  #makeScheduler(): BackupScheduler {
    const { clock, logger, stores, timers } = this.#options;
    const sinkOf = (name: string): BackupSink => this.#sinksOf([name])[0] as BackupSink;
    const readerOf = (name: string, signal: AbortSignal): BackupReader =>
      this.#readerOf(sinkOf(name), signal);
    const tester = stores.restoreTester ?? null;
    return new BackupScheduler({
      ...{ schedules: stores.schedules, clock, logger, timers },
      sinks: stores.sinks.map(({ name }) => name),
      work: {
        newest: async (name, signal) => {
          const listing = await readerOf(name, signal).list();
          const verifiedMs = tester === null ? null : await this.#lookAtTests(sinkOf(name), signal);
          return { ...newestOf(listing), verifiedMs };
        },
        backUp: async (type, sinks, signal) =>
          (await this.#create({ type, sinks }, signal)).outcomes,
        verifyNewest: (name, signal) =>
          verifyNewest({
            ...{ reader: readerOf(name, signal), tester, signal },
            place: this.#testsIn(sinkOf(name)),
            onResult: (result) => void this.#restoreTests.set(name, { sink: name, ...result }),
          }),
        prune: async (sinks, signal) => {
          if (sinks.length > 0) await this.#pruneAfter(sinks, signal);
        },
      },
    });
  }

  async #lookAtTests(sink: BackupSink, signal: AbortSignal): Promise<number | null> {
    const { goodMs, newest } = await lastGoodTestMs(this.#testsIn(sink), signal);
    if (newest !== null) this.#restoreTests.set(sink.name, { sink: sink.name, ...newest });
    return goodMs;
  }

  /** What stays too long is no reason to fail a backup. */
  async #pruneAfter(sinks: readonly string[], until: AbortSignal): Promise<void> {
    try {
      await this.#prune({ sinks }, AbortSignal.any([this.#abort.signal, until]));
    } catch (thrown) {
      const { code, message } = toHoldfastError(thrown);
      this.#options.logger.warn({ sinks, code }, `old backups stay for now: ${message}`);
    }
  }

  #makeKeeper(limits: Partial<ArchiverLimits>): ArchiveKeeper {
    const { clock, hasher, identity, log, random, replica, stores, timers } = this.#options;
    const { compression, keys, sinks } = stores;
    const kept = sinks.map((sink) => ({
      archive: new SinkArchive({
        ...{ sink, hasher, clock, random, limits, clusterId: identity.clusterId },
        sealing: { compression, keys, random: this.#options.randomBytes },
        log: committedPartOf(log, () => replica.commitIndex()),
        onGap: (gap) => this.#onGap(gap),
        onAlarm: (error) => this.#onAlarm(sink, error),
      }),
      isRequired: true,
    }));
    return new ArchiveKeeper(kept, timers);
  }

  #onAlarm(sink: BackupSink, error: HoldfastError): void {
    const { logger } = this.#options;
    const { code, details } = error;
    logger.error({ sink: sink.name, code, details }, `the log is not archived: ${error.message}`);
  }

  /** Targets after a gap need a backup that lies after it. */
  #onGap({ firstIndex, lastIndex, reason }: LogGap): void {
    if (lastIndex <= this.#gapIndex) return;
    this.#gapIndex = lastIndex;
    const { logger } = this.#options;
    logger.error({ firstIndex, lastIndex, reason }, 'the archive of the log has a gap');
    this.#backUpAfterGap();
  }

  /** Until it is there: of a gap nobody tells twice. */
  #backUpAfterGap(): void {
    const { logger, timers } = this.#options;
    if (this.#isStopped || !this.#isLeading) return;
    this.create({ type: 'full' }).catch((thrown: unknown) => {
      logger.error({ error: String(thrown) }, 'the backup after a gap of the archive failed');
      this.#gapTimer = timers.after(GAP_RETRY_MS, () => this.#backUpAfterGap());
    });
  }

  #storeOf(sink: BackupSink, timeline: string, signal: AbortSignal): ArchiveStore {
    const { hasher, identity, stores } = this.#options;
    const { compression, keys } = stores;
    return new ArchiveStore({
      ...{ sink, timeline, hasher, signal, clusterId: identity.clusterId },
      sealing: { compression, keys, random: this.#options.randomBytes },
      timestampOf: entryTimestampMs,
    });
  }
}

function newestOf({ backups }: BackupListing): Omit<NewestBackups, 'verifiedMs'> {
  const full = backups.find(({ type }) => type === 'full');
  return { fullMs: full?.createdMs ?? null, anyMs: backups[0]?.createdMs ?? null };
}
