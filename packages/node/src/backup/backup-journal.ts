/**
 * What became of the backups of this node, and of the removal of old ones, since its start: for
 * status, metrics and the log of the node. Bounded; decides nothing.
 */
import type { Clock, ErrorBody, HoldfastError, Logger } from '@holdfast/base';
import type { BackupType } from '@holdfast/storage';
import type {
  BackupRecord,
  NodeBackupStatus,
  PruneOutcome,
  SinkRetentionStatus,
} from './backup-api.ts';
import type { SinkOutcome } from './backup-fan-out.ts';
import { BackupTallies } from './backup-tally.ts';

/** A store that was written to. */
export interface NotedSuccess {
  /** What was made: where there was no base a full one. */
  readonly type: BackupType;
  readonly sink: string;
}

export type JournalStatus = Pick<
  NodeBackupStatus,
  'newest' | 'succeededCount' | 'failedCount' | 'lastError' | 'retention' | 'tallies'
>;

const RECORD_COUNT_MAX = 20;

export class BackupJournal {
  readonly #clock: Pick<Clock, 'wallMs'>;
  readonly #logger: Logger;
  readonly #records: BackupRecord[] = [];
  readonly #tallies: BackupTallies;
  readonly #retention = new Map<string, SinkRetentionStatus>();
  #succeededCount = 0;
  #failedCount = 0;
  #lastError: ErrorBody | null = null;

  constructor(clock: Pick<Clock, 'wallMs'>, logger: Logger, sinks: readonly string[]) {
    this.#clock = clock;
    this.#logger = logger;
    this.#tallies = new BackupTallies(sinks);
  }

  status(): JournalStatus {
    return {
      newest: this.#records,
      succeededCount: this.#succeededCount,
      failedCount: this.#failedCount,
      lastError: this.#lastError,
      retention: [...this.#retention.values()],
      tallies: this.#tallies.all(),
    };
  }

  /** End of the newest good backup of this node in a store; 0: there is none. */
  newestEndMs(sink: string): number {
    const own = this.#tallies.all().filter((tally) => tally.sink === sink);
    return Math.max(0, ...own.map(({ newestEndMs }) => newestEndMs ?? 0));
  }

  /** A backup that came to its end, well or badly in each store. Returns where it is good. */
  noteEnd(record: BackupRecord): readonly NotedSuccess[] {
    this.#records.unshift(record);
    this.#records.splice(RECORD_COUNT_MAX);
    const good: NotedSuccess[] = [];
    for (const outcome of record.outcomes) {
      const { backupId } = record;
      if (outcome.kind === 'success') {
        good.push(this.#noteSuccess(record, outcome));
        const { sentSizeBytes, sink } = outcome;
        const facts = { backupId, sink, sentSizeBytes, kind: outcome.outcome.kind };
        this.#logger.info(facts, 'a backup ended');
      } else {
        const { error, sink } = outcome;
        const facts = { backupId, sink, code: error.code };
        this.#logger.error(facts, `a backup failed: ${error.message}`);
        this.#tallies.noteFailure(record.type, sink);
        this.#note(error);
      }
    }
    return good;
  }

  /** A backup that failed before it reached any store. */
  noteFailure(type: BackupType, sinks: readonly string[], error: HoldfastError): void {
    for (const sink of sinks) this.#tallies.noteFailure(type, sink);
    this.#note(error);
  }

  notePrune(outcome: PruneOutcome): void {
    const { sink } = outcome;
    const report = outcome.kind === 'success' ? outcome.report : null;
    const error =
      outcome.kind === 'failure' ? outcome.error : (report?.blockedBy[0]?.error ?? null);
    const removed = {
      removedBackupCount: report?.removedBackups.length ?? 0,
      removedFileCount: report?.removedFileCount ?? 0,
      removedChunkCount: report?.removedChunkCount ?? 0,
    };
    const endedMs = this.#clock.wallMs();
    this.#retention.set(sink, { sink, endedMs, ...removed, error: error?.toBody() ?? null });
    if (error === null) this.#logger.info({ sink, ...removed }, 'old backups were removed');
    else this.#logger.error({ sink, code: error.code }, `old backups stay: ${error.message}`);
  }

  #noteSuccess(
    { endedMs, startedMs, type }: BackupRecord,
    { outcome, sink }: Extract<SinkOutcome, { kind: 'success' }>,
  ): NotedSuccess {
    this.#succeededCount += 1;
    const made = outcome.kind === 'written' ? outcome.manifest.type : type;
    const sizeBytes = outcome.kind === 'written' ? outcome.manifest.sizeBytes : null;
    this.#tallies.noteSuccess(type, sink, { endedMs, durationMs: endedMs - startedMs, sizeBytes });
    return { type: made, sink };
  }

  #note(error: HoldfastError): void {
    this.#failedCount += 1;
    this.#lastError = error.toBody();
  }
}
