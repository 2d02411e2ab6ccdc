/**
 * Sealing on a thread of its own, so that no backup holds back the event loop of the node by
 * hashing, compressing or encrypting. One thread for all stores: it is started by the first
 * question and ended when no file is open and nobody has asked for a while, so between two backups
 * a node pays nothing. A thread that dies fails the backups that it worked for; the next question
 * has a new one.
 */
import { Worker } from 'node:worker_threads';
import type { Logger, TimerHandle, Timers } from '@holdfast/base';
import { HoldfastError, unreachable } from '@holdfast/base';
import type { PinnedFile } from '../checkpoint-source.ts';
import type { FileFacts } from '../file-facts.ts';
import type { ContentDigest, DigestOptions } from '../sinks/sink.ts';
import type { SealedFrames, SealingPlace, SealOrder } from './file-frames.ts';
import { throwAborted } from './file-frames.ts';
import type {
  OpenedFrames,
  SealAnswers,
  SealQuestion,
  SealThreadReply,
  SealThreadRequest,
} from './seal-thread-protocol.ts';

const IDLE_MS_MAX = 5_000;
/** Frames pass through buffers, not the heap. */
const RESOURCE_LIMITS = { maxYoungGenerationSizeMb: 8, maxOldGenerationSizeMb: 128 };

export interface SealThreadOptions {
  readonly timers: Timers;
  readonly logger: Logger;
  /** Program of the thread; for tests, which make it fail. */
  readonly worker?: URL;
}

interface Waiting {
  resolve(answer: unknown): void;
  reject(error: HoldfastError): void;
}

type Unnumbered<Question> = Question extends unknown ? Omit<Question, 'id'> : never;

export class SealThread implements SealingPlace {
  readonly #options: SealThreadOptions;
  #worker: Worker | null = null;
  readonly #waiting = new Map<number, Waiting>();
  readonly #openFiles = new Set<number>();
  #askedCount = 0;
  #idleTimer: TimerHandle | null = null;
  #isStopped = false;

  constructor(options: SealThreadOptions) {
    this.#options = options;
  }

  /** True while the thread exists. */
  get isUp(): boolean {
    return this.#worker !== null;
  }

  async examine(file: PinnedFile, signal?: AbortSignal): Promise<FileFacts> {
    return this.#ask('examine', { kind: 'examine', file }, file.path, signal).answer;
  }

  async open(order: SealOrder, signal?: AbortSignal): Promise<SealedFrames> {
    const asked = this.#ask('open', { kind: 'open', order }, order.fullPath, signal);
    const worker = this.#worker;
    // Also one that was aborted meanwhile, or opened after that.
    const close = (): void => this.#close(worker, asked.id);
    this.#openFiles.add(asked.id);
    try {
      return new FramesThere(this, asked.id, order.fullPath, await asked.answer, close);
    } catch (error) {
      close();
      throw error;
    }
  }

  frame(fileId: number, number: number, path: string): Promise<Uint8Array> {
    return this.#ask('frame', { kind: 'frame', fileId, number }, path).answer;
  }

  digest(fileId: number, options: DigestOptions, path: string): Promise<ContentDigest> {
    const { isMd5Needed, signal } = options;
    return this.#ask('digest', { kind: 'digest', fileId, isMd5Needed }, path, signal).answer;
  }

  /** Rejects what is under way. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#rejectAll(new HoldfastError('SHUTTING_DOWN', 'the node stops: no backup goes on'));
    await this.#letGo()?.terminate();
  }

  #ask<Kind extends SealQuestion['kind']>(
    _kind: Kind,
    question: Unnumbered<SealQuestion>,
    path: string,
    signal?: AbortSignal,
  ): { readonly id: number; readonly answer: Promise<SealAnswers[Kind]> } {
    if (this.#isStopped) throw new HoldfastError('SHUTTING_DOWN', 'the node stops');
    throwAborted(path, signal);
    this.#worker ??= this.#start();
    const worker = this.#worker;
    this.#idleTimer?.cancel();
    this.#idleTimer = null;
    worker.ref();
    this.#askedCount += 1;
    const id = this.#askedCount;
    tell(worker, { ...question, id });
    const onAbort = (): void => {
      tell(worker, { kind: 'abort', id });
      const reason = new HoldfastError('ABORTED', `the transfer of ${path} was aborted`);
      this.#settle(id)?.reject(reason);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    }).finally(() => signal?.removeEventListener('abort', onAbort));
    return { id, answer: answer as Promise<SealAnswers[Kind]> };
  }

  /** The file is open in that thread or, when it has died since, nowhere. */
  #close(worker: Worker | null, fileId: number): void {
    if (!this.#openFiles.delete(fileId) || worker === null || worker !== this.#worker) return;
    tell(worker, { kind: 'close', fileId });
    this.#rest();
  }

  #start(): Worker {
    const { worker: program = new URL('./seal-worker.js', import.meta.url) } = this.#options;
    const worker = new Worker(program, {
      ...{ name: 'holdfast-seal', resourceLimits: RESOURCE_LIMITS },
    });
    worker.on('message', (message: SealThreadReply) => this.#onReply(message));
    worker.on('error', (error) => this.#onDeath(worker, error));
    worker.on('exit', () => this.#onDeath(worker, null));
    return worker;
  }

  #onReply(reply: SealThreadReply): void {
    switch (reply.kind) {
      case 'answer':
        this.#settle(reply.id)?.resolve(reply.answer);
        return;
      case 'refused':
        this.#settle(reply.id)?.reject(HoldfastError.fromBody(reply.error));
        return;
      default:
        unreachable(reply);
    }
  }

  /** Undefined when it was aborted before. */
  #settle(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    this.#rest();
    return waiting;
  }

  /** When there is nothing left to do. */
  #rest(): void {
    if (this.#waiting.size > 0 || this.#worker === null) return;
    this.#worker.unref();
    if (this.#openFiles.size > 0 || this.#idleTimer !== null) return;
    this.#idleTimer = this.#options.timers.after(IDLE_MS_MAX, () => {
      void this.#letGo()?.terminate();
    });
  }

  #onDeath(worker: Worker, cause: unknown): void {
    if (worker !== this.#worker) return;
    this.#options.logger.error({ error: String(cause) }, 'the sealing thread has died');
    this.#letGo();
    this.#openFiles.clear();
    const message = 'the thread that seals backups has died: start the backup again';
    this.#rejectAll(
      new HoldfastError('INTERNAL', message, { ...(cause === null ? {} : { cause }) }),
    );
  }

  #letGo(): Worker | null {
    const worker = this.#worker;
    this.#worker = null;
    this.#idleTimer?.cancel();
    this.#idleTimer = null;
    return worker;
  }

  #rejectAll(reason: HoldfastError): void {
    for (const { reject } of this.#waiting.values()) reject(reason);
    this.#waiting.clear();
  }
}

/** Frames of a file that is open in the thread. */
class FramesThere implements SealedFrames {
  readonly header: Uint8Array;
  readonly starts: readonly number[];
  readonly #thread: SealThread;
  readonly #fileId: number;
  readonly #path: string;
  readonly #close: () => void;

  constructor(
    thread: SealThread,
    fileId: number,
    path: string,
    opened: OpenedFrames,
    close: () => void,
  ) {
    this.header = opened.header;
    this.starts = opened.starts;
    this.#thread = thread;
    this.#fileId = fileId;
    this.#path = path;
    this.#close = close;
  }

  async frame(number: number): Promise<Uint8Array> {
    return this.#thread.frame(this.#fileId, number, this.#path);
  }

  async digest(options: DigestOptions): Promise<ContentDigest> {
    return this.#thread.digest(this.#fileId, options, this.#path);
  }

  close(): void {
    this.#close();
  }
}

const tell = (worker: Worker, request: SealThreadRequest): void => worker.postMessage(request);
