/**
 * Closed-loop writers of the public client library: each has one write in flight at any time and
 * writes ids of its own, so that every acknowledged one can be read back.
 */
import { must } from '@holdfast/base';
import { type Collection, HoldfastClient } from '@holdfast/client';

export interface Acknowledgement {
  readonly timeMs: number;
  readonly term: number;
  readonly id: number;
  readonly version: number;
}

export interface WriteLoadOptions {
  readonly addresses: readonly string[];
  readonly collection: string;
  readonly dimension: number;
  readonly clientCount: number;
}

const WRITE_TIMEOUT_MS = 30_000;
const READ_BATCH_COUNT = 500;

export class WriteLoad {
  readonly acknowledgements: Acknowledgement[] = [];
  readonly failureCodes: Record<string, number> = {};
  readonly #options: WriteLoadOptions;
  readonly #clients: readonly HoldfastClient[];
  #isStopped = false;
  #nextId = 1;
  #workers: Promise<unknown> = Promise.resolve();

  private constructor(options: WriteLoadOptions, clients: readonly HoldfastClient[]) {
    this.#options = options;
    this.#clients = clients;
  }

  static async start(options: WriteLoadOptions): Promise<WriteLoad> {
    const nodes = [...options.addresses];
    const clients = await Promise.all(
      Array.from({ length: options.clientCount }, () =>
        HoldfastClient.connect({ nodes, timeoutMs: WRITE_TIMEOUT_MS }),
      ),
    );
    const load = new WriteLoad(options, clients);
    load.#workers = Promise.all(
      clients.map((client) => load.#write(client.collection(options.collection))),
    );
    return load;
  }

  get failureCount(): number {
    return Object.values(this.failureCodes).reduce((total, count) => total + count, 0);
  }

  /**
   * Terms never go back in the order of acknowledgements of one leader; the scan is from the end.
   */
  firstOfLaterTerm(term: number): Acknowledgement | null {
    let first: Acknowledgement | null = null;
    for (let i = this.acknowledgements.length - 1; i >= 0; i--) {
      const one = must(this.acknowledgements[i]);
      if (one.term <= term) break;
      first = one;
    }
    return first;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#workers;
    await Promise.all(this.#clients.map((client) => client.close()));
  }

  async #write(collection: Collection): Promise<void> {
    const vector = new Float32Array(this.#options.dimension);
    while (!this.#isStopped) {
      const id = this.#nextId++;
      vector[0] = id;
      try {
        const { index, term } = await collection.upsert([{ id, vector: vector.slice() }]);
        this.acknowledgements.push({ timeMs: performance.now(), term, id, version: index });
      } catch (thrown) {
        const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : 'unknown';
        this.failureCodes[code] = (this.failureCodes[code] ?? 0) + 1;
      }
    }
  }
}

/** Linearizable reads of every acknowledged id; the version must be that of the acknowledgement. */
export async function findLost(
  collection: Collection,
  acknowledgements: readonly Acknowledgement[],
): Promise<readonly number[]> {
  const lost: number[] = [];
  for (let start = 0; start < acknowledgements.length; start += READ_BATCH_COUNT) {
    const batch = acknowledgements.slice(start, start + READ_BATCH_COUNT);
    const points = await collection.get(batch.map((one) => one.id));
    const versions = new Map(points.map((point) => [Number(point.id), point.version]));
    for (const { id, version } of batch) if (versions.get(id) !== version) lost.push(id);
  }
  return lost;
}
