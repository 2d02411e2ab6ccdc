/**
 * Goal: under random faults the cluster is one linearizable, exactly-once store, and it heals.
 * Method: three whole nodes on virtual time with slow disks, lanes and links, messages that get
 * lost, crashes at any file operation, power cuts that keep a random part of what was not synced,
 * isolation, and logs so short that rebuilt nodes need snapshots. Clients write unique values with
 * sessions and conditions, repeat what has no definite answer, and read at any node.
 *
 * The checker uses that a version is a log index: every answer names the prefix of the log it saw,
 * so the whole history is checked exactly, against every write that anyone ever learned of.
 * HOLDFAST_SEED=7 replays one seed.
 */
import { HoldfastError, SeededRandom } from '@holdfast/base';
import type {
  CountResult,
  GetResult,
  OpenSessionResult,
  Request,
  ResultBody,
  UpsertPoint,
  UpsertResult,
} from '@holdfast/protocol';
import t from 'tap';
import type { SimNode } from '../src/testing/sim-cluster.ts';
import { SimCluster } from '../src/testing/sim-cluster.ts';
import { History } from './support/history.ts';

const SEED_COUNT = 40;
const CLIENT_COUNT = 3;
const ROUND_COUNT = 14;
const KEYS = [0, 1, 2, 3, 4, 5];
const COLLECTION = 'registers';
const ATTEMPT_TIMEOUT_MS = 400;
/** Deadlines are looked at now and then only; an answer later than this never comes. */
const HANG_MS = 1_000;

const CREATE: Request = {
  id: 1,
  kind: 'createCollection',
  name: COLLECTION,
  dimension: 1,
  metric: 'l2',
  shardCount: 3,
  ifNotExists: true,
};

type Attempt =
  | { readonly kind: 'answer'; readonly body: ResultBody }
  | { readonly kind: 'error'; readonly error: HoldfastError }
  /** The process died with the request. */
  | { readonly kind: 'lost' };

class Storm {
  readonly cluster: SimCluster;
  readonly history = new History();
  readonly random: SeededRandom;
  readonly #seed: number;
  #nextValue = 1;
  #isEnding = false;
  #clientsLeft = CLIENT_COUNT;
  /** Nodes whose disk was told to stop at some operation: their end is no failure of theirs. */
  readonly #armed = new Set<SimNode>();
  snapshotCount = 0;

  constructor(seed: number) {
    this.#seed = seed;
    this.random = new SeededRandom(seed);
    this.cluster = new SimCluster({
      nodeCount: 3,
      seed,
      laneCount: [1, 2, 3],
      wal: { fileSizeBytes: 16 * 1024 },
      latency: { networkMsMax: 3, diskMsMax: 4, laneMsMax: 2 },
      lossRate: seed % 3 === 0 ? 0.02 : 0,
      settings: { checkpointIntervalMs: 300, retainedEntryCount: seed % 4 },
    });
  }

  async run(): Promise<void> {
    const { cluster } = this;
    await cluster.start();
    await cluster.execute(await cluster.leader(), CREATE);
    const clients = Array.from({ length: CLIENT_COUNT }, (_, i) => this.#client(i));
    for (const client of clients) {
      client.catch((error: unknown) => this.history.fail(`a client died: ${String(error)}`));
    }
    for (let round = 0; round < ROUND_COUNT; round++) {
      await this.#fault();
      await cluster.scheduler.advance(50 + this.random.nextBelow(400));
    }
    await this.#heal();
    // Clients get some time with everything up, so that a storm is not only refusals.
    await cluster.scheduler.advance(1_500);
    this.#isEnding = true;
    await cluster.scheduler.until(() => this.#clientsLeft === 0, 60_000);
    await this.#finalChecks('after the storm');
    for (const node of cluster.nodes) this.#noteSnapshot(node);
    for (const node of cluster.nodes) {
      node.cutPower({ seed: this.random.nextU32(), keepUnsynced: 'none' });
    }
    for (const node of cluster.nodes) await this.#start(node);
    await this.#finalChecks('after a power cut of all');
  }

  /** Every node agrees with every other and with the history. */
  async #finalChecks(when: string): Promise<void> {
    const { cluster, history } = this;
    await cluster.leader();
    const digests = await cluster.digests();
    if (digests.length !== 3) history.fail(`${when}: only ${digests.length} nodes are up`);
    if (new Set(digests.map(({ digest }) => digest)).size !== 1) {
      history.fail(`${when}: digests differ: ${JSON.stringify(digests)}`);
    }
    for (const node of cluster.nodes) {
      let isAnswered = false;
      // An election may still be under way.
      for (let i = 0; i < 10 && !isAnswered; i++) {
        isAnswered = await cluster.scheduler.resolve(this.#read(node, KEYS, 2_000));
        await cluster.scheduler.advance(100);
      }
      if (!isAnswered) history.fail(`${when}: ${node.id} did not answer a read`);
    }
    const count: Request = { id: 1, kind: 'count', collection: COLLECTION };
    const { count: found } = (await cluster.execute(cluster.node(0), count)) as CountResult;
    if (found !== history.keyCount) {
      history.fail(`${when}: ${found} points, ${history.keyCount} were written`);
    }
  }

  async #fault(): Promise<void> {
    const { cluster, random } = this;
    for (const node of cluster.nodes) this.#checkFailure(node);
    const down = cluster.nodes.filter((node) => !node.isRunning);
    const up = cluster.nodes.filter((node) => node.isRunning);
    const victim = this.#pick(this.#leaderOrAny(up));
    // A node stays away for about two rounds: long enough to need a snapshot, or not.
    for (const node of down) if (random.nextBelow(2) === 0) await this.#restart(node);
    if (random.nextBelow(3) === 0) cluster.network.heal();
    const dice = random.nextBelow(14);
    if (dice < 5 && victim !== undefined) this.#kill(victim);
    else if (dice < 7 && victim !== undefined) this.#cutPower(victim);
    else if (dice < 8) {
      for (const node of up) this.#cutPower(node);
      for (const node of cluster.nodes) await this.#restart(node);
    } else if (dice < 9 && victim !== undefined) {
      const others = cluster.nodes.filter((node) => node !== victim).map((node) => node.id);
      cluster.network.isolate(victim.id, others);
    } else if (dice < 10 && victim !== undefined) {
      const other = this.#pick(cluster.nodes);
      if (other !== undefined && other !== victim) cluster.network.cut(victim.id, other.id);
    } else if (dice < 11 && victim !== undefined) {
      const { fileSystem } = victim;
      fileSystem.crashAtOperation(fileSystem.operationCount + 1 + random.nextBelow(150));
      this.#armed.add(victim);
    }
  }

  async #heal(): Promise<void> {
    this.cluster.network.heal();
    for (const node of this.cluster.nodes) {
      this.#checkFailure(node);
      if (this.#armed.has(node) && node.isRunning) this.#cutPower(node);
      if (!node.isRunning) await this.#restart(node);
    }
  }

  #checkFailure(node: SimNode): void {
    const { failure } = node;
    if (failure === null || this.#armed.has(node)) return;
    const details = JSON.stringify(failure.details);
    this.history.fail(`${node.id} stopped by itself: ${failure.message} ${details}`);
  }

  #kill(node: SimNode): void {
    this.#noteSnapshot(node);
    node.kill();
  }

  #cutPower(node: SimNode): void {
    const { random } = this;
    this.#noteSnapshot(node);
    const keepUnsynced = this.#pick(['none', 'random', 'random', 'all'] as const) ?? 'none';
    node.cutPower({ seed: random.nextU32(), keepUnsynced, tearsSectors: true });
    this.#armed.delete(node);
  }

  async #restart(node: SimNode): Promise<void> {
    if (node.isRunning) return;
    // What a crash at a file operation left is what a power cut leaves.
    if (this.#armed.has(node)) this.#cutPower(node);
    await this.#start(node);
  }

  async #start(node: SimNode): Promise<void> {
    try {
      await node.start();
    } catch (error) {
      throw new Error(`${node.id} does not start any more: ${String(error)}`);
    }
  }

  #noteSnapshot(node: SimNode): void {
    if (!node.isRunning) return;
    this.snapshotCount += node.snapshotsInstalled;
  }

  async #client(position: number): Promise<void> {
    const random = new SeededRandom(this.#seed * 1_000 + position);
    const open: Request = { id: 1, kind: 'openSession' };
    const { sessionId } = (await this.#untilAnswered(random, open)) as OpenSessionResult;
    for (let sequence = 1; !this.#isEnding; ) {
      await this.#pause(random.nextBelow(30));
      const dice = random.nextBelow(10);
      const keys = random.nextBelow(3) === 0 ? this.#someKeys(random) : [random.nextBelow(6)];
      if (dice < 4) await this.#readAnywhere(random, keys);
      else if (dice < 5) await this.#write(random, keys, false, null);
      else {
        await this.#write(random, keys, dice >= 7, {
          id: sessionId,
          sequence,
          ackedThrough: sequence - 1,
        });
        sequence += 1;
      }
    }
    this.#clientsLeft -= 1;
  }

  /** One value to all keys at once; with a session it is repeated until its outcome is known. */
  async #write(
    random: SeededRandom,
    keys: readonly number[],
    isConditional: boolean,
    session: { id: number; sequence: number; ackedThrough: number } | null,
  ): Promise<void> {
    const { history } = this;
    const value = this.#nextValue++;
    const points = keys.map((key): UpsertPoint => {
      const point = { id: key, vector: new Float32Array([value]) };
      if (!isConditional) return point;
      const version = history.newestSeen(key);
      return version === 0 ? { ...point, ifAbsent: true } : { ...point, ifVersion: version };
    });
    const request: Request = { id: 1, kind: 'upsert', collection: COLLECTION, points };
    const write = history.startWrite(value, keys, isConditional ? points : null);
    if (session === null) {
      const attempt = await this.#attempt(this.#target(random), request);
      if (attempt.kind === 'answer') history.acknowledged(write, attempt.body as UpsertResult);
      else if (attempt.kind === 'error' && attempt.error.definite) history.refused(write);
      return;
    }
    const stamped = { ...request, session };
    try {
      const first = (await this.#untilAnswered(random, stamped)) as UpsertResult;
      history.acknowledged(write, first);
      // As if the answer had been lost: the repeat must get the same one.
      if (random.nextBelow(4) > 0) return;
      const again = (await this.#untilAnswered(random, stamped)) as UpsertResult;
      if (again.index !== first.index) history.fail(`value ${value} was written twice`);
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      if (error.code !== 'VERSION_CONFLICT') {
        history.fail(`value ${value}: ${error.code}: ${error.message}`);
      }
      history.refused(write);
      history.conflicted(write, error.details as never);
    }
  }

  async #readAnywhere(random: SeededRandom, keys: readonly number[]): Promise<void> {
    const up = this.cluster.nodes.filter((node) => node.isRunning);
    const node = up[random.nextBelow(Math.max(1, up.length))];
    if (node !== undefined) await this.#read(node, keys, ATTEMPT_TIMEOUT_MS);
  }

  async #read(node: SimNode, keys: readonly number[], timeoutMs: number): Promise<boolean> {
    const read = this.history.startRead(keys);
    const request: Request = {
      id: 1,
      kind: 'get',
      collection: COLLECTION,
      ids: keys,
      withVector: true,
    };
    const pending = this.#attempt(node, request, timeoutMs);
    const attempt = await pending;
    if (attempt.kind !== 'answer') return false;
    this.history.readAnswered(read, attempt.body as GetResult);
    return true;
  }

  /** Repeats until an answer or a refusal that repeating does not change. */
  async #untilAnswered(random: SeededRandom, request: Request): Promise<ResultBody> {
    for (;;) {
      const attempt = await this.#attempt(this.#target(random), request);
      if (attempt.kind === 'answer') return attempt.body;
      if (attempt.kind === 'error' && attempt.error.retry === 'never') throw attempt.error;
      await this.#pause(10 + random.nextBelow(40));
    }
  }

  #target(random: SeededRandom): SimNode | undefined {
    const up = this.cluster.nodes.filter((node) => node.isRunning);
    const candidates = random.nextBelow(10) < 8 ? this.#leaderOrAny(up) : up;
    return candidates[random.nextBelow(Math.max(1, candidates.length))];
  }

  #leaderOrAny(up: readonly SimNode[]): readonly SimNode[] {
    const leaders = up.filter((node) => node.node.replica.soft.role === 'leader');
    return leaders.length > 0 && this.random.nextBelow(2) === 0 ? leaders : up;
  }

  async #attempt(
    node: SimNode | undefined,
    request: Request,
    timeoutMs = ATTEMPT_TIMEOUT_MS,
  ): Promise<Attempt> {
    if (node === undefined || !node.isRunning) return { kind: 'lost' };
    const { boot } = node;
    const deadlineMs = this.cluster.scheduler.clock.monotonicMs() + timeoutMs;
    const answered = node.node.service.execute(request, { deadlineMs }).then(
      (body): Attempt => ({ kind: 'answer', body }),
      (error: unknown): Attempt => {
        if (error instanceof HoldfastError) return { kind: 'error', error };
        if (node.isRunning && node.boot === boot && !this.#armed.has(node)) throw error;
        return { kind: 'lost' };
      },
    );
    const hung = this.#pause(timeoutMs + HANG_MS).then((): Attempt => {
      return { kind: 'lost' };
    });
    const first = await Promise.race([answered, hung]);
    const nowMs = this.cluster.scheduler.clock.monotonicMs();
    if (first.kind === 'lost' && nowMs >= deadlineMs + HANG_MS && node.isRunning) {
      if (node.boot === boot) this.history.fail(`${node.id}: a ${request.kind} was never answered`);
    }
    return first;
  }

  #someKeys(random: SeededRandom): readonly number[] {
    const count = 2 + random.nextBelow(3);
    const start = random.nextBelow(KEYS.length);
    return Array.from({ length: count }, (_, i) => (start + i) % KEYS.length);
  }

  #pause(durationMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.cluster.scheduler.clock.after(durationMs, resolve);
    });
  }

  #pick<Item>(items: readonly Item[]): Item | undefined {
    return items[this.random.nextBelow(Math.max(1, items.length))];
  }
}

function seeds(): readonly number[] {
  const given = process.env.HOLDFAST_SEED;
  if (given !== undefined) return [Number(given)];
  return Array.from({ length: SEED_COUNT }, (_, i) => i + 1);
}

// A slow machine is no failure.
t.setTimeout(0);
const totals = { acknowledged: 0, reads: 0, conflicts: 0, snapshots: 0 };

for (const seed of seeds()) {
  t.test(`seed ${seed}: one linearizable, exactly-once store that heals`, async (t) => {
    t.setTimeout(0);
    const storm = new Storm(seed);
    const { history } = storm;
    try {
      await storm.run();
    } catch (error) {
      history.fail(String(error));
    }
    const problems = history.problems().slice(0, 5);
    t.strictSame(problems, [], `HOLDFAST_SEED=${seed}`);
    const { acknowledged, reads, conflicts } = history.counts();
    totals.acknowledged += acknowledged;
    totals.reads += reads;
    totals.conflicts += conflicts;
    totals.snapshots += storm.snapshotCount;
  });
}

t.test('the storms were storms', async (t) => {
  t.comment(JSON.stringify(totals));
  const runCount = seeds().length;
  t.ok(totals.acknowledged > runCount * 20, `${totals.acknowledged} writes were acknowledged`);
  t.ok(totals.reads > runCount * 20, `${totals.reads} reads were answered`);
  if (runCount < SEED_COUNT) return;
  t.ok(totals.conflicts > runCount, `${totals.conflicts} conditional writes were refused`);
  t.ok(totals.snapshots > runCount / 4, `${totals.snapshots} snapshots were installed`);
});
