/**
 * kill -9 of all nodes at once during an import, then a restart: every acknowledged point must be
 * there, with the version and payload that were acknowledged. Several rounds on the same data, so
 * that recovery is also tested on what an earlier recovery left.
 */
import { HoldfastError, SeededRandom } from '@holdfast/base';
import { HoldfastClient } from '@holdfast/client';
import { expectEqualDigests } from '../cluster/agreement.ts';
import type { ProcessCluster } from '../cluster/process-cluster.ts';
import { pause, waitFor } from '../wait.ts';

export interface KillAllOptions {
  readonly cluster: ProcessCluster;
  readonly roundCount: number;
  readonly seed: number;
  readonly log?: (line: string) => void;
}

export interface KillAllReport {
  readonly acknowledgedCount: number;
  readonly indefiniteBatchCount: number;
  /** Ids of acknowledged points that are missing or differ; empty means that the promise held. */
  readonly lostIds: readonly number[];
}

const COLLECTION = 'kill-all';
const DIMENSION = 32;
const BATCH_POINT_COUNT = 16;
const WRITER_COUNT = 8;
/** Import time before the kill, drawn from this range. */
const KILL_AFTER_MS_MIN = 300;
const KILL_AFTER_MS_RANGE = 1_200;
/** A write under way when the nodes die is given up soon: its outcome is unknown, which is fine. */
const WRITE_TIMEOUT_MS = 1_500;
const READ_TIMEOUT_MS = 60_000;
const READ_BATCH_COUNT = 500;

export async function runKillAll(options: KillAllOptions): Promise<KillAllReport> {
  const scenario = new KillAll(options);
  return scenario.run();
}

class KillAll {
  readonly #options: KillAllOptions;
  readonly #random: SeededRandom;
  /** Acknowledged id to its version. */
  readonly #acknowledged = new Map<number, number>();
  #indefiniteBatchCount = 0;
  #nextId = 1;
  #isWriting = false;

  constructor(options: KillAllOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed);
  }

  async run(): Promise<KillAllReport> {
    const { cluster, roundCount, log } = this.#options;
    const lostIds = new Set<number>();
    for (let round = 1; round <= roundCount; round++) {
      const before = this.#acknowledged.size;
      await this.#importUntilKilled(round === 1);
      await cluster.startAll();
      const leader = await cluster.waitUntilReady();
      for (const id of await this.#findLost()) lostIds.add(id);
      await expectEqualDigests(cluster);
      const total = this.#acknowledged.size;
      log?.(
        `round ${round}: ${total - before} points acknowledged before kill -9 of all, ` +
          `${lostIds.size} lost of ${total}, leader ${leader.nodeName}`,
      );
    }
    return {
      acknowledgedCount: this.#acknowledged.size,
      indefiniteBatchCount: this.#indefiniteBatchCount,
      lostIds: [...lostIds],
    };
  }

  async #importUntilKilled(isFirstRound: boolean): Promise<void> {
    const { cluster } = this.#options;
    const client = await HoldfastClient.connect({ nodes: [...cluster.addresses] });
    try {
      if (isFirstRound) {
        await client.createCollection({ name: COLLECTION, dimension: DIMENSION, metric: 'l2' });
      }
      this.#isWriting = true;
      const before = this.#acknowledged.size;
      const writers = Array.from({ length: WRITER_COUNT }, () => this.#write(client));
      await waitFor({ what: 'the first acknowledgement', timeoutMs: READ_TIMEOUT_MS }, () =>
        this.#acknowledged.size > before ? true : null,
      );
      await pause(KILL_AFTER_MS_MIN + this.#random.nextBelow(KILL_AFTER_MS_RANGE));
      await cluster.killAll();
      this.#isWriting = false;
      await Promise.all(writers);
    } finally {
      await client.close();
    }
  }

  async #write(client: HoldfastClient): Promise<void> {
    while (this.#isWriting) {
      const first = this.#nextId;
      this.#nextId += BATCH_POINT_COUNT;
      const ids = Array.from({ length: BATCH_POINT_COUNT }, (_unused, i) => first + i);
      try {
        const { index } = await client.collection(COLLECTION).upsert(
          ids.map((id) => ({
            id,
            vector: new Float32Array(DIMENSION).fill(id),
            payload: { text: textOf(id) },
          })),
          { timeoutMs: WRITE_TIMEOUT_MS },
        );
        for (const id of ids) this.#acknowledged.set(id, index);
      } catch (thrown) {
        // Refused or unknown: nothing was promised. Anything else is a bug of the harness.
        if (!(thrown instanceof HoldfastError)) throw thrown;
        this.#indefiniteBatchCount += 1;
      }
    }
  }

  async #findLost(): Promise<readonly number[]> {
    const client = await HoldfastClient.connect({ nodes: [...this.#options.cluster.addresses] });
    try {
      const lost: number[] = [];
      const entries = [...this.#acknowledged];
      for (let start = 0; start < entries.length; start += READ_BATCH_COUNT) {
        const batch = entries.slice(start, start + READ_BATCH_COUNT);
        const points = await client.collection(COLLECTION).get(
          batch.map(([id]) => id),
          { withPayload: true, timeoutMs: READ_TIMEOUT_MS },
        );
        const byId = new Map(points.map((point) => [point.id, point]));
        for (const [id, version] of batch) {
          const point = byId.get(id);
          if (point?.version !== version || point.payload?.text !== textOf(id)) lost.push(id);
        }
      }
      return lost;
    } finally {
      await client.close();
    }
  }
}

const textOf = (id: number): string => `point number ${id}`;
