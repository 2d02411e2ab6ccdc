/**
 * A steady load of writes and linearizable reads that notes every acknowledgement and every
 * failure. A write is acknowledged or failed, never retried here: retries are the client library's
 * business. Each worker has a client, and so a session, of its own.
 */
import { HoldfastError } from '@holdfast/base';
import { HoldfastClient } from '@holdfast/client';

export interface SteadyLoadOptions {
  readonly addresses: readonly string[];
  readonly workerCount: number;
  /** Of each operation, over all its attempts. */
  readonly timeoutMs: number;
}

export interface LoadFailure {
  readonly what: 'write' | 'read';
  readonly code: string;
  readonly message: string;
  readonly atMs: number;
}

/** What happened between two marks. */
export interface LoadInterval {
  readonly acknowledgedCount: number;
  readonly readCount: number;
  /** Longest time without an acknowledged write. */
  readonly writeGapMs: number;
  readonly failures: readonly LoadFailure[];
}

const COLLECTION = 'steady-load';
const DIMENSION = 16;
/** A read after this many writes of a worker. */
const WRITES_PER_READ = 4;
const READ_BATCH_COUNT = 500;
const FINAL_READ_TIMEOUT_MS = 60_000;

export class SteadyLoad {
  readonly #clients: readonly HoldfastClient[];
  /** Acknowledged id to its version. */
  readonly #acknowledged = new Map<number, number>();
  readonly #failures: LoadFailure[] = [];
  readonly #staleReads: string[] = [];
  #nextId = 1;
  #readCount = 0;
  #isRunning = true;
  #working: Promise<unknown> = Promise.resolve();
  #lastAckMs = performance.now();
  #gapMs = 0;
  #marked = { acknowledgedCount: 0, readCount: 0, failureCount: 0 };

  private constructor(clients: readonly HoldfastClient[]) {
    this.#clients = clients;
  }

  static async start(options: SteadyLoadOptions): Promise<SteadyLoad> {
    const { addresses, workerCount, timeoutMs } = options;
    const clients = await Promise.all(
      Array.from({ length: workerCount }, () =>
        HoldfastClient.connect({ nodes: [...addresses], timeoutMs }),
      ),
    );
    const load = new SteadyLoad(clients);
    await clients[0]?.createCollection({ name: COLLECTION, dimension: DIMENSION, metric: 'l2' });
    load.#lastAckMs = performance.now();
    load.#working = Promise.all(clients.map((client) => load.#work(client)));
    return load;
  }

  get acknowledgedCount(): number {
    return this.#acknowledged.size;
  }

  get failures(): readonly LoadFailure[] {
    return this.#failures;
  }

  /** Reads that did not see what had been acknowledged before they began; must stay empty. */
  get staleReads(): readonly string[] {
    return this.#staleReads;
  }

  /** What happened since the last mark. */
  mark(): LoadInterval {
    const before = this.#marked;
    const writeGapMs = Math.max(this.#gapMs, performance.now() - this.#lastAckMs);
    this.#gapMs = 0;
    this.#marked = {
      acknowledgedCount: this.#acknowledged.size,
      readCount: this.#readCount,
      failureCount: this.#failures.length,
    };
    return {
      acknowledgedCount: this.#marked.acknowledgedCount - before.acknowledgedCount,
      readCount: this.#marked.readCount - before.readCount,
      writeGapMs,
      failures: this.#failures.slice(before.failureCount),
    };
  }

  /** Ends the load; what is under way is waited for. */
  async stop(): Promise<void> {
    this.#isRunning = false;
    await this.#working;
  }

  /** Ids of acknowledged points that are missing or differ. The load must have stopped. */
  async findLost(): Promise<readonly number[]> {
    const [client] = this.#clients;
    const lost: number[] = [];
    const entries = [...this.#acknowledged];
    for (let start = 0; start < entries.length; start += READ_BATCH_COUNT) {
      const batch = entries.slice(start, start + READ_BATCH_COUNT);
      const ids = batch.map(([id]) => id);
      const points = await client!
        .collection(COLLECTION)
        .get(ids, { timeoutMs: FINAL_READ_TIMEOUT_MS });
      const versions = new Map(points.map((point) => [point.id, point.version]));
      for (const [id, version] of batch) if (versions.get(id) !== version) lost.push(id);
    }
    return lost;
  }

  async close(): Promise<void> {
    this.#isRunning = false;
    await Promise.all(this.#clients.map((client) => client.close()));
  }

  async #work(client: HoldfastClient): Promise<void> {
    for (let round = 0; this.#isRunning; round++) {
      const id = this.#nextId;
      this.#nextId += 1;
      await this.#attempt('write', () => this.#write(client, id));
      if (round % WRITES_PER_READ === 0) await this.#attempt('read', () => this.#read(client, id));
    }
  }

  async #write(client: HoldfastClient, id: number): Promise<void> {
    const vector = new Float32Array(DIMENSION).fill(id % 1_000);
    const { index } = await client.collection(COLLECTION).upsert({ id, vector });
    this.#acknowledged.set(id, index);
    const nowMs = performance.now();
    this.#gapMs = Math.max(this.#gapMs, nowMs - this.#lastAckMs);
    this.#lastAckMs = nowMs;
  }

  /** The id may be of a write that failed: then it need not be there. */
  async #read(client: HoldfastClient, id: number): Promise<void> {
    const expected = this.#acknowledged.get(id);
    const point = await client.collection(COLLECTION).get(id);
    this.#readCount += 1;
    if (expected === undefined || point?.version === expected) return;
    this.#staleReads.push(`point ${id}: version ${point?.version ?? 'none'}, not ${expected}`);
  }

  async #attempt(what: LoadFailure['what'], run: () => Promise<void>): Promise<void> {
    try {
      await run();
    } catch (thrown) {
      // Anything else is a bug of the harness.
      if (!(thrown instanceof HoldfastError)) throw thrown;
      const { code, message } = thrown;
      this.#failures.push({ what, code, message, atMs: performance.now() });
    }
  }
}
