/**
 * Reads for the scrubber on a thread of its own, so that neither reading nor hashing holds back the
 * event loop of the node. The thread is started by the first look and ended when nobody has asked
 * for a while: between two passes a node pays nothing for it.
 *
 * A thread that dies is no failure of the node: what it was asked is rejected, which ends a pass,
 * and the next one has a new thread after a pause that grows.
 */
import { Worker } from 'node:worker_threads';
import type { Clock, Logger, TimerHandle, Timers } from '@holdfast/base';
import { HoldfastError, unreachable } from '@holdfast/base';
import type { ScrubJob, ScrubLook } from '@holdfast/storage';
import type { Pause } from '../replica/slices.ts';
import type { Looked, ScrubReader } from './scrub-reader.ts';
import type {
  ScrubThreadInput,
  ScrubThreadReply,
  ScrubThreadRequest,
} from './scrub-thread-protocol.ts';

/** Longer than the pause in which a finding is confirmed and its repair begins. */
const IDLE_MS_MAX = 5_000;
const RESTART_DELAY_MS_MIN = 1_000;
const RESTART_DELAY_MS_MAX = 60_000;
/** Bytes pass through buffers, not the heap; what is left is flaws, of a file that is all rot. */
const RESOURCE_LIMITS = { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 64 };

export interface ScrubThreadOptions {
  /** 0: no limit. */
  readonly bytesPerSecMax: number;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly timers: Timers;
  readonly pause: Pause;
  readonly logger: Logger;
  /** Program of the thread; for tests, which make it fail. */
  readonly worker?: URL;
}

interface Waiting {
  resolve(looked: Looked): void;
  reject(error: HoldfastError): void;
}

export class ScrubThread implements ScrubReader {
  readonly #options: ScrubThreadOptions;
  #bytesPerSecMax: number;
  #worker: Worker | null = null;
  readonly #waiting = new Map<number, Waiting>();
  #askedCount = 0;
  #idleTimer: TimerHandle | null = null;
  /** In a row, without an answer in between. */
  #deathCount = 0;
  #mayStartAtMs = 0;
  #isStopped = false;

  constructor(options: ScrubThreadOptions) {
    this.#options = options;
    this.#bytesPerSecMax = options.bytesPerSecMax;
  }

  get bytesPerSecMax(): number {
    return this.#bytesPerSecMax;
  }

  set bytesPerSecMax(bytesPerSecMax: number) {
    this.#bytesPerSecMax = bytesPerSecMax;
    if (this.#worker !== null) tell(this.#worker, { kind: 'rate', bytesPerSecMax });
  }

  /** True while the thread exists. */
  get isUp(): boolean {
    return this.#worker !== null;
  }

  async look(look: ScrubLook): Promise<Looked> {
    if (look.kind === 'small') return this.#readSmall(look.steps);
    const { flaws, sizeBytes } = await this.#ask(look.job);
    return { flaws: look.judge(flaws), sizeBytes };
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#rejectAll(new HoldfastError('SHUTTING_DOWN', 'the scrubber is stopped'));
    await this.#letGo()?.terminate();
  }

  /** A few kilobytes in all: here, where what they are judged by is. */
  async #readSmall(steps: Extract<ScrubLook, { kind: 'small' }>['steps']): Promise<Looked> {
    let sizeBytes = 0;
    for (;;) {
      const step = steps.next();
      if (step.done === true) return { flaws: step.value, sizeBytes };
      sizeBytes += step.value;
      await this.#options.pause();
    }
  }

  #ask(job: ScrubJob): Promise<Looked> {
    if (this.#isStopped) {
      return Promise.reject(new HoldfastError('SHUTTING_DOWN', 'the scrubber is stopped'));
    }
    const waitMs = this.#mayStartAtMs - this.#options.clock.monotonicMs();
    if (this.#worker === null && waitMs > 0) {
      const message = `the scrub thread has died; it is started again in ${Math.ceil(waitMs)} ms`;
      return Promise.reject(new HoldfastError('INTERNAL', message));
    }
    this.#worker ??= this.#start();
    this.#idleTimer?.cancel();
    this.#idleTimer = null;
    this.#worker.ref();
    this.#askedCount += 1;
    const id = this.#askedCount;
    tell(this.#worker, { kind: 'look', id, job });
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    });
  }

  #start(): Worker {
    const { worker: program = new URL('./scrub-worker.js', import.meta.url) } = this.#options;
    const workerData: ScrubThreadInput = { bytesPerSecMax: this.#bytesPerSecMax };
    const worker = new Worker(program, {
      ...{ workerData, name: 'holdfast-scrub', resourceLimits: RESOURCE_LIMITS },
    });
    worker.on('message', (message: ScrubThreadReply) => this.#onReply(message));
    worker.on('error', (error) => this.#onDeath(worker, error));
    worker.on('exit', () => this.#onDeath(worker, null));
    return worker;
  }

  #onReply(reply: ScrubThreadReply): void {
    switch (reply.kind) {
      case 'looked':
        this.#settle(reply.id)?.resolve(reply.looked);
        return;
      case 'refused':
        this.#settle(reply.id)?.reject(HoldfastError.fromBody(reply.error));
        return;
      case 'started': {
        const { priorityRefusal } = reply;
        if (priorityRefusal === null) return;
        const message = 'the scrub thread has the priority of the others';
        this.#options.logger.debug({ error: priorityRefusal }, message);
        return;
      }
      default:
        unreachable(reply);
    }
  }

  /** Nothing is waited for any more after the thread was let go of. */
  #settle(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    this.#deathCount = 0;
    if (this.#waiting.size > 0 || this.#worker === null) return waiting;
    this.#worker.unref();
    this.#idleTimer = this.#options.timers.after(IDLE_MS_MAX, () => {
      void this.#letGo()?.terminate();
    });
    return waiting;
  }

  #onDeath(worker: Worker, cause: unknown): void {
    if (worker !== this.#worker) return;
    const { clock, logger } = this.#options;
    this.#deathCount += 1;
    const delayMs = RESTART_DELAY_MS_MIN * 2 ** Math.min(this.#deathCount - 1, 16);
    this.#mayStartAtMs = clock.monotonicMs() + Math.min(RESTART_DELAY_MS_MAX, delayMs);
    logger.error({ error: String(cause), deaths: this.#deathCount }, 'the scrub thread has died');
    this.#letGo();
    this.#rejectAll(
      new HoldfastError('INTERNAL', 'the scrub thread has died; the next pass has a new one', {
        ...(cause === null ? {} : { cause }),
      }),
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

const tell = (worker: Worker, request: ScrubThreadRequest): void => worker.postMessage(request);
