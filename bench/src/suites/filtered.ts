/**
 * Filtered search: how well it finds the nearest of the points that match, and what it costs beside
 * the same search without a filter, in alternating rounds. On synthetic rows at four selectivities,
 * and on MNIST (`HOLDFAST_DATASETS`) with the digit as payload.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { must } from '@holdfast/base';
import type { Collection, Filter, FilterPlan } from '@holdfast/client';
import { runClosedLoop } from '../closed-loop.ts';
import { clusteredDataset } from '../dataset.ts';
import { exactNearest, recallOf } from '../ground-truth.ts';
import { readIdxImages, readIdxLabels, readIvecs } from '../real-data.ts';
import { atLeast, atMost, type Bench, type BenchContext, type Figure, figure } from '../result.ts';
import { percentile } from '../statistics.ts';
import { DATASETS_VARIABLE } from './recall.ts';
import {
  type ClusterUnderTest,
  loadVectors,
  QUICK_VECTOR_COUNT,
  waitUntilIndexed,
  withCluster,
} from './with-cluster.ts';

const K = 10;
const RECALL_MIN = 0.98;
/** p99 with a filter over p99 without, in the same run. */
const P99_RATIO_MAX = 3;
/** As many as answer without queueing on two cores: a queue would hide the difference. */
const IN_FLIGHT = 2;
const INDEX_TIMEOUT_MS = 300_000;
const SYNTHETIC_COUNT = 20_000;
/** Parts of a thousand that match. */
const SELECTIVITIES = [500, 100, 10, 1] as const;
const MNIST_BASE_COUNT = 9_000;
const MNIST_QUERY_COUNT = 500;
const MNIST_LABEL = 3;

export const filteredBench: Bench = {
  name: 'filtered',
  description: 'filtered search: recall@10 and p99 beside unfiltered; 20,000 x 128-d, and MNIST',
  run: async (context) =>
    withCluster('filtered', {}, async (underTest) => {
      const synthetic = await measureSynthetic(underTest, context);
      const directory = process.env[DATASETS_VARIABLE];
      if (directory === undefined || !existsSync(join(directory, 'mnist'))) {
        const note = `MNIST skipped: set ${DATASETS_VARIABLE} to a directory that holds mnist/`;
        return { figures: synthetic, notes: [note], raw: {} };
      }
      const mnist = await measureMnist(underTest, join(directory, 'mnist'), context);
      return { figures: [...synthetic, ...mnist], notes: [], raw: {} };
    }),
};

interface Task {
  readonly name: string;
  readonly collection: Collection;
  readonly queries: readonly Float32Array[];
  readonly filter: Filter;
  readonly wanted: readonly (readonly number[])[];
}

async function measureSynthetic(
  { cluster, client }: ClusterUnderTest,
  context: BenchContext,
): Promise<readonly Figure[]> {
  const vectorCount = context.isQuick ? QUICK_VECTOR_COUNT : SYNTHETIC_COUNT;
  const { vectors, queries, dimension } = clusteredDataset({
    seed: 4712,
    dimension: 128,
    vectorCount,
    queryCount: context.isQuick ? 20 : 200,
    clusterCount: 20,
  });
  // Every value is met by each thousandth row; nearness has nothing to do with it.
  const partOf = (id: number): number => (id * 7_919) % 1_000;
  const payloadIndexes = [{ key: 'part', type: 'integer' as const }];
  await client.createCollection({
    name: 'synthetic',
    dimension,
    metric: 'l2',
    shardCount: 1,
    payloadIndexes,
  });
  const collection = client.collection('synthetic');
  await loadVectors(collection, vectors, (id) => ({ part: partOf(id), unindexed: partOf(id) }));
  await waitUntilIndexed(cluster, vectorCount, INDEX_TIMEOUT_MS);
  const figures: Figure[] = [];
  for (const parts of SELECTIVITIES) {
    const ids = vectors.map((_, id) => id).filter((id) => partOf(id) < parts);
    const matching = ids.map((id) => must(vectors[id]));
    const wanted = queries.map((query) =>
      exactNearest(matching, query, K).map((position) => must(ids[position])),
    );
    const task = (key: string, name: string): Task => ({
      name: `${parts / 10} %${name}`,
      ...{ collection, queries, wanted },
      filter: { must: [{ key, range: { lt: parts } }] },
    });
    figures.push(...(await measure(task('part', ''), context)));
    const scanned = await measure(task('unindexed', ' without index'), context);
    // No targets: an index is what makes filters cheap. Shown to say what it is worth.
    figures.push(...scanned.map(({ name, value, unit }) => figure(name, value, unit)));
  }
  return figures;
}

async function measureMnist(
  { cluster, client }: ClusterUnderTest,
  directory: string,
  context: BenchContext,
): Promise<readonly Figure[]> {
  const read = (name: string) => gunzipSync(readFileSync(join(directory, name)));
  const images = readIdxImages(read('t10k-images-idx3-ubyte.gz'));
  const labels = readIdxLabels(read('t10k-labels-idx1-ubyte.gz'));
  const base = images.slice(0, MNIST_BASE_COUNT);
  const queries = images.slice(MNIST_BASE_COUNT, MNIST_BASE_COUNT + MNIST_QUERY_COUNT);
  const truth = readIvecs(
    readFileSync(join(directory, `groundtruth-l2-label-${MNIST_LABEL}-top100.ivecs`)),
  );
  await client.createCollection({
    name: 'mnist',
    dimension: must(base[0]).length,
    metric: 'l2',
    shardCount: 1,
    payloadIndexes: [{ key: 'label', type: 'integer' }],
  });
  const collection = client.collection('mnist');
  await loadVectors(collection, base, (id) => ({ label: must(labels[id]) }));
  const synthetic = context.isQuick ? QUICK_VECTOR_COUNT : SYNTHETIC_COUNT;
  await waitUntilIndexed(cluster, base.length + synthetic, INDEX_TIMEOUT_MS);
  const task: Task = {
    name: `MNIST label = ${MNIST_LABEL}`,
    ...{ collection, queries },
    filter: { must: [{ key: 'label', match: { value: MNIST_LABEL } }] },
    wanted: truth.slice(0, queries.length).map((neighbours) => neighbours.slice(0, K)),
  };
  return measure(task, context);
}

async function measure(task: Task, context: BenchContext): Promise<readonly Figure[]> {
  const { name, collection, queries, filter, wanted } = task;
  const found: number[][] = [];
  let plan: FilterPlan | undefined;
  for (const query of queries) {
    const answer = await collection.search(query, { k: K, filter });
    found.push(answer.hits.map(({ id }) => Number(id)));
    plan = answer.plan.filter;
  }
  const loop = { inFlight: IN_FLIGHT, durationMs: context.isQuick ? 200 : 1_500, warmUpMs: 200 };
  const latencies: { readonly plain: number[]; readonly filtered: number[] } = {
    plain: [],
    filtered: [],
  };
  for (let round = 0; round < (context.isQuick ? 1 : 3); round++) {
    for (const side of ['plain', 'filtered'] as const) {
      const options = side === 'plain' ? { k: K } : { k: K, filter };
      const result = await runClosedLoop(loop, async (i) => {
        await collection.search(must(queries[i % queries.length]), options);
      });
      for (const latency of result.latenciesMs) latencies[side].push(latency);
    }
  }
  const [plain, filtered] = [
    percentile(latencies.plain, 0.99),
    percentile(latencies.filtered, 0.99),
  ];
  const p50Ms = percentile(latencies.filtered, 0.5);
  context.log(`filtered ${name}: p50 ${p50Ms.toFixed(2)} ms, plan ${JSON.stringify(plan)}`);
  return [
    atLeast(`${name}: recall@10`, recallOf(found, wanted), '', RECALL_MIN),
    atMost(`${name}: p99 over unfiltered p99`, filtered / plain, 'x', P99_RATIO_MAX),
    figure(`${name}: p50`, p50Ms, 'ms'),
    figure(`${name}: p99`, filtered, 'ms'),
    figure(`${name}: unfiltered p99`, plain, 'ms'),
  ];
}
