/**
 * Writers that note what was acknowledged, at which index and when: what a rebuilt cluster is
 * judged by. Each worker writes ids of its own, one operation at a time: new points, new contents
 * of old ones, and deletes. A worker ends with its first failure, whose effect is unknown.
 */
import { SeededRandom } from '@holdfast/base';
import { HoldfastClient } from '@holdfast/client';
import { pause } from '../wait.ts';

export const DRILL_COLLECTION = 'drill';
export const DRILL_DIMENSION = 16;
/** Of a disaster nobody waits long for an answer. */
const WRITE_TIMEOUT_MS = 5_000;

export interface DrillWriterOptions {
  readonly seed: number;
  readonly workerCount: number;
  /** Of one operation with all its retries; default some seconds. */
  readonly timeoutMs?: number;
  /** Between two operations of a worker; default 0. */
  readonly pauseMs?: number;
}
const ID_COUNT_PER_WORKER = 10_000_000;
const HELD_POLL_MS = 5;

export interface DrillWrite {
  readonly id: number;
  /** First component of the vector; null of a delete. */
  readonly value: number | null;
}

export interface AcknowledgedWrite extends DrillWrite {
  readonly index: number;
  /** performance.now() */
  readonly acknowledgedAtMs: number;
}

/** What one worker did, in order. */
export interface WorkerStory {
  readonly acknowledged: readonly AcknowledgedWrite[];
  /** Under way at the end, or failed: it may have happened. */
  readonly unknown: DrillWrite | null;
}

export const drillVector = (value: number): Float32Array =>
  new Float32Array(DRILL_DIMENSION).fill(1).fill(value, 0, 1);

export class DrillWriter {
  readonly #workers: readonly DrillWorker[];
  readonly #running: Promise<unknown>;

  private constructor(workers: readonly DrillWorker[]) {
    this.#workers = workers;
    this.#running = Promise.all(workers.map((worker) => worker.run()));
  }

  /** Makes the collection and begins. */
  static async start(
    addresses: readonly string[],
    { pauseMs = 0, seed, timeoutMs = WRITE_TIMEOUT_MS, workerCount }: DrillWriterOptions,
  ): Promise<DrillWriter> {
    const clients = await Promise.all(
      Array.from({ length: workerCount }, () =>
        HoldfastClient.connect({ nodes: [...addresses], timeoutMs }),
      ),
    );
    await clients[0]?.createCollection({
      ...{ name: DRILL_COLLECTION, dimension: DRILL_DIMENSION, metric: 'l2' },
    });
    return new DrillWriter(
      clients.map((client, number) => new DrillWorker(client, number, seed + number, pauseMs)),
    );
  }

  get acknowledgedCount(): number {
    return this.#workers.reduce((sum, { story }) => sum + story.acknowledged.length, 0);
  }

  /** Of workers that failed by now. */
  get failures(): readonly Error[] {
    return this.#workers.flatMap(({ failure }) => (failure === null ? [] : [failure]));
  }

  /** As of now; more may follow. */
  get stories(): readonly WorkerStory[] {
    return this.#workers.map(({ story }) => story);
  }

  /** Nothing is under way while `work` runs; afterwards the workers go on. */
  async whileQuiet<Result>(work: () => Promise<Result>): Promise<Result> {
    for (const worker of this.#workers) worker.isHeld = true;
    try {
      while (!this.#workers.every((worker) => worker.isIdle)) await pause(HELD_POLL_MS);
      return await work();
    } finally {
      for (const worker of this.#workers) worker.isHeld = false;
    }
  }

  /** What is under way gets its answer; then as `end`. */
  async finish(): Promise<readonly WorkerStory[]> {
    for (const worker of this.#workers) worker.stopAfterThis();
    await this.#running;
    return this.end();
  }

  /** No operation is sent or repeated any more when it resolves. */
  async end(): Promise<readonly WorkerStory[]> {
    await Promise.all(this.#workers.map((worker) => worker.close()));
    await this.#running;
    return this.#workers.map(({ story }) => story);
  }
}

class DrillWorker {
  readonly #client: HoldfastClient;
  readonly #random: SeededRandom;
  readonly #acknowledged: AcknowledgedWrite[] = [];
  readonly #firstId: number;
  #idCount = 0;
  #value = 0;
  #unknown: DrillWrite | null = null;
  readonly #pauseMs: number;
  /** Begins no operation. */
  isHeld = false;
  #isStopping = false;
  #failure: Error | null = null;

  constructor(client: HoldfastClient, number: number, seed: number, pauseMs: number) {
    this.#client = client;
    this.#pauseMs = pauseMs;
    this.#random = new SeededRandom(seed);
    this.#firstId = 1 + number * ID_COUNT_PER_WORKER;
  }

  get story(): WorkerStory {
    return { acknowledged: this.#acknowledged, unknown: this.#unknown };
  }

  get failure(): Error | null {
    return this.#failure;
  }

  /** Nothing is under way, and nothing will be while it is held. */
  get isIdle(): boolean {
    return this.#failure !== null || (this.isHeld && this.#unknown === null);
  }

  async run(): Promise<void> {
    const docs = this.#client.collection(DRILL_COLLECTION);
    while (this.#failure === null && !this.#isStopping) {
      if (this.isHeld) {
        await pause(HELD_POLL_MS);
        continue;
      }
      const write = this.#next();
      const { id, value } = write;
      this.#unknown = write;
      try {
        const { index } = await (value === null
          ? docs.delete(id)
          : docs.upsert({ id, vector: drillVector(value) }));
        this.#acknowledged.push({ ...write, index, acknowledgedAtMs: performance.now() });
        this.#unknown = null;
        if (this.#pauseMs > 0) await pause(this.#pauseMs);
      } catch (thrown) {
        this.#failure = thrown instanceof Error ? thrown : new Error(String(thrown));
      }
    }
  }

  stopAfterThis(): void {
    this.#isStopping = true;
  }

  /** What is under way fails, and ends `run`. */
  close(): Promise<void> {
    return this.#client.close();
  }

  #next(): DrillWrite {
    const choice = this.#idCount === 0 ? 0 : this.#random.nextBelow(10);
    const isNew = choice < 7;
    if (isNew) this.#idCount += 1;
    const offset = isNew ? this.#idCount - 1 : this.#random.nextBelow(this.#idCount);
    this.#value = (this.#value + 1) % 1_000_000;
    return { id: this.#firstId + offset, value: choice === 9 ? null : this.#value };
  }
}
