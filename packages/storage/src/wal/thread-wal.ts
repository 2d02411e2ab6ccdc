/**
 * The WAL of a running node: writing and syncing on a dedicated thread, so that a sync never blocks
 * the event loop and never waits behind the libuv pool. Recovery runs on the calling thread before
 * the worker starts. Answers come by postMessage; the worker keeps the process alive until `close`.
 */
import { Worker } from 'node:worker_threads';
import type { Clock, Entry, GroupId, LogIndex } from '@holdfast/base';
import { failpoint, HoldfastError, unreachable } from '@holdfast/base';
import { NodeFileSystem } from '../node-fs.ts';
import type { EpochRecord } from './epoch-file.ts';
import type { WalFileFacts } from './file-facts.ts';
import { recoverWal } from './recovery.ts';
import type { TornTail } from './scan.ts';
import type { WalFlaw } from './scrub.ts';
import { createRingMemory, RingProducer } from './shared-ring.ts';
import { pacedOptions } from './sync-pace.ts';
import type { WalThreadInput, WalThreadReply } from './thread-protocol.ts';
import { FRAME_APPEND, FRAME_CLOSE, FRAME_ORDER, FRAME_RELEASE } from './thread-protocol.ts';
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
import type { WriterStats } from './wal-writer.ts';
import type { WalWrites } from './write-retry.ts';

export interface ThreadWalOptions {
  readonly directory: string;
  readonly options?: Partial<WalOptions>;
  /** Times the batches of recovery; the thread has its own clock. */
  readonly clock: Pick<Clock, 'monotonicMs'>;
  /** Size of the shared ring: a power of two. For tests; the default suits a node. */
  readonly ringSizeBytes?: number;
}

const EMPTY = new Uint8Array(0);

/** Batches pass through buffers, not the heap: without a limit V8 keeps up to 48 MB for nothing. */
const WAL_RESOURCE_LIMITS = { maxYoungGenerationSizeMb: 4 };

export class ThreadWal implements Wal {
  readonly #front: WalFront;
  readonly #worker: Worker;
  readonly #ring: RingProducer;
  /** What recovery cut off, for the log of the node. */
  readonly tornTail: TornTail | null;
  #stats: WriterStats;
  #isReportQueued = false;
  #closing: Promise<void> | null = null;
  #hasExited = false;
  /** The thread said that everything is written and confirmed. */
  #isConfirmedClosed = false;
  #resolveExit: () => void = () => {};
  /** Orders that were not answered yet, oldest first. */
  #orders: { resolve(): void; reject(error: HoldfastError): void }[] = [];

  /** @throws HoldfastError WAL_CORRUPT, FORMAT_UNKNOWN, FILE_IO, WAL_IO */
  static open(settings: ThreadWalOptions): ThreadWal {
    return new ThreadWal(settings);
  }

  private constructor(settings: ThreadWalOptions) {
    const options = pacedOptions({ ...DEFAULT_WAL_OPTIONS, ...settings.options });
    const fileSystem = new NodeFileSystem();
    const recovered = recoverWal(fileSystem, settings.directory, options, settings.clock);
    this.#front = new WalFront(recovered, options);
    this.tornTail = recovered.tornTail;
    this.#stats = recovered.writer.stats;
    const state = recovered.writer.state();
    recovered.writer.abandon();
    const ring = createRingMemory(settings.ringSizeBytes);
    this.#ring = new RingProducer(ring);
    const workerData: WalThreadInput = { ring, state, options };
    this.#worker = new Worker(new URL('./wal-worker.js', import.meta.url), {
      workerData,
      name: 'holdfast-wal',
      resourceLimits: WAL_RESOURCE_LIMITS,
    });
    this.#front.onFailure((error) => {
      for (const order of this.#orders.splice(0)) order.reject(error);
    });
    this.#worker.on('message', (message: WalThreadReply) => this.#onReply(message));
    this.#worker.on('error', (error) => this.#onDeath(error));
    this.#worker.on('exit', () => {
      this.#hasExited = true;
      this.#onDeath(null);
      this.#resolveExit();
    });
  }

  append(append: LogAppend): number {
    const { ticket, frame } = this.#front.admit(append);
    if (frame !== null) this.#ring.push(FRAME_APPEND, frame);
    else this.#queueReport();
    return ticket;
  }

  compact(group: GroupId, base: LogBase): void {
    const frame = this.#front.compact(group, base);
    if (frame !== null) this.#ring.push(FRAME_APPEND, frame);
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

  mend(order: WalOrder): Promise<void> {
    const { failure } = this.#front;
    if (failure !== null) return Promise.reject(failure);
    if (this.#closing !== null) {
      return Promise.reject(new HoldfastError('SHUTTING_DOWN', 'the log is closed'));
    }
    this.#ring.push(FRAME_ORDER, Buffer.from(JSON.stringify(order), 'utf8'));
    return new Promise((resolve, reject) => {
      this.#orders.push({ resolve, reject });
    });
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

  cork(): void {
    this.#ring.cork();
  }

  uncork(): void {
    this.#ring.uncork();
  }

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
    if (this.#front.writes.state !== 'closed') this.#ring.hurry();
  }

  onWrites(listener: WalWritesListener): void {
    this.#front.onWrites(listener);
  }

  stats(): WalStats {
    return this.#front.stats(this.#stats);
  }

  files(): readonly WalFileFacts[] {
    return this.#front.files();
  }

  get epoch(): EpochRecord {
    return this.#front.epoch;
  }

  /** After a failure it only waits for the thread to end; the failure was told already. */
  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      failpoint('stop.before-log-close');
      this.#resolveExit = () => {
        this.#front.closeReaders();
        resolve();
      };
      for (const frame of this.#front.startClosing()) this.#ring.push(FRAME_APPEND, frame);
      this.#ring.push(FRAME_CLOSE, EMPTY);
      this.#endBlocked();
      if (this.#hasExited) this.#resolveExit();
    });
    return this.#closing;
  }

  #mend({ frames, settled }: Mending): Promise<void> {
    for (const frame of frames) this.#ring.push(FRAME_APPEND, frame);
    return settled;
  }

  #onReply(message: WalThreadReply): void {
    switch (message.kind) {
      case 'durable': {
        this.#stats = message.stats;
        const { closedFiles, frameCount, place } = message;
        const releasable = this.#front.completed(frameCount, place, closedFiles);
        if (releasable !== null) this.#release(releasable);
        return;
      }
      case 'mended':
        this.#orders.shift()?.resolve();
        return;
      case 'writes':
        this.#front.noteWrites(message.writes);
        if (this.#closing !== null) this.#endBlocked();
        return;
      case 'space':
        this.#ring.pump();
        return;
      case 'failed':
        this.#front.fail(asWalIo(HoldfastError.fromBody(message.error)));
        return;
      case 'closed':
        this.#isConfirmedClosed = true;
        this.#stats = message.stats;
        this.#front.reportDurable();
        return;
      default:
        unreachable(message);
    }
  }

  /**
   * A closing log whose disk refuses what waits would wait for ever. Nothing of it was
   * acknowledged: it ends as in a crash.
   */
  #endBlocked(): void {
    if (this.#front.writes.state === 'closed') return;
    this.#isConfirmedClosed = true;
    void this.#worker.terminate();
  }

  #release(fileId: number): void {
    if (this.#closing !== null) return;
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setFloat64(0, fileId, true);
    this.#ring.push(FRAME_RELEASE, bytes);
  }

  /** Reports appends that have nothing to write, after the caller's turn. */
  #queueReport(): void {
    if (this.#isReportQueued) return;
    this.#isReportQueued = true;
    queueMicrotask(() => {
      this.#isReportQueued = false;
      this.#front.reportDurable();
    });
  }

  #onDeath(cause: unknown): void {
    if (this.#isConfirmedClosed || this.#front.failure !== null) return;
    this.#front.fail(
      new HoldfastError('WAL_IO', 'the WAL thread has ended; restart the node', {
        ...(cause === null ? {} : { cause }),
      }),
    );
  }
}

/** A broken invariant on the thread stops the log as a failed disk does. */
function asWalIo(error: HoldfastError): HoldfastError {
  if (error.code === 'WAL_IO') return error;
  const { details } = error;
  return new HoldfastError('WAL_IO', `the WAL thread failed: ${error.message}; restart the node`, {
    details,
    cause: error,
  });
}
