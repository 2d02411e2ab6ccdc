/** A simulated cluster as a restore of collections sees it, and what is in it. */
import { HoldfastError, must } from '@holdfast/base';
import type { Request, ResultBody } from '@holdfast/protocol';
import type { LiveCluster } from '../../src/backup/restore/beside-live.ts';
import { SimCluster } from '../../src/testing/sim-cluster.ts';

export const COLLECTION = 'docs';
const ROUTINE: readonly string[] = [
  'NOT_LEADER',
  'NO_LEADER',
  'LEADERSHIP_LOST',
  'REQUEST_TIMEOUT',
];

type Fields = Omit<Request, 'id'> & Readonly<Record<string, unknown>>;

/** As a client with a session: one request after the other, repeated until it is answered. */
export class Live implements LiveCluster {
  readonly cluster: SimCluster;
  /** Called before each write of rows. */
  onWrite: (count: number) => Promise<void> = async () => undefined;
  /** Rows of this write never get there. */
  lostWrite = 0;
  #writeCount = 0;
  #sessionId = 0;
  #sequence = 0;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(cluster: SimCluster) {
    this.cluster = cluster;
  }

  static async start(seed: number): Promise<Live> {
    const cluster = new SimCluster({ nodeCount: 3, seed });
    await cluster.start();
    const live = new Live(cluster);
    const { sessionId } = (await live.ask({ kind: 'openSession' })) as { sessionId: number };
    live.#sessionId = sessionId;
    await live.change({
      ...{ kind: 'createCollection', name: COLLECTION, dimension: 2, metric: 'l2', shardCount: 1 },
    });
    const vector = new Float32Array([1, 2]);
    await live.change({ kind: 'upsert', collection: COLLECTION, points: [{ id: 1, vector }] });
    return live;
  }

  /** In turn: simulated time has one owner. */
  ask(fields: Fields): Promise<ResultBody> {
    return this.inTurn(() => this.#ask(fields));
  }

  inTurn<Value>(task: () => Promise<Value>): Promise<Value> {
    const done = this.#last.then(task);
    this.#last = done.catch(() => undefined);
    return done;
  }

  change(fields: Fields): Promise<ResultBody> {
    this.#sequence += 1;
    const session = { id: this.#sessionId, sequence: this.#sequence, ackedThrough: 0 };
    return this.ask({ ...fields, session });
  }

  async #ask(fields: Fields): Promise<ResultBody> {
    for (;;) {
      const leader = await this.cluster.leader();
      try {
        return await this.cluster.execute(leader, { id: 1, ...fields } as Request);
      } catch (thrown) {
        if (!(thrown instanceof HoldfastError) || !ROUTINE.includes(thrown.code)) throw thrown;
        await this.cluster.scheduler.advance(100);
      }
    }
  }

  async names(): Promise<ReadonlySet<string>> {
    const { collections } = (await this.ask({ kind: 'listCollections' })) as {
      readonly collections: readonly { readonly name: string }[];
    };
    return new Set(collections.map(({ name }) => name));
  }

  async hidden(): Promise<readonly unknown[]> {
    const listed = await this.ask({ kind: 'listCollections', includeDeleted: true });
    return (listed as { readonly hidden: readonly unknown[] }).hidden;
  }

  async createHidden(name: string, definition: Parameters<LiveCluster['createHidden']>[1]) {
    const { dimension, metric } = definition;
    const shape = { dimension, metric, shardCount: 3 };
    const made = await this.change({ kind: 'createCollection', name, ...shape, isHidden: true });
    return (made as { collection: { createdIndex: number } }).collection.createdIndex;
  }

  async write({ name, uid }: { name: string; uid: number }, points: readonly object[]) {
    this.#writeCount += 1;
    if (this.#writeCount === this.lostWrite) return;
    const upsert = { kind: 'upsert', collection: name, uid, points: points.map(plain) } as const;
    const sent = this.change(upsert);
    const session = { id: this.#sessionId, sequence: this.#sequence, ackedThrough: 0 };
    await sent;
    await this.onWrite(this.#writeCount);
    // The network delivered it twice.
    await this.ask({ ...upsert, session });
  }

  async finish({ uid }: { uid: number }, content: { pointCount: number; digest: string }) {
    await this.change({ kind: 'finishCollection', uid, ...content });
  }

  async publish(uids: readonly number[]): Promise<void> {
    await this.change({ kind: 'publishCollections', uids });
  }

  async purge(uid: number): Promise<void> {
    await this.change({ kind: 'purgeCollection', uid });
  }

  /** The value of each row: the first component of its vector, as the history counts it. */
  async rows(name: string): Promise<ReadonlyMap<number, number>> {
    const ids = Array.from({ length: 40 }, (_, id) => id);
    const found = await this.ask({ kind: 'get', collection: name, ids, withVector: true });
    const { points } = found as {
      readonly points: readonly { readonly id: number; readonly vector: Float32Array }[];
    };
    return new Map(points.map(({ id, vector }) => [id, must(vector[0]) - id]));
  }
}

function plain(point: object) {
  const { id, vector } = point as { readonly id: unknown; readonly vector: unknown };
  return { id, vector };
}
