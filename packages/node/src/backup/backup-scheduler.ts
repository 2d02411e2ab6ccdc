/**
 * Runs backups and their verification when they are due, while this node leads. What was done
 * before is asked of the stores, so a new leader neither skips nor repeats; each store has its own
 * last success, and one that fails is tried again alone. One task at a time; all timers are ours
 * and end with the leadership.
 */
import type { Clock, HoldfastError, Logger, TimerHandle, Timers } from '@holdfast/base';
import { failpoint, toHoldfastError } from '@holdfast/base';
import type { BackupType } from '@holdfast/storage';
import type { ScheduledTaskStatus, ScheduleKind } from './backup-api.ts';
import type { SinkOutcome } from './backup-fan-out.ts';
import type { Schedule } from './schedule.ts';
import { ScheduledTask, type TimePair } from './scheduled-task.ts';
import type { VerifiedNewest } from './verification/verify-newest.ts';

export type BackupSchedules = Readonly<Record<ScheduleKind, Schedule | null>>;

/** When the newest backups of a store were made; null: there is none. */
export interface NewestBackups {
  readonly fullMs: number | null;
  /** Of whatever type. */
  readonly anyMs: number | null;
  /** When one was last restored to try it, with success. */
  readonly verifiedMs: number | null;
}

/** What the schedule has done; all throw HoldfastError. */
export interface ScheduledWork {
  newest(sink: string, signal: AbortSignal): Promise<NewestBackups>;
  /** @throws OVERLOADED while something else is under way */
  backUp(
    type: BackupType,
    sinks: readonly string[],
    signal: AbortSignal,
  ): Promise<readonly SinkOutcome[]>;
  /** Of the newest backup; null: there is none. */
  verifyNewest(sink: string, signal: AbortSignal): Promise<VerifiedNewest | null>;
  /** After a good backup; what comes of it is told elsewhere. Never rejects. */
  prune(sinks: readonly string[], signal: AbortSignal): Promise<void>;
}

export interface BackupSchedulerOptions {
  readonly schedules: BackupSchedules;
  readonly sinks: readonly string[];
  readonly work: ScheduledWork;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
}

/** A leader has better things to do at first, and may not last. */
export const SETTLE_MS = 30_000;
/** The wall clock may jump: nobody sleeps for longer. */
const WAIT_MS_MAX = 60_000;
const BUSY_RETRY_MS = 10_000;
/** A full backup is an incremental one too, so it goes first. */
const KINDS: readonly ScheduleKind[] = ['full', 'incremental', 'verification'];

interface Planned {
  readonly kind: ScheduleKind;
  readonly sink: string;
  readonly task: ScheduledTask;
}

export class BackupScheduler {
  readonly #options: BackupSchedulerOptions;
  readonly #planned: readonly Planned[];
  #abort: AbortController | null = null;
  #timer: TimerHandle | null = null;
  #running: Promise<void> = Promise.resolve();

  constructor(options: BackupSchedulerOptions) {
    this.#options = options;
    const { schedules, sinks } = options;
    this.#planned = KINDS.flatMap((kind) => {
      const schedule = schedules[kind];
      if (schedule === null) return [];
      return sinks.map((sink) => ({ kind, sink, task: new ScheduledTask(schedule) }));
    });
  }

  /** Told whenever the role of this node changes. What is under way for a lost role is aborted. */
  setLeading(isLeading: boolean): void {
    if (isLeading === (this.#abort !== null) || this.#planned.length === 0) return;
    this.#timer?.cancel();
    this.#timer = null;
    if (!isLeading) {
      this.#abort?.abort();
      this.#abort = null;
      // They are the next leader's to have and to tell.
      for (const { task } of this.#planned) task.forgetFailures();
      return;
    }
    const abort = new AbortController();
    this.#abort = abort;
    for (const { task } of this.#planned) task.forget();
    this.#arm(SETTLE_MS, abort.signal);
  }

  /** Resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    this.setLeading(false);
    await this.#running;
  }

  /** Every good backup, whoever asked for it. */
  noteBackup(type: BackupType, sink: string, startedMs: number): void {
    for (const planned of this.#planned) {
      if (planned.sink !== sink || planned.kind === 'verification') continue;
      if (type === 'full' || planned.kind === type) planned.task.noteSuccess(startedMs);
    }
  }

  /** When the newest good backup was made, as far as is known: null: there is none. */
  newestMs(sink: string): number | null | undefined {
    const times = this.#planned
      .filter((planned) => planned.sink === sink && planned.kind !== 'verification')
      .map(({ task }) => task.last)
      .filter(({ kind }) => kind !== 'unknown')
      .map((last) => (last.kind === 'at' ? last.timeMs : Number.NEGATIVE_INFINITY));
    if (times.length === 0) return undefined;
    const newestMs = Math.max(...times);
    return Number.isFinite(newestMs) ? newestMs : null;
  }

  statuses(): readonly ScheduledTaskStatus[] {
    const now = this.#now();
    const isLeading = this.#abort !== null;
    return this.#planned.map(({ kind, sink, task }) => {
      const waitMs = isLeading ? task.waitMs(now) : null;
      return {
        ...{ kind, sink, schedule: task.schedule.text },
        lastMs: task.last.kind === 'at' ? task.last.timeMs : null,
        nextMs: waitMs === null ? null : Math.round(now.wallMs + waitMs),
        failuresInARow: task.failuresInARow,
        failedCount: task.failedCount,
        lastError: task.lastError,
      };
    });
  }

  #now(): TimePair {
    const { clock } = this.#options;
    return { wallMs: clock.wallMs(), monotonicMs: clock.monotonicMs() };
  }

  #arm(waitMs: number, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.#timer?.cancel();
    this.#timer = this.#options.timers.after(waitMs, () => {
      this.#timer = null;
      // What the former leadership left must end first.
      this.#running = this.#running.then(() => this.#turn(signal));
    });
  }

  async #turn(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    let isBusy = false;
    for (const kind of KINDS) {
      await this.#look(kind, signal);
      if (signal.aborted) return;
      try {
        await this.#run(kind, signal);
      } catch (thrown) {
        const error = toHoldfastError(thrown);
        if (signal.aborted) return;
        if (error.code === 'OVERLOADED') isBusy = true;
        else for (const planned of this.#due(kind)) this.#fail(planned, error);
      }
      if (signal.aborted) return;
    }
    this.#arm(isBusy ? BUSY_RETRY_MS : this.#nextWaitMs(), signal);
  }

  #nextWaitMs(): number {
    const now = this.#now();
    const waits = this.#planned.map(({ task }) => task.waitMs(now) ?? WAIT_MS_MAX);
    // Timers have whole milliseconds: one too early would find nothing due.
    return Math.ceil(Math.min(WAIT_MS_MAX, ...waits));
  }

  #due(kind: ScheduleKind): readonly Planned[] {
    const now = this.#now();
    return this.#planned.filter((one) => one.kind === kind && one.task.waitMs(now) === 0);
  }

  /** Asks the stores that nobody has asked since this node leads. */
  async #look(kind: ScheduleKind, signal: AbortSignal): Promise<void> {
    const { work } = this.#options;
    const unknown = this.#due(kind).filter(({ task }) => task.last.kind === 'unknown');
    for (const planned of unknown) {
      try {
        const newest = await work.newest(planned.sink, signal);
        if (signal.aborted) return;
        this.#noteNewest(planned.sink, newest);
      } catch (thrown) {
        if (signal.aborted) return;
        this.#fail(planned, toHoldfastError(thrown));
      }
    }
  }

  #noteNewest(sink: string, { anyMs, fullMs, verifiedMs }: NewestBackups): void {
    const { wallMs } = this.#now();
    // Without a result nobody knows whether there was one: the next scheduled time is early enough.
    const found = { full: fullMs, incremental: anyMs, verification: verifiedMs ?? wallMs };
    for (const planned of this.#planned) {
      if (planned.sink === sink) planned.task.noteFound(found[planned.kind], wallMs);
    }
  }

  async #run(kind: ScheduleKind, signal: AbortSignal): Promise<void> {
    const due = this.#due(kind).filter(({ task }) => task.last.kind !== 'unknown');
    if (due.length === 0) return;
    if (kind === 'verification') {
      for (const planned of due) await this.#verify(planned, signal);
      return;
    }
    const { work } = this.#options;
    const sinks = due.map(({ sink }) => sink);
    const startedMs = this.#now().wallMs;
    failpoint('schedule.before-backup');
    const outcomes = await work.backUp(kind, sinks, signal);
    if (signal.aborted) return;
    for (const outcome of outcomes) {
      const planned = due.find(({ sink }) => sink === outcome.sink);
      if (planned === undefined) continue;
      if (outcome.kind === 'success') planned.task.noteSuccess(startedMs);
      else this.#fail(planned, outcome.error);
    }
    const good = outcomes.filter((outcome) => outcome.kind === 'success');
    failpoint('schedule.before-prune');
    await work.prune(
      good.map(({ sink }) => sink),
      signal,
    );
  }

  async #verify(planned: Planned, signal: AbortSignal): Promise<void> {
    const { logger, work } = this.#options;
    const { sink, task } = planned;
    const startedMs = this.#now().wallMs;
    try {
      failpoint('schedule.before-verification');
      const verified = await work.verifyNewest(sink, signal);
      if (signal.aborted) return;
      const error = verified?.error ?? null;
      if (error !== null) this.#fail(planned, error);
      else {
        task.noteSuccess(startedMs);
        logger.info({ sink, ...verified }, 'the newest backup was verified');
      }
    } catch (thrown) {
      if (!signal.aborted) this.#fail(planned, toHoldfastError(thrown));
    }
  }

  #fail({ kind, sink, task }: Planned, error: HoldfastError): void {
    const { logger } = this.#options;
    const now = this.#now();
    task.noteFailure(error.toBody(), now);
    const { failuresInARow } = task;
    const retryInMs = task.waitMs(now);
    const facts = { sink, kind, failuresInARow, retryInMs, code: error.code };
    logger.error(facts, `the scheduled ${kind} failed: ${error.message}`);
  }
}
