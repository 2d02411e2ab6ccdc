/**
 * One graph engine in one process: `node engine-process.js ENGINE PRECISION DIMENSION COUNT` prints
 * its facts as JSON. Started by the engines benchmark.
 */
import { must } from '@holdfast/base';
import type { Graph, GraphEngineName, GraphPrecision } from '@holdfast/shard-worker';
import { loadGraphFactory, VectorStore } from '@holdfast/shard-worker';
import { clusteredDataset, type Dataset } from '../dataset.ts';
import { exactNearest, recallOf } from '../ground-truth.ts';

export type EngineFacts =
  | { readonly kind: 'absent' }
  | {
      readonly kind: 'measured';
      readonly buildRate: number;
      readonly rate: number;
      readonly recall: number;
      readonly ef: number;
      readonly bytesPerVector: number;
    };

const K = 10;
const CANDIDATE_SLACK = 8;
const RECALL_MIN = 0.98;
const EF_STEPS: readonly number[] = [16, 24, 32, 40, 48, 64, 96, 128, 192, 256, 384, 512];
const MEASURED_S = 2;
const CALLS_BETWEEN_LOOKS = 50;

function measure(
  engine: GraphEngineName,
  precision: GraphPrecision,
  dimension: number,
  vectorCount: number,
): EngineFacts {
  const factory = loadGraphFactory();
  const options = {
    dimension,
    metric: 'l2',
    hnsw: { m: 16, efConstruction: 128, efSearch: 64 },
    graph: { engine, precision },
  } as const;
  if (factory === null || factory.buildFor(options).engine !== engine) return { kind: 'absent' };
  const dataset = clusteredDataset({
    seed: 4711,
    dimension,
    vectorCount,
    queryCount: 300,
    clusterCount: 20,
  });
  const wanted = dataset.queries.map((query) => exactNearest(dataset.vectors, query, K));
  const store = new VectorStore(dimension);
  for (const vector of dataset.vectors) {
    store.append(new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength), 0);
  }
  globalThis.gc?.();
  const residentBefore = process.memoryUsage().rss;
  const startS = processorSeconds();
  const graph = factory.create(options);
  for (let row = 0; row < vectorCount; row++) graph.addRow(row, store.vector(row));
  const buildRate = vectorCount / (processorSeconds() - startS);
  const bytesPerVector = (process.memoryUsage().rss - residentBefore) / vectorCount;
  const { ef, recall } = chooseEf(graph, store, dataset, wanted);
  const rate = rateOf(graph, store, dataset, ef);
  return { kind: 'measured', buildRate, rate, recall, ef, bytesPerVector };
}

const candidates = new Uint32Array(K + CANDIDATE_SLACK);

/** As a shard does it: the graph proposes, the kernel ranks. */
function search(graph: Graph, store: VectorStore, query: Float32Array, ef: number): number[] {
  const found = graph.search(query, candidates.length, ef, candidates);
  store.setQuery(query);
  const distances = store.distancesOfRows('l2', candidates, 0, found);
  const ranked = Array.from({ length: found }, (_, i) => i);
  ranked.sort((left, right) => (distances[left] ?? 0) - (distances[right] ?? 0));
  return ranked.slice(0, K).map((i) => candidates[i] ?? 0);
}

function chooseEf(
  graph: Graph,
  store: VectorStore,
  { queries }: Dataset,
  wanted: readonly (readonly number[])[],
) {
  let chosen = { ef: 0, recall: 0 };
  for (const ef of EF_STEPS) {
    const found = queries.map((query) => search(graph, store, query, ef));
    chosen = { ef, recall: recallOf(found, wanted) };
    if (chosen.recall >= RECALL_MIN) break;
  }
  return chosen;
}

function rateOf(graph: Graph, store: VectorStore, { queries }: Dataset, ef: number): number {
  const startS = processorSeconds();
  let answeredCount = 0;
  while (processorSeconds() - startS < MEASURED_S) {
    for (let i = 0; i < CALLS_BETWEEN_LOOKS; i++) {
      search(graph, store, must(queries[answeredCount % queries.length]), ef);
      answeredCount += 1;
    }
  }
  return answeredCount / (processorSeconds() - startS);
}

/** Of this process: what another one takes of the machine does not count. */
function processorSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

const [engine, precision, dimension, vectorCount] = process.argv.slice(2);
const facts = measure(
  engine as GraphEngineName,
  precision as GraphPrecision,
  Number(dimension),
  Number(vectorCount),
);
process.stdout.write(JSON.stringify(facts));
