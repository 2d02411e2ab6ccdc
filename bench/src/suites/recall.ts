/**
 * Recall on real data: the MNIST test images against exact neighbours computed elsewhere, through
 * the client on a three-node cluster. The data is not part of the product: without the variable
 * this says so and measures nothing.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { must } from '@holdfast/base';
import type { Collection } from '@holdfast/client';
import { recallOf } from '../ground-truth.ts';
import { readIdxImages, readIvecs } from '../real-data.ts';
import { atLeast, type Bench, type BenchContext, type Figure, figure } from '../result.ts';
import { graphShareOf, loadVectors, waitUntilIndexed, withCluster } from './with-cluster.ts';

export const DATASETS_VARIABLE = 'HOLDFAST_DATASETS';
const BASE_COUNT = 9_000;
const QUERY_COUNT = 500;
const K = 10;
const RECALL_MIN = 0.98;
const INDEX_TIMEOUT_MS = 300_000;

const METRICS = ['l2', 'cosine'] as const;
type Metric = (typeof METRICS)[number];

export const recallBench: Bench = {
  name: 'recall',
  description: 'recall@10 on MNIST (HOLDFAST_DATASETS=DIR), l2 and cosine, default search settings',
  run: async (context) => {
    const directory = process.env[DATASETS_VARIABLE];
    if (directory === undefined || !existsSync(join(directory, 'mnist'))) {
      const note = `skipped: set ${DATASETS_VARIABLE} to a directory that holds mnist/`;
      return { figures: [], notes: [note], raw: { isSkipped: true } };
    }
    const images = readIdxImages(
      gunzipSync(readFileSync(join(directory, 'mnist', 't10k-images-idx3-ubyte.gz'))),
    );
    const base = images.slice(0, BASE_COUNT);
    return withCluster('recall', {}, async ({ cluster, client }) => {
      const dimension = must(base[0]).length;
      for (const metric of METRICS) {
        await client.createCollection({ name: metric, dimension, metric });
        await loadVectors(client.collection(metric), base);
      }
      await waitUntilIndexed(cluster, base.length * METRICS.length, INDEX_TIMEOUT_MS);
      const queries = images.slice(BASE_COUNT, BASE_COUNT + QUERY_COUNT);
      const figures: Figure[] = [];
      for (const metric of METRICS) {
        const path = join(directory, 'mnist', `groundtruth-${metric}-top100.ivecs`);
        const truth = readIvecs(readFileSync(path));
        figures.push(
          ...(await measure(client.collection(metric), metric, queries, truth, context)),
        );
      }
      return { figures, notes: [], raw: { baseCount: BASE_COUNT, queryCount: QUERY_COUNT } };
    });
  },
};

async function measure(
  collection: Collection,
  metric: Metric,
  queries: readonly Float32Array[],
  truth: readonly (readonly number[])[],
  context: BenchContext,
): Promise<readonly Figure[]> {
  const found: number[][] = [];
  for (const query of queries) {
    const { hits } = await collection.search(query, { k: K });
    found.push(hits.map((hit) => Number(hit.id)));
  }
  const wanted = truth.map((neighbours) => neighbours.slice(0, K));
  const recall = recallOf(found, wanted);
  context.log(`recall ${metric}: ${recall}`);
  const graphShare = await graphShareOf(collection, must(queries[0]));
  return [
    atLeast(`${metric} recall@10`, recall, '', RECALL_MIN),
    figure(`${metric} rows searched by graph`, graphShare, 'share'),
  ];
}
