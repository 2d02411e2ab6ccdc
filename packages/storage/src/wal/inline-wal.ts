/**
 * The WAL without a thread, for simulation and unit tests: the same writer, driven by hand.
 * `flush` makes one batch durable, `deliver` tells about it; between the two a simulator may let
 * time pass, or crash. With a `schedule` the WAL asks for its own turns.
 */
import type { Clock, Entry, GroupId, LogIndex, TimerHandle, Timers } from '@holdfast/base';
import { HoldfastError, must } from '@holdfast/base';
import type { FileSystem } from '../fs.ts';
import { classifyWriteError } from '../write-errors.ts';
import type { EpochRecord } from './epoch-file.ts';
import type { ClosedWalFile, WalFileFacts } from './file-facts.ts';
import { recoverWal } from './recovery.ts';
import type { TornTail } from './scan.ts';
import type { WalFlaw } from './scrub.ts';
import { pacedOptions } from './sync-pace.ts';
import type {
  DurableListener,
  GroupLog,
  LogAppend,
  LogBase,
  Wal,
  WalFailureListener,
  WalOptions,
  WalOrder,
  WalStats,
  WalWritesListener,
} from './types.ts';
import { DEFAULT_WAL_OPTIONS } from './types.ts';
import type { Mending } from './wal-front.ts';
import { WalFront } from './wal-front.ts';
import type { BatchPlace, WalWriter } from './wal-writer.ts';
import { CONFIRM_IDLE_MS } from './wal-writer.ts';
import type { WalWrites } from './write-retry.ts';
import { WriteRetry } from './write-retry.ts';
import { isBlockedError } from './writer-errors.ts';

export interface InlineWalOptions {
  readonly fileSystem: FileSystem;
  readonly directory: string;
  readonly options?: Partial<WalOptions>;
  /** Measures syncs; without it they take 0 ms. */
  readonly clock?: Pick<Clock, 'monotonicMs'>;
  /**
   * Called when there is work: run the task later, never at once, and not before `delayMs`.
   * Without it call `pump`.
   */
  readonly schedule?: Schedule;
  /** How long the disk stood still since this was last asked: answers are that late. */
  readonly takeStallMs?: () => number;
  /** Confirms the last batch when the log has been quiet; without it call `confirm`. */
  readonly timers?: Timers;
}

export type Schedule = (task: () => void, delayMs: number) => void;

const STOPPED_CLOCK = { monotonicMs: () => 0 };
/** At least this much of the next file is prepared after each batch. */
const PREPARE_SIZE_BYTES_MIN = 64 * 1024;

export class InlineWal implements Wal {
  readonly #front: WalFront;
  readonly #writer: WalWriter;
  readonly #options: WalOptions;
  readonly #schedule: Schedule | null;
  readonly #takeStallMs: () => number;
  readonly #timers: Timers | null;
  #confirmTimer: TimerHandle | null = null;
  /** What recovery cut off, for the log of the node. */
  readonly tornTail: TornTail | null;
  #frames: Uint8Array[] = [];
  #completions: {
    readonly frameCount: number;
    readonly place: BatchPlace;
    readonly closedFiles: readonly ClosedWalFile[];
  }[] = [];
  #isScheduled = false;
  /** Frames of the batch that the disk refuses; null while it refuses none. */
  #blockedFrameCount: number | null = null;
  #retryAtMs = 0;
  readonly #retry: WriteRetry;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  #isClosed = false;

  /** @throws HoldfastError WAL_CORRUPT, FORMAT_UNKNOWN, FILE_IO, WAL_IO */
  static open(options: InlineWalOptions): InlineWal {
    return new InlineWal(options);
  }

  private constructor(settings: InlineWalOptions) {
    this.#options = pacedOptions({ ...DEFAULT_WAL_OPTIONS, ...settings.options });
    this.#schedule = settings.schedule ?? null;
    this.#timers = settings.timers ?? null;
    this.#takeStallMs = settings.takeStallMs ?? (() => 0);
    const clock = settings.clock ?? STOPPED_CLOCK;
    this.#clock = clock;
    this.#retry = new WriteRetry(this.#options.writeRetry);
    const { fileSystem, directory } = settings;
    const recovered = recoverWal(fileSystem, directory, this.#options, clock);
    this.#writer = recovered.writer;
    this.#front = new WalFront(recovered, this.#options);
    this.tornTail = recovered.tornTail;
  }

  append(append: LogAppend): number {
    const { ticket, frame } = this.#front.admit(append);
    if (frame !== null) this.#frames.push(frame);
    this.#requestTurn();
    return ticket;
  }

  compact(group: GroupId, base: LogBase): void {
    const frame = this.#front.compact(group, base);
    if (frame === null) return;
    this.#frames.push(frame);
    this.#requestTurn();
  }

  async repair(group: GroupId, entries: readonly Entry[]): Promise<void> {
    return this.#mend(this.#front.repair(group, entries));
  }

  async discardDamaged(group: GroupId, from: LogIndex): Promise<void> {
    return this.#mend(this.#front.discardDamaged(group, from));
  }

  async rewrite(group: GroupId, entries: readonly Entry[], committed: LogIndex): Promise<void> {
    return this.#mend(this.#front.rewrite(group, entries, committed));
  }

  /** Between two batches, so at once. */
  async mend(order: WalOrder): Promise<void> {
    if (this.#isClosed) throw new HoldfastError('SHUTTING_DOWN', 'the log is closed');
    if (this.#front.failure !== null) throw this.#front.failure;
    try {
      this.#writer.mend(order);
    } catch (error) {
      this.#fail(error);
      throw error;
    }
  }

  distrustHead(fileId: number): void {
    this.#front.distrustHead(fileId);
  }

  entriesIn(group: GroupId, fileId: number, from: number, to: number): readonly LogIndex[] {
    return this.#front.entriesIn(group, fileId, from, to);
  }

  entriesLostBy(group: GroupId, flaw: WalFlaw): readonly LogIndex[] {
    return this.#front.entriesLostBy(group, flaw);
  }

  /** Nothing to do: it writes only in its own turns. */
  cork(): void {}

  uncork(): void {}

  onDurable(listener: DurableListener): void {
    this.#front.onDurable(listener);
  }

  onFailure(listener: WalFailureListener): void {
    this.#front.onFailure(listener);
  }

  groupLog(group: GroupId): GroupLog {
    return this.#front.groupLog(group);
  }

  groups(): readonly GroupId[] {
    return this.#front.groups();
  }

  writes(): WalWrites {
    return this.#front.writes;
  }

  probeWrites(): void {
    if (this.#blockedFrameCount === null) return;
    // The turn is scheduled: a refused write is looked after a few times a second.
    this.#retry.allowProbe(this.#clock.monotonicMs());
    this.#retryAtMs = this.#clock.monotonicMs();
  }

  onWrites(listener: WalWritesListener): void {
    this.#front.onWrites(listener);
  }

  stats(): WalStats {
    return this.#front.stats(this.#writer.stats);
  }

  files(): readonly WalFileFacts[] {
    return this.#front.files();
  }

  get epoch(): EpochRecord {
    return this.#front.epoch;
  }

  /** True when `pump` has something to do. */
  get hasWork(): boolean {
    return this.#frames.length > 0 || this.stats().queueDepth > 0;
  }

  /** Writes and reports everything that is queued. */
  pump(): void {
    while (this.#frames.length > 0 && this.#front.failure === null) if (!this.flush()) break;
    this.deliver();
  }

  /**
   * Makes one batch of what is queued durable, without telling. False when nothing was queued, or
   * the disk refuses it: then every call tries again when the time has come.
   */
  flush(): boolean {
    if (this.#blockedFrameCount !== null) return this.#flushBlocked(this.#blockedFrameCount);
    if (this.#frames.length === 0 || this.#front.failure !== null) return false;
    const frames = this.#takeBatch();
    const payload = Buffer.concat(frames);
    try {
      const place = this.#writer.writeBatch(payload);
      const closedFiles = this.#writer.takeClosedFiles();
      this.#completions.push({ frameCount: frames.length, place, closedFiles });
      this.#writer.prepareNextFile(Math.max(PREPARE_SIZE_BYTES_MIN, 2 * payload.byteLength));
      this.#confirmLater();
    } catch (error) {
      if (!isBlockedError(error)) this.#fail(error);
      else return this.#onBlocked(error, frames.length);
    }
    return true;
  }

  /** Confirms the last batch, as the thread does when the log is quiet. True when it wrote. */
  confirm(): boolean {
    if (this.#isClosed || this.#front.failure !== null) return false;
    if (this.#blockedFrameCount !== null) return false;
    if (this.#writer.confirmAtMs === null) return false;
    try {
      return this.#writer.confirm();
    } catch (error) {
      if (isBlockedError(error)) this.#onBlocked(error, 0);
      else this.#fail(error);
      return false;
    }
  }

  /** Tells the listeners about every batch that `flush` made durable. */
  deliver(): void {
    const completions = this.#completions;
    this.#completions = [];
    for (const { closedFiles, frameCount, place } of completions) {
      const releasable = this.#front.completed(frameCount, place, closedFiles);
      if (releasable === null) continue;
      try {
        this.#writer.releaseFilesBelow(releasable);
      } catch (error) {
        this.#fail(error);
      }
    }
    this.#front.reportDurable();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#confirmTimer?.cancel();
    for (const frame of this.#front.startClosing()) this.#frames.push(frame);
    this.pump();
    this.#front.closeReaders();
    if (this.#front.failure === null) this.#writer.close();
    else this.#writer.abandon();
  }

  /** False: it waits for its disk. */
  #onBlocked(error: HoldfastError, frameCount: number): false {
    this.#blockedFrameCount = frameCount;
    const facts = must(classifyWriteError(error.cause), 'a refusal was classified before');
    const delayMs = this.#retry.refused(facts, this.#clock.monotonicMs());
    this.#front.noteWrites(this.#retry.writes);
    this.#retryAtMs = this.#clock.monotonicMs() + delayMs;
    this.#requestTurn(delayMs);
    return false;
  }

  #flushBlocked(frameCount: number): boolean {
    if (this.#front.failure !== null) return false;
    const nowMs = this.#clock.monotonicMs();
    const isEarly = this.#schedule !== null && nowMs < this.#retryAtMs;
    if (isEarly || !this.#retry.mayTry(nowMs, this.#writer.hasRoom)) {
      this.#requestTurn(isEarly ? this.#retryAtMs - nowMs : this.#retry.waitMs(nowMs));
      return false;
    }
    try {
      const place = this.#writer.resume();
      this.#blockedFrameCount = null;
      this.#retry.succeeded();
      this.#front.noteWrites(this.#retry.writes);
      const closedFiles = this.#writer.takeClosedFiles();
      if (frameCount > 0) this.#completions.push({ frameCount, place, closedFiles });
      this.#confirmLater();
      return true;
    } catch (error) {
      if (isBlockedError(error)) return this.#onBlocked(error, frameCount);
      this.#fail(error);
      return true;
    }
  }

  #mend({ frames, settled }: Mending): Promise<void> {
    this.#frames.push(...frames);
    this.#requestTurn();
    return settled;
  }

  #takeBatch(): Uint8Array[] {
    let size = 0;
    let count = 0;
    for (const frame of this.#frames) {
      size += frame.byteLength;
      if (count > 0 && size > this.#options.batchSizeBytesMax) break;
      count += 1;
    }
    return this.#frames.splice(0, count);
  }

  #requestTurn(delayMs = 0): void {
    if (this.#schedule === null || this.#isScheduled) return;
    this.#isScheduled = true;
    this.#schedule(() => {
      this.#isScheduled = false;
      if (!this.#isClosed) this.#turn();
    }, delayMs);
  }

  /** One batch after another; while the disk stands still nothing is told and nothing written. */
  #turn(): void {
    this.deliver();
    while (this.flush()) {
      const stallMs = this.#takeStallMs();
      if (stallMs > 0) {
        this.#requestTurn(stallMs);
        return;
      }
      this.deliver();
    }
  }

  #confirmLater(): void {
    this.#confirmTimer?.cancel();
    const delayMs = (this.#writer.confirmAtMs ?? 0) - this.#clock.monotonicMs();
    this.#confirmTimer =
      this.#timers?.after(Math.max(CONFIRM_IDLE_MS, delayMs), () => {
        this.#confirmTimer = null;
        if (this.#frames.length === 0) this.confirm();
      }) ?? null;
  }

  #fail(error: unknown): void {
    // Anything else is a crash of the simulated machine or a broken invariant: not handled here.
    if (!(error instanceof HoldfastError)) throw error;
    this.#front.fail(error);
  }
}
