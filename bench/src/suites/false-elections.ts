/**
 * Full load on every node for minutes and no election: writes, searches and checkpoints all the
 * time, three nodes and the clients on the cores of this machine. A leader that is alive and busy
 * must not be deposed. What is counted comes from the nodes themselves.
 */
import { type Collection, HoldfastClient } from '@holdfast/client';
import { type ProcessCluster, pause } from '@holdfast/jepsen-lite';
import { clusteredDataset } from '../dataset.ts';
import { atMost, type Bench, figure } from '../result.ts';
import { loadVectors, QUICK_VECTOR_COUNT, withCluster } from './with-cluster.ts';
import { WriteLoad } from './write-load.ts';

const COLLECTION = 'vectors';
const WRITE_COLLECTION = 'writes';
const DIMENSION = 128;
const VECTOR_COUNT = 20_000;
const MINUTES_DEFAULT = 10;
const QUICK_MINUTES = 0.2;
const WRITER_COUNT = 32;
const SEARCHER_COUNT = 8;
const REPORT_INTERVAL_MS = 30_000;
/** A checkpoint every few seconds of load. */
const SETTINGS = { checkpointLogSizeBytes: 4 * 1024 * 1024, walFileSizeBytes: 1024 * 1024 };

interface Counts {
  readonly elections: number;
  readonly preVotes: number;
  readonly terms: number;
  readonly checkpointIndexes: number;
}

export const falseElectionsBench: Bench = {
  name: 'false-elections',
  description: 'minutes (--minutes N, 10) of writes, searches and checkpoints without an election',
  isOnRequest: true,
  run: (context) =>
    withCluster('false-elections', SETTINGS, async ({ cluster, client }) => {
      const vectorCount = context.isQuick ? QUICK_VECTOR_COUNT : VECTOR_COUNT;
      const dataset = clusteredDataset({
        ...{ seed: 4711, dimension: DIMENSION, vectorCount, queryCount: 200, clusterCount: 20 },
      });
      await client.createCollection({ name: COLLECTION, dimension: DIMENSION, metric: 'l2' });
      await client.createCollection({ name: WRITE_COLLECTION, dimension: DIMENSION, metric: 'l2' });
      await loadVectors(client.collection(COLLECTION), dataset.vectors);
      const before = await countsOf(cluster);
      const load = await WriteLoad.start({
        ...{ addresses: cluster.addresses, collection: WRITE_COLLECTION, dimension: DIMENSION },
        clientCount: WRITER_COUNT,
      });
      const searches = await Searches.start(cluster.addresses, dataset.queries);
      const minutes = context.sizes.minutes ?? (context.isQuick ? QUICK_MINUTES : MINUTES_DEFAULT);
      const startMs = performance.now();
      const endMs = startMs + minutes * 60_000;
      let checkpointCount = 0;
      let lastIndexes = before.checkpointIndexes;
      try {
        while (performance.now() < endMs) {
          await pause(Math.min(REPORT_INTERVAL_MS, Math.max(0, endMs - performance.now())));
          const now = await countsOf(cluster);
          if (now.checkpointIndexes > lastIndexes) checkpointCount += 1;
          lastIndexes = now.checkpointIndexes;
          context.log(
            `false-elections: ${Math.round((performance.now() - startMs) / 1_000)} s, ` +
              `${now.elections - before.elections} elections, ` +
              `${now.preVotes - before.preVotes} rounds of pre-votes, ` +
              `${load.acknowledgements.length} writes, ${searches.count} searches`,
          );
        }
      } finally {
        await load.stop();
        await searches.stop();
      }
      const after = await countsOf(cluster);
      const seconds = (performance.now() - startMs) / 1_000;
      return {
        figures: [
          atMost('elections', after.elections - before.elections, '', 0),
          atMost('terms, all nodes', after.terms - before.terms, '', 0),
          figure('rounds of pre-votes', after.preVotes - before.preVotes, ''),
          figure('minutes', minutes, ''),
          figure('writes', load.acknowledgements.length / seconds, '/s'),
          figure('searches', searches.count / seconds, '/s'),
          figure('intervals of 30 s with a checkpoint', checkpointCount, ''),
          figure('writes not acknowledged', load.failureCount, ''),
        ],
        notes: [],
        raw: { before, after, failures: load.failureCodes },
      };
    }),
};

async function countsOf(cluster: ProcessCluster): Promise<Counts> {
  const sum = async (name: string): Promise<number> => {
    let total = 0;
    for (const nodeName of cluster.nodeNames) {
      let value: number | null = null;
      // Under full load a scrape may be late; the count is of the node, not of the scrape.
      while (value === null) value = await cluster.metric(nodeName, `holdfast_${name}`);
      total += value;
    }
    return total;
  };
  return {
    elections: await sum('raft_elections_total'),
    preVotes: await sum('raft_pre_votes_total'),
    terms: await sum('term'),
    checkpointIndexes: await sum('checkpoint_index'),
  };
}

/** Closed-loop searchers on clients of their own. */
class Searches {
  count = 0;
  readonly #clients: readonly HoldfastClient[];
  #isStopped = false;
  #workers: Promise<unknown> = Promise.resolve();

  private constructor(clients: readonly HoldfastClient[]) {
    this.#clients = clients;
  }

  static async start(
    addresses: readonly string[],
    queries: readonly Float32Array[],
  ): Promise<Searches> {
    const clients = await Promise.all(
      Array.from({ length: SEARCHER_COUNT }, () =>
        HoldfastClient.connect({ nodes: [...addresses], timeoutMs: 30_000 }),
      ),
    );
    const searches = new Searches(clients);
    searches.#workers = Promise.all(
      clients.map((client, i) => searches.#search(client.collection(COLLECTION), queries, i)),
    );
    return searches;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#workers;
    await Promise.all(this.#clients.map((client) => client.close()));
  }

  async #search(
    collection: Collection,
    queries: readonly Float32Array[],
    first: number,
  ): Promise<void> {
    for (let i = first; !this.#isStopped; i++) {
      const query = queries[i % queries.length] ?? new Float32Array(DIMENSION);
      await collection.search(query, { k: 10 });
      this.count += 1;
    }
  }
}
