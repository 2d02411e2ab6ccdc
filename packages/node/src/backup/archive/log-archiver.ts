/**
 * Writes the committed log into one sink, chunk by chunk, while this node leads. Several nodes may
 * believe that they lead; what keeps the archive one history is the store: each chunk is put only
 * if nothing stands in its place, and each begins where the one before ends. Whoever loses a race
 * reads the winner's chunk, checks it against its own log, and goes on behind it.
 *
 * Invariants: only committed entries are put; one object is under way at a time, in order; nothing
 * is remembered that cannot be found again in the sink; memory holds one chunk. A sink that fails
 * or is slow is tried again later and costs a commit nothing. If the sink ever holds other content
 * than this log for a committed index, the archiver sounds an alarm and overwrites nothing; it
 * looks again from time to time, and goes on once somebody has taken away what contradicts.
 *
 * It has no timers: `tick` is called some ten times a second, and when the commit index has moved.
 */
import type { Clock, Entry, EntryHasher, LogIndex, Random } from '@holdfast/base';
import {
  assert,
  failpoint,
  HoldfastError,
  logIndex,
  sumsEqual,
  toHoldfastError,
} from '@holdfast/base';
import type { ChainPoint, LogGap, TimelineParent } from '@holdfast/storage';
import {
  encodeLogChunk,
  encodeLogGap,
  endOfChunk,
  endOfGap,
  startOfTimeline,
} from '@holdfast/storage';
import { ArchiveLag } from './archive-lag.ts';
import type { ArchiverState, ArchiverStatus } from './archive-progress.ts';
import { ArchiveCounters, backOffMs } from './archive-progress.ts';
import type { ArchiveStore, LogObject } from './archive-store.ts';
import { endOf, linkOf } from './archive-store.ts';
import type { CommittedLog } from './committed-log.ts';
import { entryTimestampMs } from './entry-time.ts';
import { LogAgreement } from './log-agreement.ts';

export interface LogArchiverOptions {
  /** Of this cluster and timeline. Its signal should be `signal` of the archiver's owner. */
  readonly store: ArchiveStore;
  readonly log: CommittedLog;
  /** Where the timeline comes from; null for a cluster that began empty. */
  readonly parent: TimelineParent | null;
  readonly hasher: EntryHasher;
  readonly clock: Clock;
  readonly random: Random;
  /**
   * The newest object of the archive is a gap: a full backup must start at once, so that targets
   * after it can be reached. Told again by every leader that finds it so.
   */
  readonly onGap: (gap: LogGap) => void;
  /** Nothing is archived until somebody mends this. Told once for each reason. */
  readonly onAlarm: (error: HoldfastError) => void;
  /** It was mended: the archive and the log agree. */
  readonly onAlarmEnded: () => void;
  readonly limits?: Partial<ArchiverLimits>;
}

export interface ArchiverLimits {
  /** A chunk is put when so many bytes wait for it, or when the oldest entry is so old. */
  readonly chunkSizeBytesMax: number;
  readonly chunkAgeMsMax: number;
  readonly retryMsMin: number;
  readonly retryMsMax: number;
  /** Between two looks of an alarmed archiver whether somebody mended the archive. */
  readonly alarmLookMsMin: number;
  readonly alarmLookMsMax: number;
}

export const ARCHIVER_LIMITS: ArchiverLimits = {
  // Of the bytes in flight to a store some 100 ms away this is a lot, and it fits into memory.
  chunkSizeBytesMax: 4 * 1024 * 1024,
  // With a put of 100 ms and a tick of 100 ms the oldest entry is archived after half a second.
  chunkAgeMsMax: 200,
  retryMsMin: 1_000,
  retryMsMax: 30_000,
  // Some three requests each; whoever mends a store does not want to wait for longer.
  alarmLookMsMin: 5_000,
  alarmLookMsMax: 60_000,
};

/** Only somebody can help: what is there is wrong, or cannot be read with what is known here. */
const ALARM_CODES: ReadonlySet<string> = new Set([
  'BACKUP_CORRUPT',
  'BACKUP_KEY_WRONG',
  'FORMAT_UNKNOWN',
  'INTERNAL',
]);

export class LogArchiver {
  readonly #options: LogArchiverOptions;
  readonly #limits: ArchiverLimits;
  readonly #lag = new ArchiveLag();
  readonly #counters = new ArchiveCounters();
  readonly #agreement: LogAgreement;
  /** Where the archive ends; null until it was found in the sink and agreed with the log. */
  #end: ChainPoint | null = null;
  /** Of the object that ends there; null: the timeline is empty. */
  #endFirstIndex: LogIndex | null = null;
  /** The archive was seen to reach this index, which is not yet known to be committed here. */
  #awaitedIndex: LogIndex = logIndex(0);
  #running: Promise<void> | null = null;
  #failuresInARow = 0;
  #retryAtMs = 0;
  #lastError: HoldfastError | null = null;
  #alarm: HoldfastError | null = null;
  /** What had agreed with the log before the alarm. */
  #agreedIndex: LogIndex | null = null;
  #isStopped = false;

  constructor(options: LogArchiverOptions) {
    this.#options = options;
    this.#limits = { ...ARCHIVER_LIMITS, ...options.limits };
    this.#agreement = new LogAgreement(options.log, options.store);
  }

  /** The archive has everything up to here, verified against this log; null while unknown. */
  get archivedIndex(): LogIndex | null {
    return this.#end?.index ?? this.#agreedIndex;
  }

  /** Looks whether there is something to do, and does it in the background. Never throws. */
  tick(): void {
    const { clock, log } = this.#options;
    const nowMs = clock.monotonicMs();
    this.#lag.noteCommitted(log.committedIndex(), nowMs);
    if (this.#running !== null || nowMs < this.#retryAtMs || !this.#hasWork()) return;
    this.#running = this.#work().finally(() => {
      this.#running = null;
    });
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await this.#running;
  }

  /** For good. What is under way is let finish or abort by the signal of the store. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
  }

  status(): ArchiverStatus {
    const nowMs = this.#options.clock.monotonicMs();
    return {
      sink: this.#options.store.sinkName,
      state: this.#state(nowMs),
      archivedIndex: this.archivedIndex,
      lagEntryCount: this.#lag.entryCount,
      lagMs: this.#lag.ageMs(nowMs),
      ...this.#counters,
      lastError: (this.#alarm ?? this.#lastError)?.toBody() ?? null,
    };
  }

  #state(nowMs: number): ArchiverState {
    if (this.#isStopped) return 'stopped';
    if (this.#alarm !== null) return 'alarmed';
    if (nowMs < this.#retryAtMs) return 'backingOff';
    if (this.#end !== null) return 'archiving';
    return this.#awaitedIndex > this.#options.log.committedIndex() ? 'waiting' : 'locating';
  }

  #hasWork(): boolean {
    if (this.#isStopped) return false;
    const { clock, log } = this.#options;
    const committed = log.committedIndex();
    if (this.#end === null) return this.#awaitedIndex <= committed;
    const next = logIndex(this.#end.index + 1);
    if (next > committed) return false;
    const ageMs = this.#lag.ageMs(clock.monotonicMs());
    return (
      ageMs >= this.#limits.chunkAgeMsMax || log.isLongerThan(next, this.#limits.chunkSizeBytesMax)
    );
  }

  async #work(): Promise<void> {
    try {
      while (this.#hasWork()) {
        await (this.#end === null ? this.#locate() : this.#advance(this.#end));
        this.#failuresInARow = 0;
        this.#lag.noteCommitted(
          this.#options.log.committedIndex(),
          this.#options.clock.monotonicMs(),
        );
      }
    } catch (thrown) {
      if (!this.#isStopped) this.#fail(toHoldfastError(thrown));
    }
  }

  #fail(error: HoldfastError): void {
    const { clock, random } = this.#options;
    this.#lastError = error;
    this.#counters.failureCount += 1;
    const isAlarm = ALARM_CODES.has(error.code);
    if (isAlarm) this.#sound(error);
    this.#failuresInARow += 1;
    const { alarmLookMsMax, alarmLookMsMin, retryMsMax, retryMsMin } = this.#limits;
    const delays = isAlarm
      ? { firstMs: alarmLookMsMin, mostMs: alarmLookMsMax }
      : { firstMs: retryMsMin, mostMs: retryMsMax };
    const delayMs = backOffMs(this.#failuresInARow, random.nextFloat(), delays);
    this.#retryAtMs = clock.monotonicMs() + delayMs;
  }

  /** From here on the end of the archive is looked for anew: nothing is put before it agrees. */
  #sound(error: HoldfastError): void {
    const known = this.#alarm;
    this.#alarm = error;
    this.#agreedIndex = this.archivedIndex;
    this.#end = null;
    this.#awaitedIndex = logIndex(0);
    if (known?.code === error.code && known.message === error.message) return;
    this.#failuresInARow = 0;
    this.#options.onAlarm(error);
  }

  /** Finds the end of the archive in the sink, and goes on from there. */
  async #locate(): Promise<void> {
    const { clock, log, parent, store } = this.#options;
    await this.#agreement.checkAgain();
    const timeline = await store.beginTimeline({
      clusterId: store.clusterId,
      timeline: store.timeline,
      parent,
      createdMs: clock.wallMs(),
    });
    const near = log.committedIndex();
    const newest = await store.lastLogIndex(near, Number.MAX_SAFE_INTEGER);
    if (newest === null) await this.#goOn(startOfTimeline(timeline), null);
    else await this.#adopt(await this.#readPresent(newest));
  }

  /** Puts the next chunk, or says that it is lost. */
  async #advance(end: ChainPoint): Promise<void> {
    const { log } = this.#options;
    const base = log.base();
    if (end.index < base.index) return this.#recordGap(end);
    const witness = { firstIndex: this.#endFirstIndex, hash: end.hash };
    this.#agreement.check(witness, end.index, end.sum);
    const committed = log.committedIndex();
    const next = logIndex(end.index + 1);
    const read = await log.read(next, this.#limits.chunkSizeBytesMax);
    // Compacted meanwhile: the next round finds the base behind the end of the archive.
    if (read === 'compacted') return;
    const entries = read.filter(({ index }) => index <= committed);
    assert(entries.length > 0, 'a log gives what is committed', { next, committed });
    checkEntries(this.#options.hasher, end, entries);
    await this.#putChunk(end, entries);
  }

  async #putChunk(end: ChainPoint, entries: readonly Entry[]): Promise<void> {
    const { store } = this.#options;
    const { clusterId, timeline } = store;
    const firstIndex = logIndex(end.index + 1);
    const timestampOf = entryTimestampMs;
    const chunk = encodeLogChunk({ clusterId, timeline, before: end, entries, timestampOf });
    failpoint('archive.before-chunk');
    const put = await store.putLogObject(firstIndex, chunk.bytes);
    failpoint('archive.after-chunk');
    if (put.outcome === 'exists') return this.#meetWinner(end, firstIndex);
    this.#counters.chunkCount += 1;
    this.#counters.entryCount += entries.length;
    this.#counters.storedSizeBytes += put.sizeBytes;
    this.#moveTo(endOfChunk(chunk), firstIndex);
  }

  /** The log was compacted before its entries could be archived. */
  async #recordGap(end: ChainPoint): Promise<void> {
    const { clock, log, store } = this.#options;
    const { clusterId, timeline } = store;
    const firstIndex = logIndex(end.index + 1);
    const isFirst = end.index === (this.#options.parent?.index ?? 0);
    const gap = encodeLogGap({
      ...{ clusterId, timeline, before: end, end: log.base() },
      reason: isFirst ? 'archive-began-later' : 'compacted',
      createdMs: clock.wallMs(),
    });
    failpoint('archive.before-gap');
    const put = await store.putLogObject(firstIndex, gap.bytes);
    failpoint('archive.after-gap');
    if (put.outcome === 'exists') return this.#meetWinner(end, firstIndex);
    this.#counters.gapCount += 1;
    this.#counters.storedSizeBytes += put.sizeBytes;
    await this.#meetGap(gap);
    this.#moveTo(endOfGap(gap), firstIndex);
  }

  /** Something stands in the place of what was to be put: it must be of the same history. */
  async #meetWinner(end: ChainPoint, firstIndex: LogIndex): Promise<void> {
    this.#counters.lostRaceCount += 1;
    failpoint('archive.lost-race');
    const winner = await this.#readPresent(firstIndex);
    this.#agreement.checkFollows(winner, end);
    await this.#adopt(winner);
  }

  /** Goes on behind `object`, once all of it is known to be committed here and to be the same. */
  async #adopt(object: LogObject): Promise<void> {
    failpoint('archive.before-adoption');
    const end = endOf(object);
    if (end.index > this.#options.log.committedIndex()) {
      this.#end = null;
      this.#awaitedIndex = end.index;
      return;
    }
    const { firstIndex } = linkOf(object);
    const witness = { firstIndex, hash: end.hash };
    if (object.kind === 'chunk') {
      for (const { index, sum } of object.entries) this.#agreement.check(witness, index, sum);
    } else {
      this.#agreement.check(witness, object.lastIndex, object.lastSum);
      await this.#meetGap(object);
    }
    await this.#goOn(end, firstIndex);
  }

  /** What waits behind the end of the archive may have waited since before this node led. */
  async #goOn(end: ChainPoint, firstIndex: LogIndex | null): Promise<void> {
    const { clock, log } = this.#options;
    this.#moveTo(end, firstIndex);
    const next = logIndex(end.index + 1);
    if (next > log.committedIndex() || end.index < log.base().index) return;
    const read = await log.read(next, 1);
    const first = read === 'compacted' ? undefined : read[0];
    const stampMs = first === undefined ? null : entryTimestampMs(first);
    if (stampMs === null) return;
    this.#lag.backdate(Math.max(0, clock.wallMs() - stampMs), clock.monotonicMs());
  }

  /** The copy may be missing when the node that put the gap has died; it is put again. */
  async #meetGap(gap: LogGap): Promise<void> {
    const { store, onGap } = this.#options;
    await store.putGapCopy(gap);
    onGap(gap);
  }

  #moveTo(end: ChainPoint, firstIndex: LogIndex | null): void {
    this.#end = end;
    this.#endFirstIndex = firstIndex;
    this.#awaitedIndex = logIndex(0);
    this.#lag.noteArchived(end.index);
    if (this.#alarm === null) return;
    this.#alarm = null;
    this.#agreedIndex = null;
    this.#options.onAlarmEnded();
  }

  async #readPresent(firstIndex: number): Promise<LogObject> {
    const { store } = this.#options;
    const object = await store.readLogObject(firstIndex);
    if (object !== null) return object;
    throw new HoldfastError(
      'SINK_UNAVAILABLE',
      `${store.logKey(firstIndex)} in ${store.sinkName} was there and is gone; it is looked for ` +
        'again',
      { details: { key: store.logKey(firstIndex) } },
    );
  }
}

/** What the log gave is what it promised; memory and disks can be wrong. */
function checkEntries(hasher: EntryHasher, end: ChainPoint, entries: readonly Entry[]): void {
  let previous: Pick<Entry, 'sum'> = end;
  for (const entry of entries) {
    const { data, index, sum, term, type } = entry;
    if (!sumsEqual(hasher(previous.sum, term, index, type, data), sum)) {
      throw new HoldfastError('WAL_CORRUPT', `entry ${index} of the log fails its chain sum`, {
        details: { index },
      });
    }
    previous = entry;
  }
}
