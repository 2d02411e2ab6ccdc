/**
 * Every write loses its first reply after it was committed, is retried by the client, and must have
 * happened once. Counters are read-then-conditional-write loops and inserts demand absence: a
 * second execution of either is refused VERSION_CONFLICT, which no single writer can otherwise see.
 * The relay compares the log index of the lost answer with that of the repeated one.
 *
 * Phases, each with a share of the writes:
 * - `plain`: reply cut, connection reset, retry;
 * - `leader kill`: the leader is killed right after a cut, so the retry goes to another node;
 * - `checkpoint and restart`: retries are held back until every node has made a checkpoint after
 * the
 *   writes, was killed and restarted from it;
 * - `snapshot`: retries are held back until a node that was down caught up by a snapshot and leads.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/base';
import { HoldfastClient } from '@holdfast/client';
import { expectEqualDigests } from '../cluster/agreement.ts';
import type { NodeName } from '../cluster/cluster.ts';
import { ProcessCluster } from '../cluster/process-cluster.ts';
import { MessageRelay } from '../net/message-relay.ts';
import { CUT_CLIENT_PREFIX, ReplyCutting } from '../net/reply-cutting.ts';
import { waitFor } from '../wait.ts';

export type ExactlyOncePhase = 'plain' | 'leader kill' | 'checkpoint and restart' | 'snapshot';

export const ALL_PHASES: readonly ExactlyOncePhase[] = [
  'plain',
  'leader kill',
  'checkpoint and restart',
  'snapshot',
];

export interface ExactlyOnceOptions {
  /** Shared out equally over the phases. */
  readonly writeCount: number;
  readonly phases: readonly ExactlyOncePhase[];
  readonly log?: (line: string) => void;
}

export interface ExactlyOnceReport {
  readonly writeCount: number;
  readonly cutCount: number;
  /** Empty means that every write took effect exactly once. */
  readonly violations: readonly string[];
}

const COLLECTION = 'exactly-once';
const FILLER = 'filler';
const VECTOR: Float32Array = new Float32Array(4);
const FILLER_DIMENSION = 256;
/** Half of them count, half insert. */
const WORKER_COUNT = 8;
/** Retries are held back for many seconds. */
const WRITE_TIMEOUT_MS = 300_000;
const WAIT_TIMEOUT_MS = 60_000;
const LEADER_KILL_COUNT = 3;
/** Cuts of a phase after which the retries are held back. */
const HOLD_AFTER_CUT_COUNT = 4;
/** Elections until a chosen node leads; each is a fair draw of two. */
const ELECTION_COUNT_MAX = 20;
/** Counts since the start of the process. */
const SNAPSHOTS_RECEIVED = 'holdfast_peer_snapshots_received_total';
/** Tiny logs and frequent checkpoints, so that a short run sees all of them. */
const SETTINGS = {
  walFileSizeBytes: 1 << 20,
  checkpointLogSizeBytes: 1 << 20,
  checkpointIntervalMs: 1_000,
  logRetentionEntryCount: 16,
};

export async function runExactlyOnce(options: ExactlyOnceOptions): Promise<ExactlyOnceReport> {
  const cluster = await ProcessCluster.form({ name: 'exactly-once', settings: SETTINGS });
  const scenario = new ExactlyOnce(cluster, options);
  try {
    return await scenario.run();
  } catch (thrown) {
    throw new Error(`the scenario could not be played\n${cluster.describeLogs()}`, {
      cause: thrown,
    });
  } finally {
    await scenario.close();
    await cluster.stop();
  }
}

class ExactlyOnce {
  readonly #cluster: ProcessCluster;
  readonly #options: ExactlyOnceOptions;
  readonly #cutting: ReplyCutting;
  readonly #relays: MessageRelay[] = [];
  readonly #clients: HoldfastClient[] = [];
  readonly #violations: string[] = [];
  /** Counter id to the increments acknowledged. */
  readonly #counters = new Map<number, number>();
  /** Inserted id to the version acknowledged. */
  readonly #inserts = new Map<number, number>();
  #side: HoldfastClient | null = null;
  #onCut: (cutCount: number) => void = () => undefined;
  #nextInsertId = 1_000_000;
  #nextFillerId = 1;

  constructor(cluster: ProcessCluster, options: ExactlyOnceOptions) {
    this.#cluster = cluster;
    this.#options = options;
    this.#cutting = new ReplyCutting((cutCount) => this.#onCut(cutCount));
  }

  async run(): Promise<ExactlyOnceReport> {
    await this.#connect();
    const { phases, writeCount } = this.#options;
    const share = Math.ceil(writeCount / phases.length / WORKER_COUNT) * WORKER_COUNT;
    for (const phase of phases) {
      const startMs = performance.now();
      await this.#play(phase, share);
      const tookMs = Math.round(performance.now() - startMs);
      this.#options.log?.(
        `${phase}: ${share} writes in ${tookMs} ms, ${this.#cutting.cutCount} replies cut, ` +
          `${this.#violations.length} violations`,
      );
    }
    await this.#verify();
    return {
      writeCount: share * phases.length,
      cutCount: this.#cutting.cutCount,
      violations: [...this.#violations, ...this.#cutting.contradictions],
    };
  }

  async close(): Promise<void> {
    await Promise.all([this.#side, ...this.#clients].map((client) => client?.close()));
    await Promise.all(this.#relays.map((relay) => relay.stop()));
  }

  /** Relays stand in front of every node and are what the nodes tell their clients to use. */
  async #connect(): Promise<void> {
    for (const nodeName of this.#cluster.nodeNames) {
      const address = this.#cluster.addressOf(nodeName);
      const relay = await MessageRelay.listen(address, () => this.#cutting.makeFilter());
      this.#relays.push(relay);
      this.#cluster.advertise(nodeName, relay.address);
    }
    await this.#cluster.startAll();
    await this.#cluster.waitUntilReady();
    const nodes = this.#relays.map((relay) => relay.address);
    this.#side = await HoldfastClient.connect({
      nodes,
      clientName: 'side',
      timeoutMs: WAIT_TIMEOUT_MS,
    });
    await this.#side.createCollection({
      name: COLLECTION,
      dimension: VECTOR.length,
      metric: 'l2',
    });
    await this.#side.createCollection({
      name: FILLER,
      dimension: FILLER_DIMENSION,
      metric: 'l2',
    });
    for (let worker = 0; worker < WORKER_COUNT; worker++) {
      const clientName = `${CUT_CLIENT_PREFIX}${worker}`;
      const client = await HoldfastClient.connect({
        nodes,
        clientName,
        timeoutMs: WRITE_TIMEOUT_MS,
      });
      this.#clients.push(client);
      // Opens the session now: its own deadline is shorter than retries are held back.
      await client.collection(COLLECTION).delete(0);
    }
  }

  async #play(phase: ExactlyOncePhase, writeCount: number): Promise<void> {
    switch (phase) {
      case 'plain':
        return this.#write(writeCount);
      case 'leader kill':
        return this.#playLeaderKill(writeCount);
      case 'checkpoint and restart':
        return this.#playHeldBack(writeCount, () => this.#checkpointAndRestart());
      case 'snapshot':
        return this.#playSnapshot(writeCount);
    }
  }

  /** Kills the leader right after a cut, `LEADER_KILL_COUNT` times, and restarts it each time. */
  async #playLeaderKill(writeCount: number): Promise<void> {
    const firstCut = this.#cutting.cutCount;
    const distance = Math.floor(writeCount / (LEADER_KILL_COUNT + 1));
    let killCount = 0;
    let killing: Promise<void> = Promise.resolve();
    this.#onCut = (cutCount) => {
      const isDue = cutCount - firstCut >= distance * (killCount + 1);
      if (killCount >= LEADER_KILL_COUNT || !isDue) return;
      killCount += 1;
      killing = killing.then(() => this.#killAndRestartLeader());
    };
    await this.#write(writeCount);
    await killing;
    this.#onCut = () => undefined;
    if (killCount < LEADER_KILL_COUNT) this.#violations.push(`only ${killCount} leaders killed`);
  }

  async #killAndRestartLeader(): Promise<void> {
    const { nodeName } = await this.#cluster.waitUntilReady();
    await this.#cluster.signal(nodeName, 'SIGKILL');
    await this.#waitForLeader();
    await this.#cluster.start(nodeName);
  }

  /** Begins the writes, holds their retries back while `meanwhile` runs, then lets them through. */
  async #playHeldBack(writeCount: number, meanwhile: () => Promise<void>): Promise<void> {
    const firstCut = this.#cutting.cutCount;
    this.#onCut = (cutCount) => {
      if (cutCount - firstCut >= HOLD_AFTER_CUT_COUNT) this.#cutting.hold();
    };
    const disturb = async (): Promise<void> => {
      await waitFor({ what: 'enough replies to be cut', timeoutMs: WAIT_TIMEOUT_MS }, () =>
        this.#cutting.cutCount - firstCut >= HOLD_AFTER_CUT_COUNT ? true : null,
      );
      this.#onCut = () => undefined;
      try {
        await meanwhile();
      } finally {
        this.#cutting.release();
      }
    };
    await Promise.all([this.#write(writeCount), disturb()]);
  }

  async #checkpointAndRestart(): Promise<void> {
    await this.#checkpointTwice(this.#cluster.nodeNames);
    await this.#cluster.killAll();
    await this.#cluster.startAll();
    await this.#cluster.waitUntilReady();
  }

  /** A follower that was down while the writes were cut gets them by snapshot, and then leads. */
  async #playSnapshot(writeCount: number): Promise<void> {
    const leader = await this.#cluster.waitUntilReady();
    const absent = this.#cluster.nodeNames.find((name) => name !== leader.nodeName);
    if (absent === undefined) throw new Error('the cluster has no follower');
    await this.#cluster.signal(absent, 'SIGKILL');
    const others = this.#cluster.nodeNames.filter((name) => name !== absent);
    await this.#playHeldBack(writeCount, async () => {
      await this.#checkpointTwice(others);
      await this.#cluster.start(absent);
      await this.#cluster.waitUntilReady();
      await waitFor(
        { what: `${absent} to get a snapshot`, timeoutMs: WAIT_TIMEOUT_MS },
        async () =>
          ((await this.#cluster.metric(absent, SNAPSHOTS_RECEIVED)) ?? 0) > 0 ? true : null,
      );
      await this.#makeLeader(absent);
    });
  }

  /** Kills whoever leads until `wanted` does. */
  async #makeLeader(wanted: NodeName): Promise<void> {
    for (let election = 0; election < ELECTION_COUNT_MAX; election++) {
      const { nodeName } = await this.#cluster.waitUntilReady();
      if (nodeName === wanted) return;
      await this.#killAndRestartLeader();
    }
    throw new Error(`${wanted} did not win one of ${ELECTION_COUNT_MAX} elections`);
  }

  async #waitForLeader(): Promise<void> {
    await waitFor({ what: 'a leader', timeoutMs: WAIT_TIMEOUT_MS }, () => this.#cluster.leader());
  }

  /**
   * One checkpoint may have begun before the writes that matter; the second is after them. By then
   * the log that a node which was down would need is gone, too.
   */
  async #checkpointTwice(names: readonly NodeName[]): Promise<void> {
    for (let pass = 0; pass < 2; pass++) {
      const sinceMs = names.map((name) => this.#checkpointTimeMs(name));
      await this.#fillUntil(`a checkpoint on ${names.join(', ')}`, () =>
        names.every((name, i) => this.#checkpointTimeMs(name) > (sinceMs[i] ?? 0)),
      );
    }
  }

  /** When the node's root of its newest checkpoint was last replaced; 0 before the first. */
  #checkpointTimeMs(nodeName: NodeName): number {
    const path = join(this.#cluster.dataDirectoryOf(nodeName), 'CHECKPOINT');
    return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  }

  /** Writes that nobody checks, to make the log long enough for the next checkpoint. */
  async #fillUntil(what: string, isDone: () => boolean): Promise<void> {
    const vector = new Float32Array(FILLER_DIMENSION);
    await waitFor({ what, timeoutMs: WAIT_TIMEOUT_MS, pollIntervalMs: 1 }, async () => {
      if (isDone()) return true;
      const points = Array.from({ length: 128 }, () => ({ id: this.#nextFillerId++, vector }));
      await this.#side?.collection(FILLER).upsert(points);
      return null;
    });
  }

  async #write(writeCount: number): Promise<void> {
    const perWorker = writeCount / WORKER_COUNT;
    await Promise.all(
      this.#clients.map(async (client, worker) => {
        for (let i = 0; i < perWorker; i++) {
          if (worker % 2 === 0) await this.#increment(client, worker + 1);
          else await this.#insert(client, this.#nextInsertId++);
        }
      }),
    );
  }

  async #increment(client: HoldfastClient, id: number): Promise<void> {
    const collection = client.collection(COLLECTION);
    const point = await collection.get(id, { withPayload: true });
    const value = Number(point?.payload?.value ?? 0);
    const expected = this.#counters.get(id) ?? 0;
    if (value !== expected) this.#violations.push(`counter ${id} is ${value}, not ${expected}`);
    const condition = point === null ? { ifAbsent: true } : { ifVersion: point.version };
    const next = { id, vector: VECTOR, payload: { value: value + 1 }, ...condition };
    if (await this.#isWritten(`increment of counter ${id}`, () => collection.upsert(next))) {
      this.#counters.set(id, value + 1);
    }
  }

  async #insert(client: HoldfastClient, id: number): Promise<void> {
    const point = { id, vector: VECTOR, payload: { value: 1 }, ifAbsent: true };
    await this.#isWritten(`insert of ${id}`, async () => {
      const { index } = await client.collection(COLLECTION).upsert(point);
      this.#inserts.set(id, index);
    });
  }

  /** The only writer of its points cannot meet a conflict, unless a write happened twice. */
  async #isWritten(what: string, write: () => Promise<unknown>): Promise<boolean> {
    try {
      await write();
      return true;
    } catch (thrown) {
      if (!(thrown instanceof HoldfastError)) throw thrown;
      this.#violations.push(`${what}: ${thrown.code} ${thrown.message}`);
      return false;
    }
  }

  async #verify(): Promise<void> {
    const collection = this.#side?.collection(COLLECTION);
    if (collection === undefined) throw new Error('not connected');
    for (const [id, value] of this.#counters) {
      const point = await collection.get(id, { withPayload: true });
      const found = point?.payload?.value;
      if (found !== value) this.#violations.push(`counter ${id} is ${found}, not ${value}`);
    }
    for (const [id, version] of this.#inserts) {
      const point = await collection.get(id);
      if (point?.version !== version) {
        this.#violations.push(`insert ${id} has version ${point?.version}, not ${version}`);
      }
    }
    const { count } = await collection.count();
    const expected = this.#counters.size + this.#inserts.size;
    if (count !== expected) this.#violations.push(`${count} points, not ${expected}`);
    await this.#cluster.waitUntilReady();
    await expectEqualDigests(this.#cluster);
  }
}
