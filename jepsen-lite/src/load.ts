/**
 * The workers of a run: each asks the generator for its next operation, waits until it is due,
 * performs it and writes both ends to the history. On real time and on that of a simulation alike.
 *
 * Outcome of an operation: answered is `ok`; an error that says `definite` is `fail`; any other is
 * `info`, and the worker goes on under a new process id. An error that is not a HoldfastError is a
 * failure of the harness: the load ends with an exception, not with a verdict.
 */
import { HoldfastError } from '@holdfast/base';
import type { Generator } from './generator/generator.ts';
import { History, type Operation, type Outcome } from './history.ts';
import type { HarnessTime } from './wait.ts';
import type { WorkerTools, Workload } from './workload/workload.ts';

export interface LoadOptions {
  readonly workload: Workload;
  readonly workerCount: number;
  readonly nodeCount: number;
  readonly time: HarnessTime;
}

interface Performed {
  readonly outcome: Outcome;
  readonly errorCode?: string | undefined;
}

/** A worker that waits for its turn notices this soon that the load is over. */
const PAUSE_MS_MAX = 50;
/** A final operation that is not answered in so many attempts stays unanswered. */
const FINAL_ATTEMPT_COUNT_MAX = 20;
const FINAL_PAUSE_MS = 250;

export class Load {
  readonly #options: LoadOptions;
  readonly history = new History();
  /** The history's zero. */
  #startMs: number;
  #generator: Generator;
  #isOver = false;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#generator = options.workload.generator;
    this.#startMs = options.time.nowMs();
  }

  /** The load begins now. */
  begin(): void {
    this.#startMs = this.#options.time.nowMs();
  }

  /** Workers end after the operation that is under way. */
  end(): void {
    this.#isOver = true;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Since the load began. */
  nowMs(): number {
    return this.#options.time.nowMs() - this.#startMs;
  }

  /** One worker, until the load is over or the generator is empty. Who is late begins at once. */
  async work(tools: WorkerTools, worker: number): Promise<void> {
    let processId = worker;
    while (!this.#isOver && !this.history.isFull) {
      const step = this.#generator.next();
      if (step === null) return;
      this.#generator = step.rest;
      const dueMs = step.atMs;
      for (let leftMs = dueMs - this.nowMs(); leftMs > 0; leftMs = dueMs - this.nowMs()) {
        await this.#options.time.pause(Math.min(leftMs, PAUSE_MS_MAX));
        if (this.#isOver) return;
      }
      const { outcome } = await this.#perform(tools, processId, step.operation, dueMs);
      if (outcome === 'info') processId += this.#options.workerCount;
    }
  }

  /** The final operations, each repeated until it is answered: every node is ready by now. */
  async finish(tools: WorkerTools): Promise<void> {
    const { nodeCount, time, workerCount, workload } = this.#options;
    let processId = -1;
    for (const operation of workload.finalOperations(this.history.events, nodeCount)) {
      for (let attempt = 0; attempt < FINAL_ATTEMPT_COUNT_MAX; attempt++) {
        const dueMs = this.nowMs();
        const { errorCode, outcome } = await this.#perform(tools, processId, operation, dueMs);
        // That there is no such collection is an answer.
        if (outcome === 'ok' || errorCode === 'COLLECTION_NOT_FOUND') break;
        if (outcome === 'info') processId -= workerCount;
        await time.pause(FINAL_PAUSE_MS);
      }
    }
  }

  async #perform(
    tools: WorkerTools,
    processId: number,
    operation: Operation,
    intendedMs: number,
  ): Promise<Performed> {
    this.history.invoke(processId, operation, this.nowMs(), intendedMs);
    try {
      const done = await this.#options.workload.perform(tools, operation);
      const { outcome, errorCode } = done;
      this.history.finish(processId, outcome, done.operation, this.nowMs(), errorCode);
      return { outcome, errorCode };
    } catch (thrown) {
      if (!(thrown instanceof HoldfastError)) {
        this.#isOver = true;
        throw thrown;
      }
      const outcome = thrown.definite ? 'fail' : 'info';
      this.history.finish(processId, outcome, operation, this.nowMs(), thrown.code);
      return { outcome, errorCode: thrown.code };
    }
  }
}
