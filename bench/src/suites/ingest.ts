/**
 * Bulk import: 20,000 vectors in batches of 256, each acknowledged on a majority and applied, then
 * the time until every row is in the graph.
 */
import { must } from '@holdfast/base';
import { clusteredDataset } from '../dataset.ts';
import { atLeast, type Bench, below, figure } from '../result.ts';
import { loadVectors, QUICK_VECTOR_COUNT, waitUntilIndexed, withCluster } from './with-cluster.ts';

const RATE_MIN = 4_000;
const INDEXED_WITHIN_MS = 10_000;
/** Beyond the target, so that a miss is measured and not only reported. */
const INDEX_TIMEOUT_MS = 300_000;

export const ingestBench: Bench = {
  name: 'ingest',
  description: '20,000 x 128-d in batches of 256, m 16, efConstruction 128, then fully indexed',
  run: async (context) => {
    const dataset = clusteredDataset({
      seed: 4711,
      dimension: 128,
      vectorCount: context.isQuick ? QUICK_VECTOR_COUNT : 20_000,
      queryCount: 1,
      clusterCount: 20,
    });
    const samples: { rate: number; indexedMs: number }[] = [];
    for (let round = 0; round < (context.isQuick ? 1 : 3); round++) {
      samples.push(
        await withCluster('ingest', {}, async ({ cluster, client }) => {
          await client.createCollection({
            name: 'ingest',
            dimension: dataset.dimension,
            metric: 'l2',
            hnsw: { m: 16, efConstruction: 128 },
          });
          const collection = client.collection('ingest');
          const load = await loadVectors(collection, dataset.vectors);
          await waitUntilIndexed(cluster, dataset.vectors.length, INDEX_TIMEOUT_MS);
          return {
            rate: dataset.vectors.length / (load.durationMs / 1_000),
            indexedMs: performance.now() - load.lastAcknowledgedMs,
          };
        }),
      );
      const last = must(samples.at(-1));
      context.log(
        `ingest round ${round + 1}: ${Math.round(last.rate)} vectors/s, indexed ` +
          `${Math.round(last.indexedMs)} ms after the last acknowledgement`,
      );
    }
    const byRate = samples.toSorted((left, right) => left.rate - right.rate);
    const middle = must(byRate[Math.floor(byRate.length / 2)]);
    const slowestMs = Math.max(...samples.map((one) => one.indexedMs));
    return {
      figures: [
        atLeast('vectors acknowledged (median)', middle.rate, '/s', RATE_MIN),
        figure('vectors acknowledged (worst)', must(byRate[0]).rate, '/s'),
        below('fully indexed after (worst)', slowestMs, 'ms', INDEXED_WITHIN_MS),
      ],
      notes: [],
      raw: { vectorCount: dataset.vectors.length, samples },
    };
  },
};
