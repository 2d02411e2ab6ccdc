/**
 * One client of a simulated cluster: the client library on virtual time, one operation after
 * another, each told to the history. Now and then it asks a node directly for a linearizable read,
 * leader or not, because the library would ask the leader only.
 */
import type { SeededRandom } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import type { Collection, PointInput } from '@holdfast/client';
import { HoldfastClient } from '@holdfast/client';
import type { SimCluster, SimNode } from '@holdfast/node/testing';
import type { GetResult, Request, StoredPoint } from '@holdfast/protocol';
import { expected, payloadOf, SimFilters } from './sim-filters.ts';
import type { Condition, SimHistory, WriteRecord } from './sim-history.ts';
import type { Trace } from './trace.ts';

export const COLLECTION = 'registers';
const CALL_TIMEOUT_MS = 3_000;
const DIRECT_TIMEOUT_MS = 800;
/** Deadlines are looked at now and then only; an answer later than this never comes. */
const HANG_MS = 1_500;
const CONNECT_RETRY_MS = 200;

export interface SimClientParts {
  readonly cluster: SimCluster;
  readonly history: SimHistory;
  readonly trace: Trace;
  readonly random: SeededRandom;
  readonly name: string;
  readonly keyCount: number;
  readonly thinkMsMax: number;
  /** A value that nobody else writes. */
  readonly nextValue: () => number;
  readonly collectionSpec: {
    readonly name: string;
    readonly dimension: number;
    readonly metric: 'l2';
    readonly shardCount: number;
  };
}

export class SimClient {
  readonly #parts: SimClientParts;
  readonly #filters: SimFilters;
  #isStopping = false;
  #client: HoldfastClient | null = null;
  /** Since `countFromNow`. */
  writesDone = 0;
  readsDone = 0;

  constructor(parts: SimClientParts) {
    this.#parts = parts;
    this.#filters = new SimFilters({
      ...parts,
      ...{ collection: () => this.#collection(), seenOf },
      note: (words) => this.#note(words),
    });
  }

  /** Resolves some time after `stop`. */
  async run(): Promise<void> {
    await this.#prepare();
    const { random, thinkMsMax } = this.#parts;
    while (!this.#isStopping) {
      await this.#pause(random.nextBelow(thinkMsMax + 1));
      await this.#operate();
    }
    await this.#client?.close();
  }

  stop(): void {
    this.#isStopping = true;
  }

  /** From here on the cluster is whole, and operations must succeed. */
  countFromNow(): void {
    this.writesDone = 0;
    this.readsDone = 0;
  }

  async #prepare(): Promise<void> {
    const { collectionSpec } = this.#parts;
    while (!this.#isStopping) {
      try {
        this.#client ??= await this.#connect();
        await this.#client.createCollection({ ...collectionSpec, ifNotExists: true });
        return;
      } catch (error) {
        if (!(error instanceof HoldfastError)) throw error;
        await this.#pause(CONNECT_RETRY_MS);
      }
    }
  }

  #connect(): Promise<HoldfastClient> {
    const { cluster, random, name } = this.#parts;
    const { clock } = cluster.scheduler;
    return HoldfastClient.connect({
      nodes: cluster.nodes.map((node) => node.clientAddress),
      timeoutMs: CALL_TIMEOUT_MS,
      clientName: name,
      transport: cluster.clientNetwork,
      clock,
      timers: clock,
      random,
    });
  }

  async #operate(): Promise<void> {
    const { random, keyCount } = this.#parts;
    const dice = random.nextBelow(23);
    if (dice < 7) await this.#upsert(this.#keys(), dice < 3);
    else if (dice < 9) await this.#delete(this.#keys(), random.nextBelow(3) === 0);
    else if (dice < 12) await this.#get(this.#keys(), 'linearizable');
    else if (dice < 13) await this.#get(this.#keys(), 'lease');
    else if (dice < 15) await this.#readAt(this.#keys(), random.nextBelow(2) === 0);
    else if (dice < 16) {
      if (random.nextBelow(3) === 0) await this.#lookAround();
      else await this.#getStale(this.#keys());
    } else if (dice < 17) await this.#count();
    else if (dice < 18) await this.#searchAll(keyCount);
    else if (dice >= 20) await this.#filters.operate();
    else await this.#writeThenSearch();
  }

  async #upsert(keys: readonly number[], isConditional: boolean): Promise<boolean> {
    const { history, nextValue } = this.#parts;
    const value = nextValue();
    const conditions = isConditional ? keys.map((key) => this.#condition(key)) : null;
    const points = keys.map((key, i): PointInput => {
      const point = { id: key, vector: [value], payload: payloadOf(value) };
      const condition = conditions?.[i];
      if (condition === undefined) return point;
      const { version } = condition;
      return version === 0 ? { ...point, ifAbsent: true } : { ...point, ifVersion: version };
    });
    const write = history.startWrite('upsert', value, keys, conditions);
    return this.#finishWrite(write, this.#collection().upsert(points));
  }

  async #delete(keys: readonly number[], isConditional: boolean): Promise<void> {
    const { history, nextValue } = this.#parts;
    const seen = keys.map((key) => ({ key, version: history.newestSeen(key) }));
    // A condition of a delete is about a version that exists.
    const conditions = isConditional && seen.every(({ version }) => version > 0) ? seen : null;
    const write = history.startWrite('delete', nextValue(), keys, conditions);
    const points = conditions?.map(({ key, version }) => ({ id: key, ifVersion: version }));
    await this.#finishWrite(write, this.#collection().delete(points ?? keys));
  }

  #condition(key: number): Condition {
    const { history, random } = this.#parts;
    return { key, version: random.nextBelow(4) === 0 ? 0 : history.newestSeen(key) };
  }

  async #finishWrite(
    write: WriteRecord,
    answer: Promise<{ readonly index: number }>,
  ): Promise<boolean> {
    const { history } = this.#parts;
    const { kind, value, keys } = write;
    const what = `${kind} ${value} of ${keys.join(',')}`;
    this.#note(`begins ${what}`);
    try {
      const { index } = await answer;
      history.acknowledged(write, index);
      this.writesDone += 1;
      this.#note(`${what}: done at ${index}`);
      return true;
    } catch (thrown) {
      const error = expected(thrown);
      this.#note(`${what}: ${error.code}${error.definite ? '' : ', outcome unknown'}`);
      if (error.code === 'VERSION_CONFLICT') this.#conflicted(write, error);
      else if (error.definite) history.refused(write);
      else history.unknown(write);
      return false;
    }
  }

  #conflicted(write: WriteRecord, error: HoldfastError): void {
    const { index, conflicts } = error.details as {
      readonly index: number;
      readonly conflicts: readonly { readonly id: number; readonly actualVersion: number }[];
    };
    const actual = new Map(conflicts.map(({ id, actualVersion }) => [id, actualVersion]));
    this.#parts.history.conflicted(write, index, actual);
    this.writesDone += 1;
  }

  async #get(keys: readonly number[], consistency: 'linearizable' | 'lease'): Promise<void> {
    const options = { withVector: true, consistency };
    await this.#read(keys, true, () => this.#collection().getMany(keys, options));
  }

  async #getStale(keys: readonly number[]): Promise<void> {
    const options = { withVector: true, consistency: 'stale' } as const;
    await this.#read(keys, false, () => this.#collection().getMany(keys, options));
  }

  /** All points there are, as a search: every hit is checked like a read. */
  async #searchAll(keyCount: number): Promise<void> {
    const keys = Array.from({ length: keyCount }, (_, key) => key);
    await this.#read(keys, true, async () => {
      const options = { k: keyCount, withVector: true } as const;
      const { hits, appliedIndex } = await this.#collection().search([0], options);
      return { points: hits, appliedIndex };
    });
  }

  /** What was acknowledged is found by the next search. */
  async #writeThenSearch(): Promise<void> {
    const { history, keyCount } = this.#parts;
    const floorIndex = history.toldIndex;
    if (!(await this.#upsert(this.#keys(), false))) return;
    if (history.toldIndex < floorIndex) history.fail('an acknowledgement went back in the log');
    await this.#searchAll(keyCount);
  }

  /** Collections come and go, and what the cluster says about itself. */
  async #lookAround(): Promise<void> {
    const client = this.#client;
    if (client === null) return;
    const { collectionSpec, name, random } = this.#parts;
    const own = `${COLLECTION}-${name}`;
    const dice = random.nextBelow(4);
    try {
      if (dice === 0) await client.createCollection({ ...collectionSpec, name: own });
      else if (dice === 1) await this.#drop(client, own);
      else if (dice === 2) await client.listCollections();
      else await client.status();
      this.#note(`look ${dice}: done`);
    } catch (thrown) {
      this.#note(`look ${dice}: ${expected(thrown).code}`);
    }
  }

  /** One of two that can come back does, under a name of its own. */
  async #drop(client: HoldfastClient, own: string): Promise<void> {
    const { hidden } = await client.dropCollection(own);
    if (hidden === undefined || hidden.uid % 2 === 1) return;
    await client.collections.undelete(hidden.uid, { name: `${own}-${hidden.uid}` });
    await client.collections.rename(`${own}-${hidden.uid}`, `${own}-back`);
    await client.dropCollection(`${own}-back`, { retentionMs: 0 });
  }

  async #count(): Promise<void> {
    const { history } = this.#parts;
    const floorIndex = history.toldIndex;
    try {
      const { count, appliedIndex } = await this.#collection().count();
      history.countAnswered(floorIndex, appliedIndex, count);
      this.readsDone += 1;
      this.#note(`count: ${count} at ${appliedIndex}`);
    } catch (thrown) {
      this.#note(`count: ${expected(thrown).code}`);
    }
  }

  /**
   * Asks a node that chance chose, leader or not; by its lease those that believe that they lead,
   * also when they have been deposed in a pause.
   */
  async #readAt(keys: readonly number[], isByLease: boolean): Promise<void> {
    const { cluster, random } = this.#parts;
    const isAsked = (node: SimNode): boolean =>
      node.isRunning && (!isByLease || node.node.replica.soft.role === 'leader');
    const asked = cluster.nodes.filter(isAsked);
    const node = asked[random.nextBelow(Math.max(1, asked.length))];
    if (node === undefined) return;
    const consistency = isByLease ? 'lease' : 'linearizable';
    const question = { keys, consistency, timeoutMs: DIRECT_TIMEOUT_MS } as const;
    await this.#read(keys, true, () => readAt(cluster, node, question));
  }

  async #read(
    keys: readonly number[],
    isLinearizable: boolean,
    ask: () => Promise<{ readonly points: readonly StoredPoint[]; readonly appliedIndex: number }>,
  ): Promise<void> {
    const { history } = this.#parts;
    const read = history.startRead(keys, isLinearizable);
    try {
      const { points, appliedIndex } = await ask();
      history.readAnswered(read, appliedIndex, seenOf(points));
      if (isLinearizable) this.readsDone += 1;
      this.#note(`read ${keys.join(',')} at ${appliedIndex}: ${points.length} points`);
    } catch (thrown) {
      history.readFailed(read);
      this.#note(`read ${keys.join(',')}: ${expected(thrown).code}`);
    }
  }

  #collection(): Collection {
    if (this.#client === null) throw new Error('the client is not connected');
    return this.#client.collection(COLLECTION);
  }

  #keys(): readonly number[] {
    const { random, keyCount } = this.#parts;
    const start = random.nextBelow(keyCount);
    const count = random.nextBelow(3) === 0 ? 2 + random.nextBelow(3) : 1;
    return Array.from({ length: count }, (_, i) => (start + i) % keyCount);
  }

  #note(words: string): void {
    this.#parts.trace.note(`${this.#parts.name} ${words}`);
  }

  #pause(durationMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#parts.cluster.scheduler.clock.after(durationMs, resolve);
    });
  }
}

/** Points as the history wants them. */
export function seenOf(
  points: readonly StoredPoint[],
): ReadonlyMap<number, { readonly version: number; readonly value: number }> {
  return new Map(
    points.map(({ id, version, vector }) => [
      id as number,
      { version, value: vector?.[0] ?? Number.NaN },
    ]),
  );
}

/**
 * A linearizable read of this very node. Rejects with NO_NODE_REACHABLE when it died meanwhile, and
 * with a plain error, which ends the run, when a living node never answers.
 */
export async function readAt(
  cluster: SimCluster,
  node: SimNode,
  question: {
    readonly keys: readonly number[];
    readonly consistency: 'linearizable' | 'lease';
    readonly timeoutMs: number;
  },
): Promise<GetResult> {
  const { keys, consistency, timeoutMs } = question;
  const request: Request = {
    id: 1,
    kind: 'get',
    collection: COLLECTION,
    ids: keys,
    withVector: true,
    consistency,
  };
  const { boot } = node;
  const answer = node.node.service.execute(request, { deadlineMs: node.nowMs + timeoutMs });
  const hung = new Promise<never>((_resolve, reject) => {
    const look = (): void => {
      const isGone = node.boot !== boot || !node.isRunning;
      if (isGone) reject(new HoldfastError('NO_NODE_REACHABLE', `${node.id} is gone`));
      else if (node.isPaused) cluster.scheduler.clock.after(timeoutMs + HANG_MS, look);
      else reject(new Error(`${node.id}: a read was never answered`));
    };
    cluster.scheduler.clock.after(timeoutMs + HANG_MS, look);
  });
  return (await Promise.race([answer, hung])) as GetResult;
}
