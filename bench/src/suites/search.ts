/**
 * Search over the wire with linearizable consistency, against raw hnswlib-node in this process at
 * the same recall: each side uses the smallest ef with which it reaches it. The graph-off figure
 * beside it shows what the graph is worth.
 */
import { must } from '@holdfast/base';
import type { Collection, GraphParameters } from '@holdfast/client';
import { runClosedLoop } from '../closed-loop.ts';
import { clusteredDataset, type Dataset } from '../dataset.ts';
import { exactNearest, recallOf } from '../ground-truth.ts';
import { buildRawIndex, type RawIndex } from '../peers/raw-hnswlib.ts';
import { atLeast, type Bench, type BenchContext, below, figure } from '../result.ts';
import { median, medianOrNull, percentile } from '../statistics.ts';
import {
  graphShareOf,
  INDEXED_SHARE_MIN,
  loadVectors,
  QUICK_VECTOR_COUNT,
  waitUntilIndexed,
  withCluster,
} from './with-cluster.ts';

const K = 10;
const IN_FLIGHT = 8;
const RECALL_MIN = 0.98;
const P99_MS_MAX = 20;
const M = 16;
const EF_CONSTRUCTION = 128;
const EF_STEPS: readonly number[] = [16, 24, 32, 40, 48, 64, 96, 128, 192, 256, 384, 512];
const INDEX_TIMEOUT_MS = 300_000;

interface ChosenEf {
  readonly ef: number;
  readonly recall: number;
}

interface SearchSuite {
  readonly dimension: number;
  readonly ratioMin: number;
  readonly graph: GraphParameters;
}

export const searchBench: Bench = {
  name: 'search',
  description:
    '20,000 x 128-d, k 10 at recall >= 0.98, 8 in flight, linearizable, beside raw hnswlib',
  run: (context) =>
    runSearch(
      { dimension: 128, ratioMin: 0.5, graph: { engine: 'auto', precision: 'f32' } },
      context,
    ),
};

export const search768Bench: Bench = {
  name: 'search-768',
  description: 'the same at 768-d with the best engine (usearch at bf16)',
  run: (context) =>
    runSearch(
      { dimension: 768, ratioMin: 1, graph: { engine: 'usearch', precision: 'bf16' } },
      context,
    ),
};

async function runSearch(suite: SearchSuite, context: BenchContext) {
  const dataset = clusteredDataset({
    seed: 4711,
    dimension: suite.dimension,
    vectorCount: context.isQuick ? QUICK_VECTOR_COUNT : 20_000,
    queryCount: context.isQuick ? 50 : 500,
    clusterCount: 20,
  });
  const wanted = dataset.queries.map((query) => exactNearest(dataset.vectors, query, K));
  context.log('search: building the raw index');
  const raw = await buildRawIndex(dataset.vectors, {
    dimension: dataset.dimension,
    m: M,
    efConstruction: EF_CONSTRUCTION,
  });
  return withCluster('search', {}, async ({ cluster, client }) => {
    await client.createCollection({
      name: 'search',
      dimension: dataset.dimension,
      metric: 'l2',
      // Clients, three nodes and their lanes share two cores: a second shard would only cost.
      shardCount: 1,
      hnsw: { m: M, efConstruction: EF_CONSTRUCTION },
      graph: suite.graph,
    });
    const collection = client.collection('search');
    await loadVectors(collection, dataset.vectors);
    await waitUntilIndexed(cluster, dataset.vectors.length, INDEX_TIMEOUT_MS);
    return measure(suite, collection, raw, dataset, wanted, context);
  });
}

async function measure(
  { ratioMin }: SearchSuite,
  collection: Collection,
  raw: RawIndex | null,
  dataset: Dataset,
  wanted: readonly (readonly number[])[],
  context: BenchContext,
) {
  const { queries } = dataset;
  const own = await chooseEf(wanted, async (ef) => {
    const found: number[][] = [];
    for (const query of queries) {
      const { hits } = await collection.search(query, { k: K, ef });
      found.push(hits.map((hit) => Number(hit.id)));
    }
    return found;
  });
  const rawQueries = queries.map((query) => Array.from(query));
  const peer =
    raw === null
      ? null
      : await chooseEf(wanted, async (ef) => {
          raw.setEf(ef);
          return rawQueries.map((query) => [...raw.search(query, K)]);
        });
  context.log(`search: ef ${own.ef} here, ef ${peer?.ef ?? '-'} raw`);
  const loop = { inFlight: IN_FLIGHT, durationMs: context.isQuick ? 300 : 4_000, warmUpMs: 500 };
  const rates: number[] = [];
  const rawRates: number[] = [];
  const latencies: number[] = [];
  for (let round = 0; round < (context.isQuick ? 1 : 3); round++) {
    const result = await runClosedLoop(loop, async (i) => {
      await collection.search(must(queries[i % queries.length]), { k: K, ef: own.ef });
    });
    rates.push(result.rate);
    for (const latency of result.latenciesMs) latencies.push(latency);
    if (raw !== null) rawRates.push(rawRate(raw, rawQueries, loop.durationMs));
    context.log(
      `search round ${round + 1}: ${Math.round(result.rate)}/s over the wire` +
        (raw === null ? '' : `, ${Math.round(rawRates.at(-1) ?? 0)}/s raw`),
    );
  }
  const exact = await runClosedLoop({ ...loop, durationMs: loop.durationMs / 2 }, async (i) => {
    await collection.search(must(queries[i % queries.length]), { k: K, exact: true });
  });
  const graphShare = await graphShareOf(collection, must(queries[0]));
  const ratio = medianOrNull(rates.map((rate, i) => rate / (rawRates[i] ?? Number.NaN)));
  return {
    figures: [
      figure('queries', median(rates), '/s'),
      figure('raw hnswlib-node, one thread', medianOrNull(rawRates), '/s'),
      atLeast('ratio (median of rounds)', raw === null ? null : ratio, 'x', ratioMin),
      atLeast('recall@10', own.recall, '', RECALL_MIN),
      figure('raw recall@10', peer?.recall ?? null, ''),
      figure('p50', percentile(latencies, 0.5), 'ms'),
      below('p99', percentile(latencies, 0.99), 'ms', P99_MS_MAX),
      atLeast('rows searched by graph', graphShare, 'share', INDEXED_SHARE_MIN),
      figure('queries with the graph off', exact.rate, '/s'),
      figure('p99 with the graph off', percentile(exact.latenciesMs, 0.99), 'ms'),
    ],
    notes: raw === null ? ['peer absent: hnswlib-node is not installed'] : [],
    raw: { ef: own, rawEf: peer, rates, rawRates, exactRate: exact.rate, inFlight: IN_FLIGHT },
  };
}

/** The smallest ef that reaches the recall; the largest tried when none does. */
async function chooseEf(
  wanted: readonly (readonly number[])[],
  answers: (ef: number) => Promise<readonly (readonly number[])[]>,
): Promise<ChosenEf> {
  let chosen: ChosenEf = { ef: 0, recall: 0 };
  for (const ef of EF_STEPS) {
    chosen = { ef, recall: recallOf(await answers(ef), wanted) };
    if (chosen.recall >= RECALL_MIN) return chosen;
  }
  return chosen;
}

/** One thread, no waiting: the best the library can do here. */
function rawRate(raw: RawIndex, queries: readonly number[][], durationMs: number): number {
  const startMs = performance.now();
  let answeredCount = 0;
  while (performance.now() - startMs < durationMs) {
    raw.search(must(queries[answeredCount % queries.length]), K);
    answeredCount += 1;
  }
  return answeredCount / ((performance.now() - startMs) / 1_000);
}
