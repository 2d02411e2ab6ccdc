/**
 * Brings the entries of a primary from its archive into the log of a standby, while this node
 * leads. Nothing is remembered here that matters: where to go on is in the replicated state, and an
 * entry that does not continue it has no effect there.
 *
 * Invariants: entries are proposed in order, each verified against the chain of the archive; at
 * most one slice is under way; what cannot be followed (a gap, damage, another history) is an alarm
 * and changes nothing.
 */
import type { Clock, Entry, ErrorBody, HoldfastError, LogIndex } from '@holdfast/base';
import { HoldfastError as HoldfastFailure, logIndex, term, toHoldfastError } from '@holdfast/base';
import type { SiteEpoch } from '@holdfast/storage';
import { fromHex } from '@holdfast/storage';
import { ArchiveReader } from '../backup/archive/archive-reader.ts';
import { findTimeline } from '../backup/archive/find-timeline.ts';
import type { SourcePoint } from '../state/site.ts';
import { superseded } from './promotion.ts';
import { PROPOSE_TIMEOUT_MS, type SiteReplica } from './site-replica.ts';
import type { SiteStores } from './site-stores.ts';

export type FollowerState = 'idle' | 'following' | 'backingOff' | 'alarmed';

export interface FollowerStatus {
  readonly state: FollowerState;
  /** This cluster has all that was in the archive so long ago; null: this node does not lead. */
  readonly lagMs: number | null;
  /** Known to be in the archive and not here yet; a lower bound while much is. */
  readonly lagEntryCount: number | null;
  /** By this node, since its start. */
  readonly followedCount: number;
  readonly failureCount: number;
  readonly lastError: ErrorBody | null;
}

export interface ArchiveFollowerOptions {
  readonly replica: SiteReplica;
  readonly stores: SiteStores;
  readonly clock: Clock;
  readonly onAlarm: (error: HoldfastError) => void;
}

/** Proposed at once: a few milliseconds of the log. */
const SLICE_ENTRY_COUNT_MAX = 256;
const SLICE_SIZE_BYTES_MAX = 1024 * 1024;
/** Timelines of a primary change when people restore; looking costs requests. */
const READER_AGE_MAX_MS = 10_000;
const EPOCH_LOOK_INTERVAL_MS = 5_000;
const BACK_OFF_MS = { first: 500, most: 30_000 } as const;

/** Asking again does not help: somebody has to do something. */
const ALARM_CODES: ReadonlySet<string> = new Set([
  'ARCHIVE_GAP',
  'BACKUP_CORRUPT',
  'BACKUP_KEY_WRONG',
  'FORMAT_UNKNOWN',
  'PROMOTION_REFUSED',
]);

interface OpenReader {
  readonly reader: ArchiveReader;
  readonly timeline: string;
  readonly openedMs: number;
}

export class ArchiveFollower {
  readonly #options: ArchiveFollowerOptions;
  #leadsSinceMs: number | null = null;
  #caughtUpMs: number | null = null;
  /** The position was the end of an object: the next one begins behind it. */
  #isAtObjectEnd = false;
  #open: OpenReader | null = null;
  #seenIndex = 0;
  #retryAtMs = 0;
  #nextEpochLookMs = 0;
  #failuresInARow = 0;
  #alarm: HoldfastError | null = null;
  #lastError: HoldfastError | null = null;
  #followedCount = 0;
  #failureCount = 0;

  constructor(options: ArchiveFollowerOptions) {
    this.#options = options;
  }

  /** A leadership begins. */
  begin(): void {
    this.#leadsSinceMs = this.#options.clock.monotonicMs();
    this.#caughtUpMs = null;
    this.#isAtObjectEnd = false;
    this.#open = null;
    this.#retryAtMs = 0;
    this.#nextEpochLookMs = 0;
    this.#failuresInARow = 0;
    this.#alarm = null;
    this.#lastError = null;
  }

  end(): void {
    this.#leadsSinceMs = null;
  }

  get isDue(): boolean {
    return this.#options.clock.monotonicMs() >= this.#retryAtMs;
  }

  /** Why it does not follow until somebody does something. */
  get alarm(): HoldfastError | null {
    return this.#alarm;
  }

  status(): FollowerStatus {
    const nowMs = this.#options.clock.monotonicMs();
    const source = this.#source();
    const sinceMs = this.#caughtUpMs ?? this.#leadsSinceMs;
    const isLeading = this.#leadsSinceMs !== null && source !== null && sinceMs !== null;
    return {
      state: isLeading ? this.#state(nowMs) : 'idle',
      lagMs: isLeading ? nowMs - sinceMs : null,
      lagEntryCount: isLeading ? Math.max(0, this.#seenIndex - source.index) : null,
      followedCount: this.#followedCount,
      failureCount: this.#failureCount,
      lastError: (this.#alarm ?? this.#lastError)?.toBody() ?? null,
    };
  }

  /**
   * Follows to the end of the archive as it is now, unless another cluster has taken over. Never
   * throws: what fails is in the status, and tried again.
   */
  async round(signal: AbortSignal, takenOver: () => Promise<SiteEpoch | null>): Promise<void> {
    try {
      const { clock } = this.#options;
      if (clock.monotonicMs() >= this.#nextEpochLookMs) {
        const newer = await takenOver();
        if (newer !== null) throw superseded(newer);
        this.#nextEpochLookMs = clock.monotonicMs() + EPOCH_LOOK_INTERVAL_MS;
      }
      await this.catchUp(signal);
    } catch (thrown) {
      if (!signal.aborted) this.#fail(toHoldfastError(thrown));
    }
  }

  /**
   * As `round`, and says what fails.
   * @throws HoldfastError ARCHIVE_GAP, BACKUP_CORRUPT, SINK_*, and what `propose` throws
   */
  async catchUp(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const beganMs = clock.monotonicMs();
    const source = this.#source();
    if (source === null) return;
    const { reader, timeline } = await this.#reader(source, signal);
    const store = this.#storeOf(source, timeline, signal);
    if (!this.#isAtObjectEnd || (await store.firstLogIndexAfter(source.index)) !== null) {
      this.#seenIndex = Math.max(this.#seenIndex, (await store.lastLogIndex(source.index)) ?? 0);
      await this.#walk(reader, timeline, source, signal);
    }
    refuseEnded(signal);
    this.#caughtUpMs = beganMs;
    this.#failuresInARow = 0;
    this.#alarm = null;
    this.#lastError = null;
  }

  #source(): SourcePoint | null {
    const site = this.#options.replica.site();
    return site.kind === 'standby' && site.takeover === null ? site.source : null;
  }

  #state(nowMs: number): FollowerState {
    if (this.#alarm !== null) return 'alarmed';
    return nowMs < this.#retryAtMs ? 'backingOff' : 'following';
  }

  #storeOf(source: SourcePoint, timeline: string, signal: AbortSignal) {
    const { stores } = this.#options;
    return stores.archiveIn(stores.deciding, source.clusterId, timeline, signal);
  }

  async #reader(source: SourcePoint, signal: AbortSignal): Promise<OpenReader> {
    const { clock, stores } = this.#options;
    const nowMs = clock.monotonicMs();
    if (this.#open !== null && nowMs - this.#open.openedMs < READER_AGE_MAX_MS) return this.#open;
    const storeOf = (timeline: string) => this.#storeOf(source, timeline, signal);
    const found = await findTimeline(stores.deciding, source.clusterId, storeOf, { signal });
    if (found.timeline !== this.#open?.timeline) this.#isAtObjectEnd = false;
    if (found.timeline !== source.timeline) {
      const change = { kind: 'retarget', timeline: found.timeline } as const;
      await this.#options.replica.propose({ kind: 'site', change }, PROPOSE_TIMEOUT_MS);
    }
    const reader = new ArchiveReader(storeOf(found.timeline));
    this.#open = { reader, timeline: found.timeline, openedMs: nowMs };
    return this.#open;
  }

  async #walk(
    reader: ArchiveReader,
    timeline: string,
    source: SourcePoint,
    signal: AbortSignal,
  ): Promise<void> {
    const { index, sum } = source;
    const from = { index: logIndex(index), term: term(source.term), sum: fromHex(sum) };
    this.#isAtObjectEnd = false;
    let before: Uint8Array = from.sum;
    for await (const { entries } of reader.entries(from, 'end')) {
      this.#seenIndex = Math.max(this.#seenIndex, entries.at(-1)?.index ?? 0);
      for (const slice of slicesOf(entries)) {
        refuseEnded(signal);
        before = await this.#propose(slice, before);
      }
    }
    this.#isAtObjectEnd = this.#open?.timeline === timeline;
  }

  /** The sum of the last one. */
  async #propose(entries: readonly Entry[], sumBefore: Uint8Array): Promise<Uint8Array> {
    const { replica } = this.#options;
    let before = sumBefore;
    const proposed = entries.map((entry) => {
      const command = { kind: 'follow', entry: { ...entry, sumBefore: before } } as const;
      before = entry.sum;
      return replica.propose(command, PROPOSE_TIMEOUT_MS);
    });
    const outcomes = await Promise.allSettled(proposed);
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    const last = entries.at(-1)?.index ?? logIndex(0);
    this.#checkPosition(last);
    this.#followedCount += entries.length;
    return before;
  }

  #checkPosition(last: LogIndex): void {
    const site = this.#options.replica.site();
    const index = site.kind === 'standby' ? site.source.index : null;
    if (index !== null && index >= last) return;
    throw new HoldfastFailure(
      'LEADERSHIP_LOST',
      `entries up to ${last} of the primary were proposed, and this cluster is at ${index}`,
    );
  }

  #fail(error: HoldfastError): void {
    const { clock, onAlarm } = this.#options;
    this.#failureCount += 1;
    this.#isAtObjectEnd = false;
    this.#open = null;
    if (ALARM_CODES.has(error.code)) {
      const known = this.#alarm;
      this.#alarm = withNextStep(error);
      this.#retryAtMs = clock.monotonicMs() + BACK_OFF_MS.most;
      if (known?.message !== this.#alarm.message) onAlarm(this.#alarm);
      return;
    }
    this.#lastError = error;
    this.#failuresInARow += 1;
    const doubled = BACK_OFF_MS.first * 2 ** Math.min(10, this.#failuresInARow - 1);
    this.#retryAtMs = clock.monotonicMs() + Math.min(BACK_OFF_MS.most, doubled);
  }
}

function refuseEnded(signal: AbortSignal): void {
  if (!signal.aborted) return;
  throw new HoldfastFailure('LEADERSHIP_LOST', 'this node leads no more, or stops');
}

function withNextStep(error: HoldfastError): HoldfastError {
  const { code, details, message } = error;
  if (code === 'PROMOTION_REFUSED') return error;
  const next =
    'the standby does not follow any more: mend the store, or make a new standby from a newer ' +
    'backup (holdfast restore plan --standby)';
  return new HoldfastFailure(code, `${message}; ${next}`, { details, cause: error });
}

function* slicesOf(entries: readonly Entry[]): Generator<readonly Entry[], void, undefined> {
  let slice: Entry[] = [];
  let sizeBytes = 0;
  for (const entry of entries) {
    const isFull =
      slice.length >= SLICE_ENTRY_COUNT_MAX ||
      sizeBytes + entry.data.byteLength > SLICE_SIZE_BYTES_MAX;
    if (slice.length > 0 && isFull) {
      yield slice;
      slice = [];
      sizeBytes = 0;
    }
    slice.push(entry);
    sizeBytes += entry.data.byteLength;
  }
  if (slice.length > 0) yield slice;
}
