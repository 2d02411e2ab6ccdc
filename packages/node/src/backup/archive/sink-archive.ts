/**
 * The archive of this cluster in one sink, as one node keeps it. While the node leads it archives;
 * otherwise it looks from time to time how far the archive reaches, so that its own log is not cut
 * before that: it may lead next, and what it no longer has would be a gap.
 *
 * No timers of its own: `tick` is called some ten times a second.
 */
import type { ClusterId, ErrorBody, HoldfastError, LogIndex } from '@holdfast/base';
import { logIndex, toHoldfastError } from '@holdfast/base';
import type { BackupSink } from '../sinks/sink.ts';
import type { ArchiverState, ArchiverStatus } from './archive-progress.ts';
import { ArchiveCounters, backOffMs } from './archive-progress.ts';
import type { ArchiveSealing } from './archive-store.ts';
import { ArchiveStore, endOf } from './archive-store.ts';
import { entryTimestampMs } from './entry-time.ts';
import { type FoundTimeline, findTimeline } from './find-timeline.ts';
import { ARCHIVER_LIMITS, LogArchiver, type LogArchiverOptions } from './log-archiver.ts';

export interface SinkArchiveOptions extends Omit<LogArchiverOptions, 'parent' | 'store'> {
  readonly sink: BackupSink;
  readonly clusterId: ClusterId;
  readonly sealing: ArchiveSealing;
  /** Of a cluster that took over; asked when the timeline is looked for. Null: the sink knows. */
  readonly origin?: () => FoundTimeline | null;
}

/** `following`: another node leads, and archives. */
export type SinkArchiveState = ArchiverState | 'following';

export interface SinkArchiveStatus extends Omit<ArchiverStatus, 'state'> {
  readonly state: SinkArchiveState;
  /** Null before it was found in the sink. */
  readonly timeline: string | null;
}

/** A log keeps minutes of writes at least; listing a store costs money. */
const LOOK_INTERVAL_MS = 10_000;
const BACK_OFF = { firstMs: 1_000, mostMs: 30_000 } as const;
const ALARM_BACK_OFF = {
  firstMs: ARCHIVER_LIMITS.alarmLookMsMin,
  mostMs: ARCHIVER_LIMITS.alarmLookMsMax,
} as const;

export class SinkArchive {
  readonly #options: SinkArchiveOptions;
  #found: FoundTimeline | null = null;
  #archiver: LogArchiver | null = null;
  #abort = new AbortController();
  /** The store was seen to keep the promises that archiving depends on. */
  #isChecked = false;
  #isLeading = false;
  #running: Promise<void> | null = null;
  #nextLookMs = 0;
  #failuresInARow = 0;
  #failureCount = 0;
  #seenIndex: LogIndex | null = null;
  #alarm: HoldfastError | null = null;
  #lastError: HoldfastError | null = null;

  constructor(options: SinkArchiveOptions) {
    this.#options = options;
  }

  /** The archive has everything up to here, as far as this node knows; null while unknown. */
  get archivedIndex(): LogIndex | null {
    const own = this.#archiver?.archivedIndex ?? null;
    if (own === null || this.#seenIndex === null) return own ?? this.#seenIndex;
    return logIndex(Math.max(own, this.#seenIndex));
  }

  /** Null before it was found. */
  get timeline(): string | null {
    return this.#found?.timeline ?? null;
  }

  /** From now on this node archives, until `follow`. */
  lead(): void {
    this.#isLeading = true;
    this.#nextLookMs = 0;
  }

  /** What is under way is broken off; what it leaves half done is nothing that can be seen. */
  follow(): void {
    this.#isLeading = false;
    this.#keepSeen();
    this.#abort.abort();
    this.#abort = new AbortController();
    void this.#archiver?.stop();
    this.#archiver = null;
    // It is the next leader's to find and to tell.
    this.#alarm = null;
  }

  /** Never throws. */
  tick(): void {
    if (this.#archiver !== null) {
      this.#archiver.tick();
      return;
    }
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#running !== null || nowMs < this.#nextLookMs) return;
    this.#running = this.#look().finally(() => {
      this.#running = null;
    });
  }

  async stop(): Promise<void> {
    const archiver = this.#archiver;
    this.follow();
    this.#nextLookMs = Number.POSITIVE_INFINITY;
    await Promise.all([this.#running, archiver?.stop()]);
  }

  status(): SinkArchiveStatus {
    const { sink } = this.#options;
    const own = this.#archiver?.status();
    const common = { timeline: this.timeline, archivedIndex: this.archivedIndex };
    if (own !== undefined) return { ...own, ...common };
    return {
      ...{ sink: sink.name, state: this.#state(), lagEntryCount: 0, lagMs: 0 },
      ...new ArchiveCounters(),
      ...common,
      failureCount: this.#failureCount,
      lastError: this.#errorBody(),
    };
  }

  #errorBody(): ErrorBody | null {
    return (this.#alarm ?? this.#lastError)?.toBody() ?? null;
  }

  #state(): SinkArchiveState {
    if (this.#alarm !== null) return 'alarmed';
    if (this.#failuresInARow > 0) return 'backingOff';
    return this.#isLeading ? 'locating' : 'following';
  }

  #keepSeen(): void {
    this.#seenIndex = this.archivedIndex;
  }

  async #look(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#abort;
    try {
      this.#found ??= await this.#findTimeline(signal);
      if (this.#isLeading) await this.#checkOnce(signal);
      if (signal.aborted) return;
      if (this.#isLeading) this.#begin(this.#found, signal);
      else await this.#lookAtEnd(this.#found, signal);
      this.#failuresInARow = 0;
      this.#nextLookMs = clock.monotonicMs() + LOOK_INTERVAL_MS;
    } catch (thrown) {
      // The role changed meanwhile: the next look is of the new one.
      if (!signal.aborted) this.#fail(toHoldfastError(thrown));
    }
  }

  /** Two that believe to lead are kept apart by the store alone: one that cannot gets nothing. */
  async #checkOnce(signal: AbortSignal): Promise<void> {
    if (this.#isChecked) return;
    await this.#options.sink.check({ signal });
    this.#isChecked = true;
  }

  async #findTimeline(signal: AbortSignal): Promise<FoundTimeline> {
    const { clusterId, origin, sink } = this.#options;
    const known = origin?.() ?? null;
    if (known !== null) return known;
    const storeOf = (timeline: string): ArchiveStore => this.#storeOf(timeline, signal);
    return findTimeline(sink, clusterId, storeOf, { signal });
  }

  #begin({ parent, timeline }: FoundTimeline, signal: AbortSignal): void {
    const { clock, hasher, limits, log, onAlarm, onAlarmEnded, onGap, random } = this.#options;
    if (this.#alarm !== null) onAlarmEnded();
    this.#alarm = null;
    this.#archiver = new LogArchiver({
      ...{ log, parent, hasher, clock, random, onGap, onAlarmEnded },
      store: this.#storeOf(timeline, signal),
      onAlarm: (error) => {
        this.#lastError = error;
        onAlarm(error);
      },
      ...(limits === undefined ? {} : { limits }),
    });
    this.#archiver.tick();
  }

  async #lookAtEnd({ timeline }: FoundTimeline, signal: AbortSignal): Promise<void> {
    const store = this.#storeOf(timeline, signal);
    const near = Math.max(this.#seenIndex ?? 0, this.#options.log.base().index);
    const newest = await store.lastLogIndex(near);
    const object = newest === null ? null : await store.readLogObject(newest);
    if (object === null || signal.aborted) return;
    this.#seenIndex = logIndex(Math.max(this.#seenIndex ?? 0, endOf(object).index));
  }

  #storeOf(timeline: string, signal: AbortSignal): ArchiveStore {
    const { clusterId, hasher, sealing, sink } = this.#options;
    const timestampOf = entryTimestampMs;
    return new ArchiveStore({ sink, clusterId, timeline, sealing, hasher, timestampOf, signal });
  }

  #fail(error: HoldfastError): void {
    const { clock, random } = this.#options;
    this.#failureCount += 1;
    this.#lastError = error;
    // Only who archives sounds an alarm; a follower has time.
    const isAlarm = this.#isLeading && error.code === 'BACKUP_CORRUPT';
    if (isAlarm) this.#sound(error);
    this.#failuresInARow += 1;
    const delays = isAlarm ? ALARM_BACK_OFF : BACK_OFF;
    this.#nextLookMs =
      clock.monotonicMs() + backOffMs(this.#failuresInARow, random.nextFloat(), delays);
  }

  #sound(error: HoldfastError): void {
    const known = this.#alarm;
    this.#alarm = error;
    if (known?.code === error.code && known.message === error.message) return;
    this.#failuresInARow = 0;
    this.#options.onAlarm(error);
  }
}
