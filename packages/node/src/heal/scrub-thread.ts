/**
 * Reads for the scrubber on a thread of its own, so that neither reading nor hashing holds back the
 * event loop of the node. The thread is started by the first look and ended when nobody has asked
 * for a while: between two passes a node pays nothing for it.
 *
 * A thread that dies is no failure of the node: what it was asked is rejected, which ends a pass,
 * and the next one has a new thread after a pause that grows.
 */
import type { Clock, Logger, Timers } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import type { ScrubJob, ScrubLook } from '@holdfast/storage';
import type { Pause } from '../replica/slices.ts';
import { AskedThread } from '../threads/asked-thread.ts';
import type { Looked, ScrubReader } from './scrub-reader.ts';
import type {
  ScrubThreadInput,
  ScrubThreadRequest,
  ScrubThreadTold,
} from './scrub-thread-protocol.ts';

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

interface LookQuestion {
  readonly kind: 'look';
  readonly job: ScrubJob;
}

export class ScrubThread implements ScrubReader {
  readonly #options: ScrubThreadOptions;
  readonly #thread: AskedThread<LookQuestion, ScrubThreadTold>;
  #bytesPerSecMax: number;
  #mayStartAtMs = 0;

  constructor(options: ScrubThreadOptions) {
    const { bytesPerSecMax, logger, timers, worker } = options;
    this.#options = options;
    this.#bytesPerSecMax = bytesPerSecMax;
    this.#thread = new AskedThread({
      ...{ name: 'holdfast-scrub', title: 'the scrub thread', logger, timers },
      program: worker ?? new URL('./scrub-worker.js', import.meta.url),
      resourceLimits: RESOURCE_LIMITS,
      died: 'the scrub thread has died; the next pass has a new one',
      stopped: 'the scrubber is stopped',
      start: () => this.#start(),
      onDeath: (deathCount) => this.#waitAfter(deathCount),
      onTold: ({ priorityRefusal }) => {
        if (priorityRefusal === null) return;
        const message = 'the scrub thread has the priority of the others';
        logger.debug({ error: priorityRefusal }, message);
      },
    });
  }

  get bytesPerSecMax(): number {
    return this.#bytesPerSecMax;
  }

  set bytesPerSecMax(bytesPerSecMax: number) {
    this.#bytesPerSecMax = bytesPerSecMax;
    this.#thread.tell({ kind: 'rate', bytesPerSecMax } satisfies ScrubThreadRequest);
  }

  /** True while the thread exists. */
  get isUp(): boolean {
    return this.#thread.isUp;
  }

  async look(look: ScrubLook): Promise<Looked> {
    if (look.kind === 'small') return this.#readSmall(look.steps);
    const { flaws, sizeBytes } = await this.#ask(look.job);
    return { flaws: look.judge(flaws), sizeBytes };
  }

  stop(): Promise<void> {
    return this.#thread.stop();
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
    const aborted = 'a look is never aborted';
    return this.#thread.ask({ kind: 'look', job }, { aborted }).answer as Promise<Looked>;
  }

  #start(): ScrubThreadInput {
    const waitMs = this.#mayStartAtMs - this.#options.clock.monotonicMs();
    if (waitMs <= 0) return { bytesPerSecMax: this.#bytesPerSecMax };
    const message = `the scrub thread has died; it is started again in ${Math.ceil(waitMs)} ms`;
    throw new HoldfastError('INTERNAL', message);
  }

  #waitAfter(deathCount: number): void {
    const delayMs = RESTART_DELAY_MS_MIN * 2 ** Math.min(deathCount - 1, 16);
    const nowMs = this.#options.clock.monotonicMs();
    this.#mayStartAtMs = nowMs + Math.min(RESTART_DELAY_MS_MAX, delayMs);
  }
}
