/**
 * Sealing on a thread of its own, so that no backup holds back the event loop of the node by
 * hashing, compressing or encrypting. One thread for all stores: it is started by the first
 * question and ended when no file is open and nobody has asked for a while. A thread that dies
 * fails the backups that it worked for, also those that had asked nothing at that moment.
 */
import type { Logger, Timers } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import { AskedThread } from '../../threads/asked-thread.ts';
import type { PinnedFile } from '../checkpoint-source.ts';
import type { FileFacts } from '../file-facts.ts';
import type { SealedFrames, SealingPlace, SealOrder } from './file-frames.ts';
import type {
  OpenedFrames,
  SealAnswers,
  SealQuestion,
  SealThreadRequest,
} from './seal-thread-protocol.ts';

/** Frames pass through buffers, not the heap. */
const RESOURCE_LIMITS = { maxYoungGenerationSizeMb: 8, maxOldGenerationSizeMb: 128 };

export interface SealThreadOptions {
  readonly timers: Timers;
  readonly logger: Logger;
  /** Program of the thread; for tests, which make it fail. */
  readonly worker?: URL;
}

type Unnumbered<Question> = Question extends unknown ? Omit<Question, 'id'> : never;

export class SealThread implements SealingPlace {
  readonly #thread: AskedThread<Unnumbered<SealQuestion>>;
  /** Of the thread that is up: they die with it. */
  readonly #openFiles = new Set<number>();

  constructor({ logger, timers, worker }: SealThreadOptions) {
    this.#thread = new AskedThread({
      ...{ name: 'holdfast-seal', title: 'the sealing thread', logger, timers },
      program: worker ?? new URL('./seal-worker.js', import.meta.url),
      resourceLimits: RESOURCE_LIMITS,
      died: 'the thread that seals backups has died: start the backup again',
      stopped: 'the node stops: no backup goes on',
      isHeld: () => this.#openFiles.size > 0,
      onDeath: () => this.#openFiles.clear(),
    });
  }

  /** True while the thread exists. */
  get isUp(): boolean {
    return this.#thread.isUp;
  }

  async examine(file: PinnedFile, signal?: AbortSignal): Promise<FileFacts> {
    return this.#ask('examine', { kind: 'examine', file }, file.path, signal).answer;
  }

  async open(order: SealOrder, signal?: AbortSignal): Promise<SealedFrames> {
    const asked = this.#ask('open', { kind: 'open', order }, order.fullPath, signal);
    // Also one that was aborted meanwhile, or opened after that.
    const close = (): void => this.#close(asked.id);
    this.#openFiles.add(asked.id);
    try {
      return new FramesThere(this, asked.id, order.fullPath, await asked.answer, close);
    } catch (error) {
      close();
      throw error;
    }
  }

  async frame(fileId: number, number: number, path: string): Promise<Uint8Array> {
    this.#mustBeOpen(fileId, path);
    return this.#ask('frame', { kind: 'frame', fileId, number }, path).answer;
  }

  async digest(fileId: number, path: string, signal?: AbortSignal): Promise<string> {
    this.#mustBeOpen(fileId, path);
    return this.#ask('digest', { kind: 'digest', fileId }, path, signal).answer;
  }

  /** Rejects what is under way. */
  stop(): Promise<void> {
    return this.#thread.stop();
  }

  #ask<Kind extends SealQuestion['kind']>(
    _kind: Kind,
    question: Unnumbered<SealQuestion>,
    path: string,
    signal?: AbortSignal,
  ): { readonly id: number; readonly answer: Promise<SealAnswers[Kind]> } {
    const aborted = `the transfer of ${path} was aborted`;
    const { answer, id } = this.#thread.ask(question, { aborted, signal });
    return { id, answer: answer as Promise<SealAnswers[Kind]> };
  }

  /** The file of a thread that has died: its successor does not know it, and is not to be asked. */
  #mustBeOpen(fileId: number, path: string): void {
    if (this.#openFiles.has(fileId)) return;
    const message = `${path} is not open in the sealing thread any more: start the backup again`;
    throw new HoldfastError('INTERNAL', message);
  }

  /** Nothing is told of a file that has died with its thread. */
  #close(fileId: number): void {
    if (!this.#openFiles.delete(fileId)) return;
    this.#thread.tell({ kind: 'close', fileId } satisfies SealThreadRequest);
    this.#thread.rest();
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

  async digest(signal?: AbortSignal): Promise<string> {
    return this.#thread.digest(this.#fileId, this.#path, signal);
  }

  close(): void {
    this.#close();
  }
}
