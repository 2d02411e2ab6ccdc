/** Resident memory of every node after 100,000 vectors, when all of them are in the graph. */
import { must } from '@holdfast/base';
import { clusteredDataset } from '../dataset.ts';
import { type MemoryFacts, readMemory } from '../process-facts.ts';
import { atMost, type Bench, figure } from '../result.ts';
import { loadVectors, QUICK_VECTOR_COUNT, waitUntilIndexed, withCluster } from './with-cluster.ts';

const DIMENSION = 128;
const MEGABYTE = 1_000_000;
const FIXED_BYTES_MAX = 200 * MEGABYTE;
const VECTOR_FACTOR_MAX = 3;
const INDEX_TIMEOUT_MS = 900_000;

export const memoryBench: Bench = {
  name: 'memory',
  description: 'resident memory per node after 100,000 x 128-d',
  run: async (context) => {
    const vectorCount = context.isQuick ? QUICK_VECTOR_COUNT : 100_000;
    const dataset = clusteredDataset({
      seed: 4711,
      dimension: DIMENSION,
      vectorCount,
      queryCount: 1,
      clusterCount: 20,
    });
    return withCluster('memory', {}, async ({ cluster, client }) => {
      const read = (): readonly MemoryFacts[] =>
        cluster.nodeNames.map((nodeName) => readMemory(must(cluster.pidOf(nodeName))));
      const empty = read();
      await client.createCollection({ name: 'memory', dimension: DIMENSION, metric: 'l2' });
      const collection = client.collection('memory');
      await loadVectors(collection, dataset.vectors);
      const loaded = read();
      context.log('memory: loaded; waiting for the graph');
      await waitUntilIndexed(cluster, dataset.vectors.length, INDEX_TIMEOUT_MS);
      const indexed = read();
      const vectorBytes = vectorCount * DIMENSION * Float32Array.BYTES_PER_ELEMENT;
      const limit = (VECTOR_FACTOR_MAX * vectorBytes + FIXED_BYTES_MAX) / MEGABYTE;
      const worst = (facts: readonly MemoryFacts[], key: keyof MemoryFacts) =>
        Math.max(...facts.map((one) => one[key])) / MEGABYTE;
      return {
        figures: [
          atMost('resident, worst node, indexed', worst(indexed, 'residentBytes'), 'MB', limit),
          figure('resident, worst node, loaded', worst(loaded, 'residentBytes'), 'MB'),
          figure('resident, worst node, empty', worst(empty, 'residentBytes'), 'MB'),
          figure('peak, worst node', worst(indexed, 'residentPeakBytes'), 'MB'),
          figure('raw vectors', vectorBytes / MEGABYTE, 'MB'),
        ],
        notes: [],
        raw: { vectorCount, empty, loaded, indexed },
      };
    });
  },
};
