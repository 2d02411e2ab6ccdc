/**
 * Clients that write and read all the time, and check the content of each answer against the model.
 * Writes and searches go through the client library; reads are also asked of every node in turn,
 * leader or not. A wrong answer is never explained away; an error counts when the retries of the
 * library are used up.
 */
import { HoldfastError, SeededRandom } from '@holdfast/base';
import { type Collection, HoldfastClient } from '@holdfast/client';
import { DirectReader } from '../net/direct-reader.ts';
import { pause } from '../wait.ts';
import { contentOf, DIMENSION, RowModel } from './model.ts';

export interface TortureClientsOptions {
  readonly addresses: readonly string[];
  readonly seed: number;
  /** Rows that are there before anything is damaged. */
  readonly rowCount: number;
  readonly shardCount: number;
  readonly writerCount: number;
}

export interface ClientReport {
  readonly writes: number;
  readonly reads: number;
  readonly searches: number;
  readonly counts: number;
  /** Searches that said themselves that a shard is missing. */
  readonly degraded: number;
  readonly wrong: readonly string[];
  readonly errors: readonly string[];
}

export const COLLECTION = 'torture';
const LOAD_BATCH_COUNT = 500;
const LOAD_TASK_COUNT = 4;
const REQUEST_TIMEOUT_MS = 20_000;
const LAST_READ_TIMEOUT_MS = 60_000;
/** The disk, not the clients, is what is tested: they leave the machine some room. */
const WRITE_PAUSE_MS = 25;
const READ_PAUSE_MS = 20;
const RETRY_PAUSE_MS = 50;
const SEARCH_HIT_COUNT = 10;
/** Most writes go to few rows, so that versions change under the readers. */
const HOT_ID_COUNT = 2_000;
const HOT_SHARE = 0.9;
/** More do not make a run more wrong. */
const NOTE_COUNT_MAX = 200;

export class TortureClients {
  readonly model: RowModel;
  readonly #options: TortureClientsOptions;
  readonly #client: HoldfastClient;
  readonly #rows: Collection;
  readonly #readers: readonly DirectReader[];
  readonly #tally = { writes: 0, reads: 0, searches: 0, counts: 0, degraded: 0 };
  readonly #wrong: string[] = [];
  readonly #errors: string[] = [];
  #isRunning = true;
  #working: Promise<unknown> = Promise.resolve();

  private constructor(options: TortureClientsOptions, client: HoldfastClient) {
    this.#options = options;
    this.#client = client;
    this.#rows = client.collection(COLLECTION);
    this.model = new RowModel(options.rowCount);
    this.#readers = options.addresses.map(
      (address) => new DirectReader(address, REQUEST_TIMEOUT_MS),
    );
  }

  /** Makes the collection and loads every row in its first version. */
  static async load(options: TortureClientsOptions): Promise<TortureClients> {
    const client = await HoldfastClient.connect({
      nodes: [...options.addresses],
      timeoutMs: REQUEST_TIMEOUT_MS,
    });
    const clients = new TortureClients(options, client);
    await client.createCollection({
      ...{ name: COLLECTION, dimension: DIMENSION, metric: 'l2', shardCount: options.shardCount },
      // The graph is not what is tested here, and its making takes the processors.
      hnsw: { m: 4, efConstruction: 8, efSearch: 16 },
    });
    let next = 1;
    const task = async (): Promise<void> => {
      while (next <= options.rowCount) {
        const first = next;
        next = Math.min(first + LOAD_BATCH_COUNT, options.rowCount + 1);
        const ids = Array.from({ length: next - first }, (_, i) => first + i);
        const points = ids.map((id) => ({ id, vector: contentOf(id, 0)?.vector ?? [] }));
        await client.collection(COLLECTION).upsert(points, { timeoutMs: LAST_READ_TIMEOUT_MS });
      }
    };
    await Promise.all(Array.from({ length: LOAD_TASK_COUNT }, task));
    return clients;
  }

  start(): void {
    const { seed, writerCount } = this.#options;
    const random = (task: number) => new SeededRandom(seed * 64 + task);
    const writers = Array.from({ length: writerCount }, (_, writer) =>
      this.#repeat(WRITE_PAUSE_MS, random(writer), (chance) => this.#write(writer, chance)),
    );
    const readers = this.#readers.map((reader, i) =>
      this.#repeat(READ_PAUSE_MS, random(32 + i), (chance) => this.#read(reader, chance)),
    );
    const searcher = this.#repeat(READ_PAUSE_MS, random(63), (chance) => this.#search(chance));
    this.#working = Promise.all([...writers, ...readers, searcher]);
  }

  report(): ClientReport {
    return { ...this.#tally, wrong: this.#wrong, errors: this.#errors };
  }

  /** Ends the load; what is under way is waited for. */
  async stop(): Promise<void> {
    this.#isRunning = false;
    await this.#working;
  }

  async close(): Promise<void> {
    await this.stop();
    await Promise.all(this.#readers.map((reader) => reader.close()));
    await this.#client.close();
  }

  /** Reads every row there is, and every row that was changed. The load must have stopped. */
  async readAll(): Promise<void> {
    const { rowCount } = this.#options;
    for (let first = 1; first <= rowCount; first += LOAD_BATCH_COUNT) {
      const count = Math.min(LOAD_BATCH_COUNT, rowCount + 1 - first);
      const ids = Array.from({ length: count }, (_, i) => first + i);
      const asked = this.model.snapshot(ids);
      const points = await this.#rows.get(ids, {
        ...{ withVector: true, withPayload: true, timeoutMs: LAST_READ_TIMEOUT_MS },
      });
      const byId = new Map(points.map((point) => [point.id, point]));
      for (const id of ids) this.#judge(this.model.wrongRead(id, byId.get(id) ?? null, asked));
    }
  }

  async #repeat(
    pauseMs: number,
    random: SeededRandom,
    run: (random: SeededRandom) => Promise<void>,
  ): Promise<void> {
    while (this.#isRunning) {
      try {
        await run(random);
      } catch (thrown) {
        // Anything else is a bug of the harness.
        if (!(thrown instanceof HoldfastError)) throw thrown;
        note(this.#errors, `${new Date().toISOString()} ${thrown.code}: ${thrown.message}`);
      }
      await pause(pauseMs);
    }
  }

  /** Each writer has the ids of its own residue: one writer per id. */
  async #write(writer: number, random: SeededRandom): Promise<void> {
    const { rowCount, writerCount } = this.#options;
    const isHot = random.nextFloat() < HOT_SHARE;
    const bound = Math.floor(Math.min(isHot ? HOT_ID_COUNT : rowCount, rowCount) / writerCount);
    const id = random.nextBelow(bound) * writerCount + writer + 1;
    const version = this.model.send(id);
    const content = contentOf(id, version);
    if (content === null) await this.#rows.delete(id);
    else await this.#rows.upsert({ id, vector: content.vector, payload: { version } });
    this.model.acknowledge(id, version);
    this.#tally.writes += 1;
  }

  async #read(reader: DirectReader, random: SeededRandom): Promise<void> {
    const id = this.#drawId(random);
    const asked = this.model.snapshot([id]);
    const point = await this.#retry(() =>
      reader.get(COLLECTION, id, 'linearizable', { withVector: true }),
    );
    this.#judge(this.model.wrongRead(id, point, asked));
    this.#tally.reads += 1;
  }

  /** What the library repeats by itself is repeated here: one node is asked, and no other. */
  async #retry<Answer>(run: () => Promise<Answer>): Promise<Answer> {
    const deadlineMs = performance.now() + REQUEST_TIMEOUT_MS;
    for (;;) {
      try {
        return await run();
      } catch (thrown) {
        const isKnown = thrown instanceof HoldfastError;
        if (!isKnown || performance.now() > deadlineMs) throw thrown;
        await pause(RETRY_PAUSE_MS);
      }
    }
  }

  async #search(random: SeededRandom): Promise<void> {
    const id = this.#drawId(random);
    const isExact = random.nextFloat() < 0.5;
    const isStale = random.nextFloat() < 0.5;
    const asked = this.model.snapshot([id]);
    const query = contentOf(id, this.model.acknowledgedVersion(id))?.vector ?? [1, 1];
    const { degraded, hits } = await this.#rows.search(query, {
      ...{ k: SEARCH_HIT_COUNT, exact: isExact, withVector: true, withPayload: true },
      consistency: isStale ? 'stale' : 'linearizable',
    });
    for (const hit of hits) this.#judge(this.model.wrongHit(hit, query, 0));
    const mustBe = isExact && !isStale ? this.model.settledContent(id, asked) : null;
    if (degraded.length > 0) this.#tally.degraded += 1;
    else if (mustBe !== null && !hits.some((hit) => hit.id === id)) {
      this.#judge(`an exact search for point ${id} did not find it`);
    }
    this.#tally.searches += 1;
    if (random.nextFloat() < 0.2) await this.#count();
  }

  async #count(): Promise<void> {
    const asked = this.model.snapshot([]);
    const { count } = await this.#rows.count();
    this.#judge(this.model.wrongCount(count, asked));
    this.#tally.counts += 1;
  }

  #drawId(random: SeededRandom): number {
    const { rowCount } = this.#options;
    const isHot = random.nextFloat() < HOT_SHARE / 2;
    return random.nextBelow(Math.min(isHot ? HOT_ID_COUNT : rowCount, rowCount)) + 1;
  }

  #judge(wrong: string | null): void {
    if (wrong !== null) note(this.#wrong, `${new Date().toISOString()} ${wrong}`);
  }
}

function note(list: string[], text: string): void {
  if (list.length < NOTE_COUNT_MAX) list.push(text);
}
