/**
 * The one owner of every recovery of a node. Whoever finds a cause (scrubber, divergence, disk,
 * lanes) hands it in with a ladder of actions, least drastic first, and repairs nothing itself: so
 * no two recoveries fight over one thing, and there are never more at a time than the disk, the
 * network and the clients can bear.
 *
 * cause -> action -> verify -> undo: an action counts only when `verify` says so; what did not help
 * is undone, tried again a bounded number of times with back-off, then the next one has its turn.
 * A cause that no action has helped is parked with an alarm; handed in again it is only counted,
 * until the parking time is over or somebody asks for it (`retryParked`).
 *
 * Alternatives in a ladder take their turns by how often they have helped (S1-41); the order of how
 * drastic actions are stays.
 *
 * The most urgent waits least: a P0 that finds every place taken gets one more. What others wait
 * for (a lane, the log) takes no place and waits for none: three repairs that wait for a lane must
 * not keep it from coming back.
 *
 * A case that is open longer than the target of its priority is an alarm; it goes on all the same.
 */
import type { Clock, Logger, TimerHandle, Timers } from '@holdfast/base';
import { HoldfastError, must, toHoldfastError } from '@holdfast/base';
import type { RecoveryEvent, RecoveryEventKind } from './recovery-events.ts';
import { RecoveryEvents } from './recovery-events.ts';
import type { RecoveryStats } from './recovery-stats.ts';
import { RECOVERY_TARGETS_MS, RecoveryLedger } from './recovery-stats.ts';

/** P0 corruption, disk; P1 crash, partition; P2 pools, memory; P3 fragmentation, statistics. */
export type RecoveryPriority = 0 | 1 | 2 | 3;

export interface RecoveryAction {
  /** Names the action in events and statistics: the same for every cause. */
  readonly name: string;
  /** What it did, for the event. Rejects with HoldfastError when it could not. */
  run(): Promise<Readonly<Record<string, unknown>>>;
  /** True when the cause is gone. */
  verify(): Promise<boolean>;
  /** Takes back what `run` did, when it did not help. */
  undo?(): Promise<void>;
  /**
   * Actions of equal rank are alternatives, none more drastic than the other: the one that has
   * helped more often goes first. Left out: its place in the ladder, which nothing changes.
   */
  readonly rank?: number;
  /** For one that repeats itself: attempts for one cause. Left out: as the options say. */
  readonly attemptCountMax?: number;
}

/** Where something is wrong with what a key names. */
export interface CausePlace {
  readonly offset: number;
  readonly what: string;
}

export interface RecoveryCause {
  /** What is to be recovered: one recovery per key at a time. */
  readonly key: string;
  /** Class of the cause, for statistics: `corruption`, `divergence`, `lane`, ... */
  readonly type: string;
  readonly what: string;
  /** Each is told once as a finding of its own, while the cause lasts; without any: `what` is. */
  readonly places?: readonly CausePlace[];
  readonly priority: RecoveryPriority;
  /** Least drastic first; at least one. */
  readonly ladder: readonly RecoveryAction[];
  /** Other recoveries may wait for this one: it takes no place and waits for none. */
  readonly isPrerequisite?: boolean;
  /** The node cannot go on without it: done whatever is switched off. */
  readonly isUnconditional?: boolean;
}

export interface RecoveryOptions {
  readonly concurrencyMax: number;
  /** False: causes are reported and nothing is done. */
  readonly isEnabled: boolean;
  /** False: damage to data is reported and left as it is. */
  readonly isRepairEnabled: boolean;
  /** Attempts of one action for one cause, after the first. */
  readonly retryCountMax: number;
}

export const RECOVERY_OPTIONS_DEFAULT: RecoveryOptions = {
  concurrencyMax: 3,
  isEnabled: true,
  isRepairEnabled: true,
  retryCountMax: 3,
};

export interface RecoveryParts {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
}

/** Waiting causes; what is found beyond is found again by the next look. */
const QUEUE_COUNT_MAX = 4_096;
const PARKED_COUNT_MAX = 4_096;
const RETRY_DELAY_MS_MIN = 1_000;
const RETRY_DELAY_MS_MAX = 60_000;
/** An unrecovered cause is looked at again: peers come back, disks are replaced. */
const PARKED_MS = 10 * 60_000;
/** What `isRepairEnabled` is about. */
const REPAIR_TYPES: ReadonlySet<string> = new Set(['corruption', 'divergence']);
/** Of one cause; a file with more is told to have more. */
const PLACES_TOLD_COUNT_MAX = 1_024;

interface Case {
  readonly cause: RecoveryCause;
  /** The cause's own, with alternatives in the order of their success. */
  readonly ladder: readonly RecoveryAction[];
  readonly foundAtMs: number;
  rung: number;
  attempt: number;
  timer: TimerHandle | null;
  /** Fires when its target has passed. */
  readonly alarm: TimerHandle;
}

export class RecoveryManager {
  readonly #parts: RecoveryParts;
  readonly #events: RecoveryEvents;
  readonly #ledger: RecoveryLedger;
  /** By key: waiting, running or in back-off. */
  readonly #open = new Map<string, Case>();
  readonly #parked = new Map<string, number>();
  /** By key: what was told of causes that are open or parked. */
  readonly #told = new Map<string, Set<number>>();
  readonly #running = new Set<Case>();
  #ready: Case[] = [];
  #options: RecoveryOptions;
  #isStopped = false;
  #whenIdle: (() => void)[] = [];

  constructor(options: RecoveryOptions, parts: RecoveryParts) {
    this.#options = options;
    this.#parts = parts;
    this.#events = new RecoveryEvents(parts.clock, parts.logger);
    this.#ledger = new RecoveryLedger();
  }

  get options(): RecoveryOptions {
    return this.#options;
  }

  /** Adjusts a running node. */
  configure(options: Partial<RecoveryOptions>): void {
    this.#options = { ...this.#options, ...options };
    this.#pump();
  }

  /** The newest last. */
  events(): readonly RecoveryEvent[] {
    return this.#events.all();
  }

  onEvent(listener: (event: RecoveryEvent) => void): void {
    this.#events.listen(listener);
  }

  stats(): RecoveryStats {
    return this.#ledger.stats({
      waiting: this.#open.size - this.#running.size,
      running: this.#running.size,
      parked: this.#parked.size,
    });
  }

  /**
   * Takes a cause. The finding is always an event; a recovery begins unless one for the same key is
   * under way, the cause is parked and nothing new was found, or recoveries are switched off.
   */
  submit(cause: RecoveryCause): void {
    const nowMs = this.#parts.clock.monotonicMs();
    const parkedAtMs = this.#parked.get(cause.key);
    if (this.#isStopped) return;
    const hasNews = this.#tellPlaces(cause);
    if (this.#open.has(cause.key)) return;
    if (parkedAtMs !== undefined && nowMs - parkedAtMs < PARKED_MS && !hasNews) return;
    this.#parked.delete(cause.key);
    if (cause.places === undefined || !hasNews) this.#tell('found', cause, { what: cause.what });
    this.#ledger.found(cause.type);
    const isAllowed = cause.isUnconditional === true || this.isAllowed(cause.type);
    if (!isAllowed || this.#open.size >= QUEUE_COUNT_MAX) {
      this.#tell('leftAlone', cause, { isEnabled: this.#options.isEnabled });
      this.#told.delete(cause.key);
      return;
    }
    const alarm = this.#alarmFor(cause);
    const ladder = this.#ordered(cause);
    const one: Case = { cause, ladder, foundAtMs: nowMs, rung: 0, attempt: 0, timer: null, alarm };
    this.#open.set(cause.key, one);
    this.#ready.push(one);
    this.#pump();
  }

  /** Whether causes of this type are acted upon. */
  isAllowed(type: string): boolean {
    const { isEnabled, isRepairEnabled } = this.#options;
    return isEnabled && (isRepairEnabled || !REPAIR_TYPES.has(type));
  }

  /** Keys that no action has helped. */
  get parkedKeys(): readonly string[] {
    return [...this.#parked.keys()];
  }

  /** Whether something is wrong with `key` that no action has helped. */
  isParked(key: string): boolean {
    return this.#parked.has(key);
  }

  isOpen(key: string): boolean {
    return this.#open.has(key);
  }

  /** Parked causes count as new when they are handed in again. */
  retryParked(): void {
    for (const key of this.#parked.keys()) this.#told.delete(key);
    this.#parked.clear();
  }

  /** Resolves when no recovery waits or runs. */
  idle(): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#whenIdle.push(resolve);
    });
  }

  /** Nothing begins any more; resolves when what runs has ended. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const { alarm, timer } of this.#open.values()) {
      timer?.cancel();
      alarm.cancel();
    }
    this.#ready = [];
    for (const [key, one] of this.#open) if (!this.#running.has(one)) this.#open.delete(key);
    await this.idle();
  }

  /** True when anything was told that is new. */
  #tellPlaces(cause: RecoveryCause): boolean {
    const { key, places = [] } = cause;
    const told = this.#told.get(key) ?? new Set<number>();
    const news = places.filter(({ offset }) => !told.has(offset));
    if (news.length === 0 || told.size >= PLACES_TOLD_COUNT_MAX) return false;
    this.#told.set(key, told);
    const listed = news.slice(0, PLACES_TOLD_COUNT_MAX - told.size);
    for (const { offset, what } of listed) {
      told.add(offset);
      this.#tell('found', cause, { what, offset });
    }
    const untoldCount = news.length - listed.length;
    if (untoldCount > 0) this.#tell('found', cause, { what: cause.what, untoldCount });
    return true;
  }

  #pump(): void {
    this.#ready.sort((left, right) => orderOf(left.cause) - orderOf(right.cause));
    for (;;) {
      const [next] = this.#ready;
      if (next === undefined || this.#isStopped || !this.#hasPlaceFor(next.cause)) return;
      this.#ready.shift();
      this.#running.add(next);
      // In a task of its own: nobody who waits for a recovery may take it for an answer.
      this.#attempt(next).catch((thrown: unknown) => {
        this.#parts.timers.after(0, () => {
          throw thrown;
        });
      });
    }
  }

  #hasPlaceFor({ isPrerequisite, priority }: RecoveryCause): boolean {
    if (isPrerequisite === true) return true;
    const placed = [...this.#running].filter(({ cause }) => cause.isPrerequisite !== true);
    const isPressing = priority === 0 && placed.every(({ cause }) => cause.priority > 0);
    return placed.length < this.#options.concurrencyMax + (isPressing ? 1 : 0);
  }

  /** A more drastic action never overtakes a less drastic one, however often it has helped. */
  #ordered({ ladder, type }: RecoveryCause): readonly RecoveryAction[] {
    const places = ladder.map((action, place) => ({
      action,
      rank: action.rank ?? place,
      rate: this.#ledger.successRateOf(type, action.name),
    }));
    places.sort((left, right) => left.rank - right.rank || right.rate - left.rate);
    return places.map(({ action }) => action);
  }

  #alarmFor(cause: RecoveryCause): TimerHandle {
    const targetMs = RECOVERY_TARGETS_MS[cause.priority];
    return this.#parts.timers.after(targetMs, () => {
      this.#ledger.overdue();
      this.#tell('overdue', cause, { targetMs });
    });
  }

  async #attempt(one: Case): Promise<void> {
    const { cause } = one;
    const action = must(one.ladder[one.rung], 'a recovery has an action to try');
    const startMs = this.#parts.clock.monotonicMs();
    this.#tell('started', cause, { action: action.name, attempt: one.attempt + 1 });
    const outcome = await this.#run(cause, action);
    const durationMs = this.#parts.clock.monotonicMs() - startMs;
    this.#ledger.tried(cause.type, action.name, outcome.isHelped, durationMs);
    this.#running.delete(one);
    if (outcome.isHelped) {
      const tookMs = this.#parts.clock.monotonicMs() - one.foundAtMs;
      this.#ledger.recovered(cause.type, cause.priority, tookMs);
      this.#tell('recovered', cause, { action: action.name, durationMs, tookMs, ...outcome.facts });
      this.#close(one);
    } else {
      this.#tell('failed', cause, { action: action.name, durationMs, ...outcome.facts });
      this.#next(one, action, outcome.facts);
    }
    this.#pump();
  }

  async #run(cause: RecoveryCause, action: RecoveryAction) {
    try {
      const facts = await action.run();
      if (await action.verify()) return { isHelped: true, isFinal: false, facts };
      await this.#undo(cause, action);
      return { isHelped: false, facts: { ...facts, reason: 'the cause is still there' } };
    } catch (thrown) {
      // A broken invariant is not for a recovery to survive.
      if (!(thrown instanceof HoldfastError)) throw thrown;
      await this.#undo(cause, action);
      const { code, details, message } = toHoldfastError(thrown);
      return { isHelped: false, facts: { code, reason: message, details } };
    }
  }

  async #undo(cause: RecoveryCause, action: RecoveryAction): Promise<void> {
    if (action.undo === undefined) return;
    await action.undo();
    this.#tell('undone', cause, { action: action.name });
  }

  /** Again after a while, or the next action, or nothing more; then a person is told why. */
  #next(one: Case, action: RecoveryAction, failure: object): void {
    const { cause } = one;
    if (this.#isStopped) {
      this.#close(one);
      return;
    }
    const attemptCountMax = action.attemptCountMax ?? this.#options.retryCountMax + 1;
    if (one.attempt + 1 < attemptCountMax) {
      const delayMs = Math.min(RETRY_DELAY_MS_MAX, RETRY_DELAY_MS_MIN * 2 ** one.attempt);
      one.attempt += 1;
      one.timer = this.#parts.timers.after(delayMs, () => this.#requeue(one));
      return;
    }
    one.rung += 1;
    one.attempt = 0;
    if (one.rung < one.ladder.length) {
      this.#ready.push(one);
      return;
    }
    this.#ledger.given(cause.type);
    this.#tell('escalated', cause, { what: cause.what, lastAction: action.name, ...failure });
    if (this.#parked.size < PARKED_COUNT_MAX) {
      this.#parked.set(cause.key, this.#parts.clock.monotonicMs());
    }
    this.#close(one);
  }

  #requeue(one: Case): void {
    one.timer = null;
    this.#ready.push(one);
    this.#pump();
  }

  #close(one: Case): void {
    const { key } = one.cause;
    one.alarm.cancel();
    this.#open.delete(key);
    if (!this.#parked.has(key)) this.#told.delete(key);
    if (this.#open.size > 0) return;
    const waiting = this.#whenIdle;
    this.#whenIdle = [];
    for (const resolve of waiting) resolve();
  }

  #tell(kind: RecoveryEventKind, cause: RecoveryCause, facts: object): void {
    const { key, type, priority } = cause;
    this.#events.tell(kind, { key, type, priority }, facts);
  }
}

/** Smaller goes first. */
const orderOf = ({ isPrerequisite, priority }: RecoveryCause): number =>
  isPrerequisite === true ? -1 : priority;
