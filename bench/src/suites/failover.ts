/**
 * Kills the leader with SIGKILL again and again under load and measures the write gap: from the
 * last acknowledgement before the signal to the first acknowledgement of a later term. (The first
 * answer that arrives after the signal may still come from the dead leader's socket; it is not
 * counted.) At the end every acknowledged point is read back.
 */
import { must } from '@holdfast/base';
import { type Collection, HoldfastClient } from '@holdfast/client';
import { type ProcessCluster, pause, waitFor } from '@holdfast/jepsen-lite';
import { atMost, type Bench, below, figure } from '../result.ts';
import { median, percentile } from '../statistics.ts';
import { withCluster } from './with-cluster.ts';

const CLIENT_COUNT = 16;
const DIMENSION = 16;
const MEDIAN_GAP_MS_MAX = 1_500;
const GAP_MS_MAX = 3_000;
/** Load before each kill and after each recovery, so that no round inherits the one before. */
const STEADY_MS = 1_000;
const WRITE_TIMEOUT_MS = 30_000;
const GAP_TIMEOUT_MS = 30_000;
const READ_BATCH_COUNT = 500;

interface Acknowledgement {
  readonly timeMs: number;
  readonly term: number;
  readonly id: number;
  readonly version: number;
}

interface GapSample {
  readonly leader: string;
  readonly term: number;
  readonly killedAtMs: number;
  readonly lastAcknowledgedMs: number;
  readonly firstAcknowledgedMs: number;
  readonly newTerm: number;
  readonly gapMs: number;
}

export const failoverBench: Bench = {
  name: 'failover',
  description: 'SIGKILL of the leader under 16 closed-loop clients, 20 times',
  run: (context) =>
    withCluster('failover', {}, async ({ cluster, client }) => {
      await client.createCollection({ name: 'failover', dimension: DIMENSION, metric: 'l2' });
      const load = await Load.start(cluster.addresses);
      const samples: GapSample[] = [];
      const roundCount = context.isQuick ? 1 : 20;
      try {
        for (let round = 0; round < roundCount; round++) {
          const sample = await killLeaderOnce(cluster, load);
          samples.push(sample);
          context.log(
            `failover ${round + 1}: ${sample.leader} of term ${sample.term} killed, gap ` +
              `${Math.round(sample.gapMs)} ms`,
          );
        }
      } finally {
        await load.stop();
      }
      const lost = await findLost(client.collection('failover'), load.acknowledgements);
      const gaps = samples.map((sample) => sample.gapMs);
      return {
        figures: [
          below('write gap, median', median(gaps), 'ms', MEDIAN_GAP_MS_MAX),
          below('write gap, max', percentile(gaps, 1), 'ms', GAP_MS_MAX),
          figure('kills', samples.length, ''),
          figure('acknowledged writes', load.acknowledgements.length, ''),
          atMost('acknowledged writes lost', lost.length, '', 0),
          figure('writes not acknowledged', load.failureCount, ''),
        ],
        notes: ['etcd measured on such a machine: 1.1-2.3 s'],
        raw: {
          samples,
          lost: lost.slice(0, 100),
          failures: load.failureCodes,
          acknowledgedMs: load.acknowledgements.map((one) => Math.round(one.timeMs * 10) / 10),
        },
      };
    }),
};

async function killLeaderOnce(cluster: ProcessCluster, load: Load): Promise<GapSample> {
  await cluster.waitUntilReady();
  await pause(STEADY_MS);
  const { nodeName, term } = await cluster.waitUntilReady();
  const killedAtMs = performance.now();
  const last = must(load.acknowledgements.at(-1), 'load must have been acknowledged before');
  await cluster.signal(nodeName, 'SIGKILL');
  const first = await waitFor(
    { what: 'an acknowledgement of a later term', timeoutMs: GAP_TIMEOUT_MS, pollIntervalMs: 5 },
    () => load.firstOfLaterTerm(term),
  );
  await pause(STEADY_MS);
  await cluster.start(nodeName);
  return {
    leader: nodeName,
    term,
    killedAtMs,
    lastAcknowledgedMs: last.timeMs,
    firstAcknowledgedMs: first.timeMs,
    newTerm: first.term,
    gapMs: first.timeMs - last.timeMs,
  };
}

/** Sixteen clients of the public library, each with one write in flight at any time. */
class Load {
  readonly acknowledgements: Acknowledgement[] = [];
  readonly failureCodes: Record<string, number> = {};
  readonly #clients: readonly HoldfastClient[];
  #isStopped = false;
  #nextId = 1;
  #workers: Promise<unknown> = Promise.resolve();

  private constructor(clients: readonly HoldfastClient[]) {
    this.#clients = clients;
  }

  static async start(addresses: readonly string[]): Promise<Load> {
    const clients = await Promise.all(
      Array.from({ length: CLIENT_COUNT }, () =>
        HoldfastClient.connect({ nodes: [...addresses], timeoutMs: WRITE_TIMEOUT_MS }),
      ),
    );
    const load = new Load(clients);
    load.#workers = Promise.all(
      clients.map((client) => load.#write(client.collection('failover'))),
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
    const vector = new Float32Array(DIMENSION);
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
async function findLost(
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
