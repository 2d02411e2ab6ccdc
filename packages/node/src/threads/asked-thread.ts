/**
 * The life of a thread that answers numbered questions. It is started by the first one and ended
 * when nobody has asked for a while, so a node pays nothing for a thread without work.
 *
 * Invariants: every question that was taken is settled once: by its answer, its abort, the death of
 * the thread or `stop`. A thread that dies is no failure of the node: what it was asked is
 * rejected, and the next question has a new one. Nothing that an old thread says counts any more.
 */
import type { ResourceLimits } from 'node:worker_threads';
import { Worker } from 'node:worker_threads';
import type { Logger, TimerHandle, Timers } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import type { ThreadReply } from './thread-reply.ts';

/** Longer than the pause in which a finding of the scrubber is confirmed and its repair begins. */
const IDLE_MS_MAX = 5_000;
/** Whoever asks waits for its answers, a few at a time: so many are asked by nobody who waits. */
const QUESTION_COUNT_MAX = 1_024;

export interface AskedThreadOptions<Told> {
  /** Of the thread in the system. */
  readonly name: string;
  /** For messages, such as `the scrub thread`. */
  readonly title: string;
  readonly program: URL;
  readonly resourceLimits: ResourceLimits;
  readonly timers: Timers;
  readonly logger: Logger;
  /** What those who wait are told when it dies, and when it was stopped. */
  readonly died: string;
  readonly stopped: string;
  /** Data for each new thread. Throws a HoldfastError when none may be started now. */
  readonly start?: () => unknown;
  /** It holds something for somebody although nothing is asked: it is not ended. */
  readonly isHeld?: () => boolean;
  /** Deaths in a row, without an answer in between. Before those who wait are told. */
  readonly onDeath?: (deathCount: number) => void;
  /** What it says without having been asked. */
  readonly onTold?: (message: Told) => void;
  readonly questionCountMax?: number;
}

export interface AskOptions {
  readonly signal?: AbortSignal | undefined;
  /** Message of the rejection after an abort. */
  readonly aborted: string;
}

export interface Asked {
  /** New in every question. */
  readonly id: number;
  readonly answer: Promise<unknown>;
}

interface Waiting {
  resolve(answer: unknown): void;
  reject(error: HoldfastError): void;
}

export class AskedThread<
  Question extends { readonly kind: string },
  Told extends { readonly kind: string } = never,
> {
  readonly #options: AskedThreadOptions<Told>;
  #worker: Worker | null = null;
  readonly #waiting = new Map<number, Waiting>();
  #askedCount = 0;
  #deathCount = 0;
  #idleTimer: TimerHandle | null = null;
  #isStopped = false;

  constructor(options: AskedThreadOptions<Told>) {
    this.#options = options;
  }

  /** True while the thread exists. */
  get isUp(): boolean {
    return this.#worker !== null;
  }

  /**
   * Asks, in a new thread if there is none. After an abort the thread is told `abort` with the id,
   * and nobody waits for its answer any more.
   * @throws HoldfastError SHUTTING_DOWN, OVERLOADED, ABORTED, and what `start` throws
   */
  ask(question: Question, { aborted, signal }: AskOptions): Asked {
    const { questionCountMax = QUESTION_COUNT_MAX, stopped, title } = this.#options;
    if (this.#isStopped) throw new HoldfastError('SHUTTING_DOWN', stopped);
    if (signal?.aborted) throw new HoldfastError('ABORTED', aborted, { cause: signal.reason });
    const waitingCount = this.#waiting.size;
    if (waitingCount >= questionCountMax)
      throw new HoldfastError('OVERLOADED', `${title} has ${waitingCount} questions; ask later`);
    this.#worker ??= this.#start();
    const worker = this.#worker;
    const id = this.#askedCount + 1;
    worker.postMessage({ ...question, id });
    this.#askedCount = id;
    this.#stayUp(worker);
    const onAbort = (): void => {
      worker.postMessage({ kind: 'abort', id });
      const reason = new HoldfastError('ABORTED', aborted, { cause: signal?.reason });
      this.#settle(id)?.reject(reason);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    }).finally(() => signal?.removeEventListener('abort', onAbort));
    return { id, answer };
  }

  /** Says something that has no answer, if there is a thread. */
  tell(message: { readonly kind: string; readonly [field: string]: unknown }): void {
    this.#worker?.postMessage(message);
  }

  /** To be called when `isHeld` has become false: a thread without work is ended after a while. */
  rest(): void {
    if (this.#waiting.size > 0 || this.#worker === null) return;
    this.#worker.unref();
    if (this.#options.isHeld?.() || this.#idleTimer !== null) return;
    this.#idleTimer = this.#options.timers.after(IDLE_MS_MAX, () => {
      void this.#letGo()?.terminate();
    });
  }

  /** Rejects what waits and every later question. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#rejectAll(new HoldfastError('SHUTTING_DOWN', this.#options.stopped));
    await this.#letGo()?.terminate();
  }

  #start(): Worker {
    const { name, program, resourceLimits, start } = this.#options;
    const worker = new Worker(program, { name, resourceLimits, workerData: start?.() });
    worker.on('message', (message: ThreadReply | Told) => this.#onMessage(worker, message));
    worker.on('error', (error) => this.#onDeath(worker, error));
    worker.on('exit', () => this.#onDeath(worker, null));
    return worker;
  }

  #stayUp(worker: Worker): void {
    this.#idleTimer?.cancel();
    this.#idleTimer = null;
    worker.ref();
  }

  #onMessage(worker: Worker, message: ThreadReply | Told): void {
    if (worker !== this.#worker) return;
    if (!isReply(message)) {
      this.#options.onTold?.(message);
      return;
    }
    this.#deathCount = 0;
    const waiting = this.#settle(message.id);
    if (message.kind === 'answer') waiting?.resolve(message.answer);
    else waiting?.reject(HoldfastError.fromBody(message.error));
  }

  /** Undefined when it was aborted before. */
  #settle(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    this.rest();
    return waiting;
  }

  #onDeath(worker: Worker, cause: unknown): void {
    if (worker !== this.#worker) return;
    const { died, logger, onDeath, title } = this.#options;
    this.#deathCount += 1;
    logger.error({ error: String(cause), deaths: this.#deathCount }, `${title} has died`);
    this.#letGo();
    onDeath?.(this.#deathCount);
    this.#rejectAll(new HoldfastError('INTERNAL', died, { ...(cause === null ? {} : { cause }) }));
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

const isReply = (message: { readonly kind: string }): message is ThreadReply =>
  message.kind === 'answer' || message.kind === 'refused';
